"""What the planner finds by itself: rails that spread a funnel, and fabrics of 256 GPUs that ZCube(16,2) does not beat.

Run ``python -m pytest verification -m slow``. The searches need pymoo.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.plan.candidate import Candidate
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.front import beats
from zcube.plan.measures import Measured, Measuring
from zcube.plan.objectives import OBJECTIVES
from zcube.plan.rewiring.rewired import rewire, wiring_task
from zcube.plan.search.search import search
from zcube.plan.search.searched import Searched
from zcube.plan.search.settings import SearchSettings

pytestmark = pytest.mark.slow
WITHIN = 1.05
MOST_KILLS = 6
SWITCH = '[switch]\nmodel = "25.6T"\nports = 64\nport_gbps = 400.0\n'


@pytest.mark.parametrize(
    ("gpus", "gpus_per_switch", "changes"),
    [
        (64, 8, ()),
        (128, 16, ()),
        (256, 16, ()),
        (256, 32, ("funnel.prefill_servers=16",)),
        (512, 32, ("funnel.transfers=3000", "funnel.warm_up=300")),
    ],
)
def test_a_funnel_over_the_wiring_found_ends_as_on_an_ideal_core(tmp_path, gpus, gpus_per_switch, changes):
    """From plain rails; P99, mean over three samples that the search has not seen."""
    path = tmp_path / "plain.toml"
    path.write_text(f'family = "zcube"\ngpus = {gpus}\ngpus_per_switch = {gpus_per_switch}\n{SWITCH}')
    fabric = load_fabric(str(path))
    found = rewire(fabric, wiring_task("funnel", str(path), fabric, changes)).document()
    print(gpus, gpus_per_switch, found["before"], found["after"])
    assert found["after"]["p99_over_ideal"] < WITHIN


def test_zcube_of_256_gpus_does_not_beat_all_that_is_found():
    pytest.importorskip("pymoo")
    site = load_demand(None, {"gpus": "256", "switch": "25.6T"}, tuple(generators()))
    began_s = time.monotonic()
    searched = Searched(site, search(site, SearchSettings()))
    assert time.monotonic() - began_s < 600
    switch = site.switches["25.6T"].model_dump(exclude_defaults=True)
    spec = ZCubeSpec(gpus=256, switch=switch)
    zcube = Candidate("zcube", "zcube", "", spec, {"25.6T": 32}, 2048, 512, 256, 1.0, 16)
    measuring, objectives = Measuring(site), site.demand.objectives
    theirs = Measured(zcube, measuring.bill(zcube) | measuring.behaviour(zcube))
    values = [theirs.value(name) for name in objectives]
    criteria = [OBJECTIVES[name] for name in objectives]
    unbeaten = [one for one in searched.front if not beats(criteria, values, list(one.values))]
    beating = [one for one in searched.front if beats(criteria, list(one.values), values)]
    print(f"ZCube(16,2): {values}; {len(unbeaten)} unbeaten of {len(searched.front)}, {len(beating)} beat it")
    assert unbeaten


@pytest.mark.parametrize("seed", range(3))
def test_a_search_killed_at_random_moments_ends_alike(tmp_path, seed):
    pytest.importorskip("pymoo")
    command = [sys.executable, "-m", "zcube", "plan", "--gpus", "64", "--switch", "25.6T", "--families", "zcube", "--search"]
    command += ["--population", "24", "--generations", "12", "--seed", str(seed), "--out"]
    begun_s = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    took_s = time.monotonic() - begun_s
    draw, kills = np.random.default_rng(seed), 0
    # What comes after the last generation begins anew each time, so that on a busy machine kills have to end.
    while True:
        with subprocess.Popen([*command, str(tmp_path / "killed")]) as process:
            try:
                process.wait(timeout=float(draw.uniform(0.2, 0.9)) * took_s if kills < MOST_KILLS else None)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills
    for name in ("plan.json", "search.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "whole" / "plan.json").read_text())["search"]["generations"] == 12
