"""``zcube plan --from FABRIC --wire TRAFFIC``: a NIC cabling that is found, its files, and what is refused."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest

from zcube.cli import main
from zcube.fabric.catalog import load_fabric
from zcube.plan.rewiring.traffic import Funnel
from zcube.routing.catalog import routing_for

PLAIN = """
family = "zcube"
gpus = 128
gpus_per_switch = 16
[switch]
model = "12.8T"
ports = 32
port_gbps = 400.0
"""
#: Sizes for which packets take seconds.
SMALL = ("funnel.transfers=500", "funnel.warm_up=50", "funnel.mean_bytes=0.1e9", "samples=2", "judged=1", "search.starts=1")


def changes(*assignments):
    return tuple(part for assignment in assignments for part in ("--wire-set", assignment))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.toml"
    path.write_text(PLAIN)
    return path


@pytest.fixture(scope="module")
def wired(plain):
    """The folder of a wiring that was found; what the command said is beside it."""
    folder, said = plain.parent / "wired", io.StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit) as done:
        main(["plan", "--from", str(plain), "--wire", "funnel", *changes(*SMALL), "--out", str(folder)])
    assert done.value.code == 0
    (plain.parent / "said.txt").write_text(said.getvalue())
    return folder


def test_a_funnel_ends_as_on_an_ideal_core_once_rewired(run, plain, wired):
    folder = wired
    assert "NIC cables moved" in (plain.parent / "said.txt").read_text()
    wiring = json.loads((folder / "plan.json").read_text())["wiring"]
    before, after = wiring["before"], wiring["after"]
    assert before["p99_over_ideal"] > 1.05
    assert after["p99_over_ideal"] < 1.05
    # A rail of plain ZCube takes every second of the senders; spread out, all rails take as many.
    assert after["fullest_link_over_fullest_nic"] < before["fullest_link_over_fullest_nic"] / 2
    assert run("fabric", "verify", folder / "rewired.toml", folder / "cables.csv")[0] == 0
    assert run("fabric", "verify", plain, folder / "cables.csv")[0] == 1
    rewired, fabric = load_fabric(str(folder / "rewired.toml")), load_fabric(str(plain))
    np.testing.assert_array_equal(rewired.cables.b[rewired.nic_cable[:, 0]], fabric.cables.b[fabric.nic_cable[:, 0]])


@pytest.mark.slow
def test_equal_calls_find_equal_wirings(run, plain):
    call = ("plan", "--from", plain, "--wire", "funnel", *changes(*SMALL, "samples=1"), "--seed", "5", "--json")
    assert run(*call)[1] == run(*call)[1]


def test_listed_transfers_and_other_families_can_be_wired(run, tmp_path):
    flows = tmp_path / "flows.csv"
    rows = [f"s{server}g0,s{(server + 1 + step) % 8}g0,{10e6:.0f},{step * 1e-4}" for server in range(8) for step in range(4)]
    flows.write_text("\n".join(["src,dst,bytes,start_s", *rows]) + "\n")
    folder = tmp_path / "wired"
    status, _, err = run(
        "plan", "--from", "roft-256", "--wire", flows, *changes("samples=1", "search.exchanges=200"), "--out", folder
    )
    assert status == 0, err
    assert run("fabric", "verify", folder / "rewired.toml", folder / "cables.csv")[0] == 0


def test_rewired_again_it_begins_where_it_stands(run, wired, tmp_path):
    first, second = wired, tmp_path / "second"
    again = (*SMALL, "funnel.placement=striped")
    assert run("plan", "--from", first / "rewired.toml", "--wire", "funnel", *changes(*again), "--out", second)[0] == 0
    wiring = json.loads((second / "plan.json").read_text())["wiring"]
    moved = wiring["nic_cables_moved"]
    ends = [
        fabric.cables.b[fabric.nic_cable] for fabric in map(load_fabric, (f"{first}/rewired.toml", f"{second}/rewired.toml"))
    ]
    assert int((ends[0] != ends[1]).sum()) == moved


@pytest.mark.parametrize(
    ("fabric", "options", "told"),
    [
        ("zcube-256", ("--wire", "nothing.csv"), "list of transfers"),
        ("zcube-256", ("--wire", "funnel", *changes("funnel.prefill_servers=40")), "32 of zcube-256"),
        ("zcube-256", ("--wire", "funnel", *changes("funnel.source_gpu=8")), "--wire-set funnel.source_gpu"),
        ("zcube-256", ("--wire", "funnel", *changes("funnel.load=2", "samples=0")), "samples"),
        ("zcube-256", ("--wire", "funnel", "--to-gpus", "512"), "growth"),
        ("bcube-1024", ("--wire", "funnel"), "by cables alone"),
        ("zcube-256@switch:A0", ("--wire", "funnel"), "nothing failed"),
        ("zcube-256", ("--wire", "funnel", *changes("search.exchanges=1e12")), "search.exchanges"),
    ],
)
def test_what_cannot_be_wired_is_refused(run, fabric, options, told):
    status, _, err = run("plan", "--from", fabric, *options)
    assert status == 2
    assert told in err


@pytest.mark.parametrize(
    ("cabled_as", "told"), [("[0, 0]", "each once"), ("[1]", "each once"), ("[0, 1, 2]", "each once"), ('["a"]', "cabled_as")]
)
def test_a_cabling_that_is_no_permutation_is_refused(run, tmp_path, cabled_as, told):
    path = tmp_path / "odd.toml"
    path.write_text(f"cabled_as = {cabled_as}\n" + PLAIN)
    status, _, err = run("fabric", "show", path)
    assert status == 2
    assert told in err


@pytest.mark.parametrize(("placement", "decode"), [("blocked", [24, 31]), ("striped", [3, 31])])
def test_who_sends_in_a_funnel(placement, decode):
    fabric = load_fabric("zcube-256")
    pairs = Funnel(placement=placement, target_gpu="any").checked(fabric, "test").pairs(fabric)
    assert len(np.unique(pairs.source)) == 24 and set(pairs.source % 8) == {0}
    servers = np.unique(pairs.target // 8)
    assert (len(servers), servers.min(), servers.max()) == (8, *decode)
    assert pairs.weight.sum() == pytest.approx(1.0)
    assert routing_for(fabric).routes(pairs.source, pairs.target).flows == 24 * 64
