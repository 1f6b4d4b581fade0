"""Spine-leaf fabrics short of full bisection, and leaves whose ports are set, by hand."""

from __future__ import annotations

import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.planes import RailOnlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec

TOML = """
family = "{family}"
gpus = {gpus}
{extra}
[switch]
model = "test"
ports = {ports}
port_gbps = 400
"""


def spine_leaf(gpus: int, radix: int = 64, **keys: object) -> SpineLeafSpec:
    return SpineLeafSpec(gpus=gpus, switch={"model": "test", "ports": radix, "port_gbps": 400.0}, **keys)


@pytest.mark.parametrize(
    ("oversubscription", "down", "up", "leaves", "spines"),
    [
        (1.0, 32, 32, 32, 16),
        # 42 down ports would still be four units, as 128 servers are, and their 21 uplinks would need 21 spines.
        (2.0, 32, 16, 32, 8),
        # 43 down ports make three units and leave room for the 20 uplinks they need: two to each of 10 spines.
        (2.2, 44, 20, 24, 10),
        (3.0, 48, 16, 24, 8),
        (4.0, 48, 12, 24, 6),
        (32.0, 62, 2, 24, 1),
    ],
)
def test_1024_rail_optimised_gpus(oversubscription: float, down: int, up: int, leaves: int, spines: int) -> None:
    sizes = spine_leaf(1024, oversubscription=oversubscription).sizes()
    assert (sizes.down, sizes.up, sizes.leaves, sizes.spines_per_pod) == (down, up, leaves, spines)


def test_three_tiers_of_4096_gpus_at_two_to_one() -> None:
    """Half of everything above 128 leaves of 32 down ports would be 224 switches; 40 down ports are cheaper.

    512 servers are 13 units of 40, a unit of 8 leaves a pod: 20 uplinks, four to each of 5 spines, which have 32 links down and
    32 up; each of them on a plane of its own with the other pods' 12 fellows, 4 links to each of the plane's 8 cores.
    """
    sizes = spine_leaf(4096, tiers=3, oversubscription=2.0).sizes()
    assert (sizes.down, sizes.up, sizes.leaves_per_pod, sizes.spines_per_pod, sizes.spine_up) == (40, 20, 8, 5, 32)
    assert sizes.switches == 13 * 8 + 13 * 5 + 5 * 8


def test_servers_on_one_leaf_take_one_switch() -> None:
    sizes = spine_leaf(64, rail_optimised=False).sizes()
    assert (sizes.switches, sizes.trunks) == (1, 0)


def test_rail_only_planes_take_the_cheapest_leaves_too() -> None:
    """A rail of 128 NICs: 128 / 42 are four leaves, as are 128 / 32; 16 uplinks of each fill one spine of 64."""
    spec = RailOnlySpec(gpus=1024, oversubscription=2.0, switch={"model": "test", "ports": 64, "port_gbps": 400.0})
    sizes = spec.sizes()
    assert (sizes.leaves, sizes.pods * sizes.spines_per_pod, sizes.down, sizes.up) == (32, 8, 32, 16)


def test_ports_that_are_set_are_built() -> None:
    chosen = spine_leaf(1024, down_ports=40, up_ports=20, spines=20)
    fabric = chosen.build("test")
    assert fabric.structure.arrangement() == {
        "leaves": 32,
        "down_ports": 40,
        "up_ports": 20,
        "oversubscription_of_a_leaf": 2.0,
        "spines": 20,
        "links_from_a_leaf_to_a_spine": 1,
    }
    assert fabric.switches == 52
    # What is not set is still the cheapest.
    assert spine_leaf(1024, down_ports=40, up_ports=20).sizes().spines_per_pod == 10
    assert spine_leaf(1024, down_ports=32, oversubscription=2.0).sizes().spines_per_pod == 8
    assert spine_leaf(1024, up_ports=16, oversubscription=2.0).sizes().down == 32
    assert spine_leaf(1024, spines=32).sizes().up == 32
    assert spine_leaf(4096, tiers=3, spines=32, leaves_per_pod=16).sizes().spines_per_pod == 32


REFUSED = {
    "more than the switch": ("down_ports = 65\nup_ports = 1", ["down_ports = 65", "64 ports"]),
    "together too many": ("down_ports = 48\nup_ports = 24", ["down_ports = 48 and up_ports = 24", "64 together"]),
    "over the ratio": (
        "down_ports = 32\nup_ports = 8\noversubscription = 2.0",
        ["up_ports of at least 16", "down_ports = 32, up_ports = 16, spines = 8 would fit"],
    ),
    "uneven": ("up_ports = 32\nspines = 12", ["up_ports = 32 to be a multiple of spines = 12", "spines = 16 would fit"]),
    "spines too small": ("spines = 8", ["spines = 8", "spines = 16 would fit"]),
    "two at once": ("down_ports = 65\nup_ports = 30\nspines = 7", ["down_ports = 65", "spines = 7"]),
    "broken servers": ("rail_optimised = false\ndown_ports = 12", ["down_ports = 12", "multiple of 8"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_refused_with_what_would_fit(case: str, tmp_path) -> None:
    extra, named = REFUSED[case]
    path = tmp_path / "mine.toml"
    path.write_text(TOML.format(family="spine-leaf", gpus=1024, extra=extra, ports=64))
    with pytest.raises(InputError) as caught:
        load_fabric(str(path))
    assert "mine.toml" in str(caught.value)
    for text in named:
        assert text in str(caught.value)


def test_command_line_shows_the_arrangement(tmp_path, run) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML.format(family="spine-leaf", gpus=1024, extra="oversubscription = 2.0", ports=64))
    status, out, _ = run("fabric", "show", path)
    assert status == 0
    assert "switches" in out
    lines = [line.split() for line in out.splitlines()]
    for line in (["switches", "40"], ["down_ports", "32"], ["up_ports", "16"], ["spines", "8"], ["leaves", "32"]):
        assert line in lines
