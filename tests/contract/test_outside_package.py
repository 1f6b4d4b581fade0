"""A package outside the project adds a family and routing policies by entry points alone; what does not fit is named.

``tests/outside_package`` is such a package as pip would install it: a module and its ``dist-info``. One test runs a Python of
its own; the others run in this one, whose registries forget what they found after each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OUTSIDE = Path(__file__).resolve().parents[1] / "outside_package"

MESH = """family = "mesh"
gpus = 256
gpus_per_server = 8
rows = 4
columns = 8
gpus_per_switch = 8

[switch]
model = "16x400G"
ports = 16
port_gbps = 400
"""


@pytest.fixture
def zcube(run, on_the_path):
    """Run a verb where the outside package is installed; returns its document."""
    on_the_path(OUTSIDE)

    def document(*arguments: object) -> dict[str, object]:
        status, out, err = run(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    return document


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.toml"
    path.write_text(MESH)
    return path


def test_its_family_is_loaded_and_its_routing_is_the_default(mesh: Path, on_the_path) -> None:
    """In a Python of its own, as started by a user."""
    code = (
        "import sys; from zcube.fabric.catalog import load_fabric; from zcube.routing.catalog import routing_for, routings_of;"
        "fabric = load_fabric(sys.argv[1]); routing = routing_for(fabric);"
        "print(fabric.family, type(fabric.structure).__name__, routing.name, *routings_of(fabric))"
    )
    call = [sys.executable, "-c", code, str(mesh)]
    done = subprocess.run(call, capture_output=True, text=True, env=on_the_path(OUTSIDE), timeout=600, check=False)
    policies = ["mesh-xy", "shortest-path", "ecmp", "equal-paths"]
    assert done.stdout.split() == ["mesh", "MeshStructure", "mesh-xy", *policies], done.stderr


def test_show_and_check(mesh: Path, zcube, run) -> None:
    """A 4 x 8 grid: 4 * 7 + 3 * 8 links; corners are 3 + 7 links apart, and switches on that path one more."""
    shown = zcube("fabric", "show", mesh)
    assert (shown["family"], shown["switches"], shown["switch_links"]) == ("mesh", 32, 4 * 7 + 3 * 8)
    assert shown["diameter_switches"] == 3 + 7 + 1
    checked = zcube("fabric", "check", mesh)
    assert checked["routing"] == "mesh-xy"
    assert {claim["name"]: claim["holds"] for claim in checked["claims"] if claim["holds"] is not None} == {
        "port budget": True, "duplex links": True, "connected": True, "well-formed paths": True, "free of deadlock": True,
    }  # fmt: skip
    status, cut, _ = run("fabric", "check", mesh, "--fail", "link:sw0-sw1", "--json")
    assert status == 1
    assert {claim["name"] for claim in json.loads(cut)["claims"] if claim["holds"] is False} == {"connected"}


def test_replay(mesh: Path, zcube, tmp_path: Path) -> None:
    """Two transfers over one 400G link of the first row take twice as long as one."""
    flows = tmp_path / "flows.csv"
    flows.write_text("id,src,dst,bytes,start_s\na,s0g0,s2g0,1e9,0\nb,s1g0,s2g1,1e9,0\n")
    replayed = zcube("replay", flows, "--fabric", mesh)
    assert replayed["routing"] == "mesh-xy"
    assert replayed["makespan_s"] == pytest.approx(2e9 * 8 / 400e9, rel=1e-3)


def test_compare(mesh: Path, zcube) -> None:
    small = ["--set", "requests.count=40", "--set", "load.rate_per_s=5"]
    nodes = ["--set", "gpus=256", "--set", "prefill.nodes=24", "--set", "decode.nodes=8", "--set", "baseline=roft-256"]
    document = zcube("compare", "glm51-pd-1024", *small, *nodes, "--fabric", "roft-256", "--fabric", mesh)
    assert set(document["fabrics"]) == {"roft-256", "mesh"}
    assert document["fabrics"]["mesh"]["routing"] == "mesh-xy"
    assert document["fabrics"]["mesh"]["requests"]["completed"] > 0


def test_its_policy_is_there_for_the_fabrics_it_names(mesh: Path, zcube, run, tmp_path: Path) -> None:
    flows = tmp_path / "flows.csv"
    flows.write_text("id,src,dst,bytes,start_s\na,s0g0,s9g0,1e6,0\n")
    for fabric in ("dragonfly-1056", "slim-fly-1024"):
        assert zcube("replay", flows, "--fabric", fabric, "--routing", "one-queue-pair")["routing"] == "one-queue-pair"
    for fabric in ("roft-256", mesh):
        status, _, err = run("replay", flows, "--fabric", fabric, "--routing", "one-queue-pair")
        assert status == 2
        assert "one-queue-pair on" in err and "default or one of" in err


WRONG = {
    "taken family": ("[zcube.families]\nzcube = zcube_mesh:MeshSpec\n", "entry point zcube of zcube.families", "not taken"),
    "no family": ("[zcube.families]\nother = zcube_mesh:MESH_XY\n", "entry point other of zcube.families", "FabricSpec"),
    "family of another name": ("[zcube.families]\nother = zcube_mesh:MeshSpec\n", "entry point other", "not 'mesh'"),
    "taken policy": ("[zcube.routings]\necmp = zcube_mesh:MESH_XY\n", "entry point ecmp of zcube.routings", "not taken"),
    "no policy": ("[zcube.routings]\nother = zcube_mesh:MeshPaths\n", "entry point other of zcube.routings", "RoutingPolicy"),
    "reserved policy": ("[zcube.routings]\ndefault = zcube_mesh:MESH_XY\n", "entry point default", "another name"),
    "not there": ("[zcube.routings]\nother = zcube_mesh:MISSING\n", "entry point other", "cannot be loaded"),
    "no module": ("[zcube.families]\nother = zcube_absent:MeshSpec\n", "entry point other", "cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case: str, run, on_the_path, tmp_path: Path) -> None:
    entry_points, where, expected = WRONG[case]
    info = tmp_path / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    on_the_path(tmp_path, OUTSIDE)
    status, _, err = run("fabric", "check", "roft-256")
    assert status == 2
    assert where in err and expected in err
    assert "Traceback" not in err
