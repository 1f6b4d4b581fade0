"""``zcube plan --search``: what is kept after every generation, going on from it, bounds, duplicates."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import zcube as zc
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.search.evaluating import Judge, Judges
from zcube.plan.search.isomorphism import FabricGraph
from zcube.plan.search.search import Archive, _start, search
from zcube.plan.search.settings import SearchSettings
from zcube.plan.search.space import Space
from zcube.seeds import stream
from zcube.side_by_side import IN_THIS_PROCESS

pytest.importorskip("pymoo", reason="pymoo is not installed: pip install 'zcube[search]'")

SMALL = ("plan", "--gpus", "32", "--switch", "25.6T", "--families", "spine-leaf", "--search")
SIZE = ("--population", "16", "--generations", "6", "--jobs", "1")
NEVER_RESUMED_ALIKE = {"run.json"}


@pytest.fixture(scope="module")
def whole(ran, tmp_path_factory):
    """The folder of a search that nothing ended."""
    folder = tmp_path_factory.mktemp("search") / "whole"
    status, _, err = ran(*SMALL, *SIZE, "--out", folder)
    assert status == 0, err
    return folder


@pytest.fixture
def going_on(run):
    """Run a search in this process, or go on with it; returns what it says."""

    def search_on(folder, *options):
        status, _, err = run(*SMALL, *SIZE, "--out", folder, *options)
        assert status == 0, err
        return err

    return search_on


def _command(folder, *options):
    return [sys.executable, "-m", "zcube", *SMALL, *SIZE, "--out", str(folder), *options]


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in NEVER_RESUMED_ALIKE}


def _generation(folder):
    """Return the generation that a running search has kept, -1 before the first; its folder is exchanged as a whole."""
    try:
        return json.loads((folder / "search.json").read_text())["generation"]
    except (FileNotFoundError, ValueError):
        return -1


def test_a_search_finds_fabrics_that_other_verbs_read(whole, run):
    document = json.loads((whole / "plan.json").read_text())
    found = document["search"]["same_graph"]
    assert found
    assert document["search"]["fabrics_drawn"] == 16 * 7
    for name in found:
        assert document["fabrics"][name]["family"] == "layered"
        status, out, err = run("fabric", "show", whole / f"{name}.toml", "--json")
        assert status == 0, err
        assert json.loads(out)["gpus"] == 32


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="killed with a POSIX signal")
@pytest.mark.parametrize("killed", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_alike(whole, going_on, tmp_path, killed):
    folder = tmp_path / "killed"
    with subprocess.Popen(_command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and _generation(folder) < killed:
            time.sleep(0.005)
        # Somewhere inside the next generation.
        time.sleep(float(np.random.default_rng(killed).random()) * 0.3)
        process.kill()
    reached = _generation(folder)
    assert killed <= reached
    assert f"going on after generation {reached}" in going_on(folder)
    assert _files(folder) == _files(whole)


def test_interrupted_it_keeps_what_it_has(whole, going_on, tmp_path):
    folder = tmp_path / "interrupted"
    with subprocess.Popen(_command(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and _generation(folder) < 2:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert 2 <= _generation(folder) < 6
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "search.json"]
    going_on(folder)
    assert _files(folder) == _files(whole)


@pytest.mark.slow
def test_processes_do_not_show_and_generations_can_be_added(whole, going_on, tmp_path):
    folder = tmp_path / "more"
    going_on(folder, "--generations", "3", "--jobs", "2")
    assert _generation(folder) == 3
    going_on(folder)
    assert _files(folder) == _files(whole)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--gpus", "64"), "demand.gpus"),
        (("--seed", "1"), "demand.seed"),
        (("--population", "20"), "population"),
        (("--objectives", "capital_usd,random_share"), "demand.objectives"),
    ],
)
def test_a_state_of_another_search_is_refused(whole, run, options, told):
    before = _files(whole)
    status, _, err = run(*SMALL, *SIZE, "--out", whole, *options)
    assert status == 2
    assert told in err
    assert _files(whole) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--search", "--population", "4096", "--generations", "100000"), "1000000 fabrics"),
        (("--search", "--population", "1"), "--population"),
        (("--search", "--generations", "x"), "--generations"),
        (("--population", "8"), "--search"),
        (("--search", "--gpus", "8192"), "4096 GPUs"),
    ],
)
def test_bounds_are_told_before_anything_is_drawn(run, options, told):
    status, _, err = run("plan", "--gpus", "32", *options)
    assert status == 2
    assert told in err


def test_without_pymoo_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo", None)
    status, _, err = run("plan", "--gpus", "32", "--search")
    assert status == 2
    assert "pip install 'zcube[search]'" in err


def test_a_broken_state_is_refused(run, going_on, tmp_path):
    folder = tmp_path / "broken"
    going_on(folder, "--generations", "1")
    state = json.loads((folder / "search.json").read_text())
    state["genomes"][0][0] = 10**6
    (folder / "search.json").write_text(json.dumps(state))
    # The record beside it tells that the file is not what the run wrote.
    status, _, err = run(*SMALL, *SIZE, "--out", folder)
    assert status == 2
    assert "search.json" in err


def _site(**options):
    return load_demand(None, {key: str(value) for key, value in options.items()}, tuple(generators()))


def test_a_graph_under_two_genomes_is_measured_once():
    site = _site(gpus=32, switch="25.6T", families="spine-leaf", objectives="capital_usd")
    space = Space(site)
    place = {name: number for number, name in enumerate(space.menus)}

    def genome(layer):
        row = np.zeros(len(space.choices), dtype=int)
        row[place[f"layer {layer}"]] = space.counts.index(4)
        row[place[f"layer {layer + 1}"]] = space.counts.index(2)
        for name, value in ((f"join 0 {layer} links", 1), (f"join 0 {layer} rate", 1), (f"join {layer} {layer + 1} links", 6)):
            row[place[name]] = value
        row[place[f"join 0 {layer} lower blocks"]] = row[place[f"join 0 {layer} upper blocks"]] = 2
        row[place[f"join {layer} {layer + 1} rate"]] = 1
        return tuple(row.tolist())

    judge = Judge(site)
    archive = Archive(Judges(judge, IN_THIS_PROCESS), judge)
    rows = archive.look_up([genome(1), genome(2)])
    assert rows[0] == rows[1] == (0.0, 0)
    assert len(archive.found) == 1


def test_the_start_holds_no_zcube_whatever_the_seed():
    site = _site(gpus=256, switch="25.6T")
    space, judge = Space(site), Judge(site)
    switch = next(iter(site.switches.values())).model_dump(exclude_defaults=True)
    zcube = FabricGraph.of(ZCubeSpec(gpus=256, switch=switch).build("zcube")).hash()
    for seed in range(2):
        start = _start(judge, space, 16, stream(seed, "search start"))
        assert zcube not in {judge.glance(tuple(genome))[1] for genome in start.tolist()}


def test_python_searches_too():
    plan = zc.plan(gpus=32, switch="25.6T", families="spine-leaf", search={"population": 16, "generations": 2})
    assert plan.document()["search"]["generations"] == 2
    settings = SearchSettings(population=16, generations=2)
    again = search(plan.site, settings)
    assert plan.document()["search"]["graphs_measured"] == len(again.found)
