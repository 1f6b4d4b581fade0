"""Transports: every bundled one can be used, parts do not contradict each other, wrong files are told of whole."""

from __future__ import annotations

import pytest

from zcube.errors import InputError
from zcube.fabric.families import families
from zcube.inputs import bundled_stems
from zcube.network.transports import checked_network, load_transport

BUNDLED = bundled_stems("transports")
PART = 'description = "d"\nkind = "{}"\nsources = ["s"]\n'


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_one_has_sources_and_makes_a_network_on_every_family(name):
    transport = load_transport(name)
    assert all(bundle.sources and bundle.description for bundle in transport.bundles.values())
    for family in families():
        network = checked_network({"queue_pairs": 3}, transport, family)
        changes = transport.changes(family)
        assert changes and network.queue_pairs == changes.get("queue_pairs", 3)


def test_parts_are_laid_over_each_other():
    network = checked_network({}, load_transport("ecmp-8qp+dcqcn-nvidia"), "spine-leaf")
    assert (network.queue_pairs, network.packet.congestion_control, network.packet.path_choice) == (8, "dcqcn_nvidia", "static")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("ecmp+spray", "each of them for balancing"),
        ("dcqcn+roce-2023", "each of them for control"),
        ("ecmp++dcqcn", "names joined by +"),
        ("ecmp+ecmp", "each once"),
        ("no-such", "no such file"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(reference, found):
    with pytest.raises(InputError, match=found.replace("+", r"\+")):
        load_transport(reference)


def test_every_fault_of_a_file_is_told_with_its_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        PART.format("control") + "[network]\nqueue_pairs = 4\nfidelity = 'flow'\n[families.nowhere]\nrouting = 'x'\n"
    )
    with pytest.raises(InputError) as told:
        load_transport(str(path))
    text = str(told.value)
    for part in ("queue_pairs", "fidelity", "families.nowhere"):
        assert part in text
    path.write_text(PART.format("whole") + "[network.packet]\nno_such = 1\n[network]\nrouting = 'none-such'\n")
    with pytest.raises(InputError) as told:
        load_transport(str(path))
    assert "packet.no_such" in str(told.value) and "none-such" in str(told.value)


def test_in_a_fluid_spray_is_equal_parts_and_adaptive_one_pool():
    for name, split in (("spray", "fixed"), ("adaptive", "pooled"), ("ecmp", "pooled")):
        assert checked_network({}, load_transport(name), "spine-leaf", "flow").path_split == split
        assert checked_network({}, load_transport(name), "spine-leaf", "packet").path_split == "pooled"


def test_list_show_and_copy(run, tmp_path):
    status, out, _ = run("transport", "list")
    assert status == 0 and all(name in out for name in BUNDLED)
    status, out, _ = run("transport", "show", "spray+dcqcn")
    assert status == 0 and "path_choice = spray" in out and "congestion_control = dcqcn" in out
    target = tmp_path / "mine.toml"
    assert run("transport", "copy", "roce-2023", target)[0] == 0
    assert load_transport(str(target)).changes("zcube") == load_transport("roce-2023").changes("zcube")
    assert run("transport", "copy", "roce-2023", target)[0] == 0
    target.write_text(target.read_text() + "# mine\n")
    assert run("transport", "copy", "roce-2023", target)[0] == 2
    assert run("transport", "copy", "nothing", tmp_path / "x.txt")[0] == 2
    status, _, err = run("transport", "copy", "spray+dcqcn", tmp_path / "both.toml")
    assert status == 2 and "each by itself" in err
