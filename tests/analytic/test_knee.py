"""The load from which on a fabric delays first tokens, where arithmetic knows it.

Two switches with one cable between them: prefill nodes hang on one, decode nodes on the other. Prompts are all alike and lie
in the prefix caches but for one token, so that a request is its KV on that cable. They come evenly spaced. With a cable as fast
as a NIC, transfers do not meet below the rate at which one begins when the one before ends, and pile up beyond it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving_by_hand import NIC_BYTES_PER_S, kv_by_hand

from zcube.comparison import Comparison, compare
from zcube.errors import InputError
from zcube.knee import Knee, KneeSearch, find_knees
from zcube.other_loads import OtherLoads
from zcube.scenario import Scenario
from zcube.verdict.limits import limits

TOKENS, BLOCK = 8192, 512
PREFILL, DECODE = 32, 4
WARM, COUNT = PREFILL, 400
#: Room for the first prompts, which are computed in full, as a part of all time.
PAUSE = 0.5
CAPACITY_PER_S = NIC_BYTES_PER_S / kv_by_hand(TOKENS)


def two_switches(folder: Path, trunk_gbps: float) -> str:
    """Write a fabric of two switches and return its topology file."""
    rows = [f"s{gpu // 8}g{gpu % 8},0,{'A' if gpu < 8 * PREFILL else 'B'},{gpu},400,0" for gpu in range(8 * (PREFILL + DECODE))]
    # Ports count at the link's rate; this one lies beyond those of the GPUs.
    port = round(400 * max(400 / trunk_gbps, 1))
    (folder / f"links-{trunk_gbps:g}.csv").write_text(
        "\n".join(["a,a_port,b,b_port,gbps,latency_s", *rows, f"A,{port},B,{port},{trunk_gbps:g},0", ""])
    )
    file = folder / f"trunk-{trunk_gbps:g}.toml"
    ports = f'model = "m"\nports = 512\nport_gbps = {max(trunk_gbps, 400):g}\n'
    file.write_text(f'family = "custom"\nlinks = "links-{trunk_gbps:g}.csv"\n[switch]\n{ports}')
    return str(file)


def requests_file(folder: Path) -> str:
    """Write requests for one prefix: the first ones at once, a pause, then one a millisecond; rates stretch it all."""
    pause_ms = round(PAUSE / (1 - PAUSE) * COUNT)
    times = [0] * WARM + [pause_ms + number for number in range(COUNT)]
    row = {"input_length": TOKENS, "output_length": 2, "hash_ids": list(range(TOKENS // BLOCK))}
    file = folder / "requests.jsonl"
    file.write_text("".join(json.dumps({"timestamp": time, **row}) + "\n" for time in times))
    return str(file)


def rate_of(spacing_per_s: float) -> float:
    """Return the mean rate at which evenly spaced requests come so often."""
    span = PAUSE / (1 - PAUSE) * COUNT + COUNT - 1
    return spacing_per_s * (WARM + COUNT) / span


def compared(folder: Path, trunk_gbps: float, **load: Any) -> Comparison:
    return compare(
        Scenario.model_validate(
            {
                "fabrics": [two_switches(folder, trunk_gbps)],
                "requests": {"source": requests_file(folder), "time_unit": "ms"},
                "load": load or {"rate_per_s": rate_of(0.3 * CAPACITY_PER_S)},
                "prefill": {"nodes": PREFILL},
                "decode": {"nodes": DECODE},
                "kv": {"push": "after-prefill"},
                "measure": {"warm_up_fraction": 0.2, "least_turnovers": 0.0, "least_filled": 0.0},
            }
        )
    )


def knee_of(comparison: Comparison, **asked: Any) -> Knee:
    (knee,) = find_knees(OtherLoads(comparison), KneeSearch.model_validate(asked)).fabrics.values()
    return knee


def test_a_cable_that_one_transfer_fills_has_its_knee_where_transfers_begin_to_meet(tmp_path):
    knee = knee_of(compared(tmp_path, 400.0), tolerance=0.02)
    assert knee.status == "found" and knee.holds is not None and knee.fails is not None
    assert knee.holds <= rate_of(CAPACITY_PER_S) * 1.005 and knee.fails >= rate_of(CAPACITY_PER_S)
    assert knee.fails <= knee.holds * 1.02
    for probe in knee.runs:
        assert probe.added is not None and probe.ideal_full == ()
        if probe.load < 0.99 * rate_of(CAPACITY_PER_S):
            assert probe.added == pytest.approx(0.0, abs=1e-3)


def test_a_cable_slower_than_a_nic_delays_every_transfer(tmp_path):
    comparison = compared(tmp_path, 200.0)
    knee = knee_of(comparison, lowest=0.25)
    assert knee.status == "at the lowest" and knee.holds is None
    probe = knee.runs[-1]
    assert probe.load == pytest.approx(0.25 * rate_of(0.3 * CAPACITY_PER_S)) and probe.ideal_ttft_p99_s is not None
    # Alone on half the rate a transfer takes as long again.
    assert probe.added == pytest.approx(1 / CAPACITY_PER_S / probe.ideal_ttft_p99_s, rel=1e-2)


def test_without_a_bottleneck_the_engine_ends_the_search(tmp_path):
    comparison = compared(tmp_path, 1600.0, rate_per_s=rate_of(1.5 * CAPACITY_PER_S))
    knee = knee_of(comparison, tolerance=0.1)
    assert knee.status == "saturated" and knee.holds is not None and knee.fails is not None
    assert all(probe.added is None or probe.added < 0.05 for probe in knee.runs)
    beyond = {probe.load: probe for probe in knee.runs}[knee.fails]
    assert beyond.ideal_full == ("prefill",) and beyond.ttft_p99_s is None
    # The scenario's own run at the largest load that holds is below capacity, and what is said names the limiter.
    assert limits(comparison.results["trunk-1600"].metrics, (PREFILL, DECODE))["full"] == []


def test_the_search_is_bounded_and_says_when_it_ended(tmp_path):
    comparison = compared(tmp_path, 400.0)
    assert knee_of(comparison, max_loads=1).status == "out of runs"
    within = knee_of(comparison, highest=1.5)
    assert (within.status, within.fails, len(within.runs)) == ("not reached", None, 2)
    assert within.holds == pytest.approx(1.5 * rate_of(0.3 * CAPACITY_PER_S))


def test_a_share_of_its_own_moves_the_knee(tmp_path):
    # Half of the rate of a NIC adds the time of a transfer: more than a twentieth, but less than a tenth.
    knee = knee_of(compared(tmp_path, 200.0), share=0.1, tolerance=0.02)
    assert knee.status == "found" and knee.fails is not None and knee.holds is not None
    assert knee.holds <= rate_of(CAPACITY_PER_S / 2) * 1.005 and knee.fails >= rate_of(CAPACITY_PER_S / 2)


def test_in_a_closed_loop_loads_are_whole(tmp_path):
    comparison = compared(tmp_path, 400.0, mode="closed", concurrency=4)
    knee = knee_of(comparison)
    assert all(probe.load == round(probe.load) for probe in knee.runs)
    # One request under way meets nobody.
    first = find_knees(OtherLoads(comparison), KneeSearch(highest=1.0, lowest=0.25))
    assert first.unit == "requests under way" and first.base_load == 4
    one = [probe for probe in knee.runs if probe.load == 1]
    assert all(probe.added == pytest.approx(0.0, abs=1e-3) for probe in one)


def test_what_was_run_is_used_and_ideal_cores_are_shared(tmp_path):
    fabrics = (two_switches(tmp_path, 400.0), two_switches(tmp_path, 800.0))
    scenario = compared(tmp_path, 400.0).scenario.model_copy(update={"fabrics": fabrics})
    told: list[str] = []
    knees = find_knees(OtherLoads(compare(scenario), lambda phase, *_: told.append(phase)), KneeSearch(highest=2.0))
    loads = {name: [probe.load for probe in knee.runs] for name, knee in knees.fabrics.items()}
    assert loads["trunk-400"] == loads["trunk-800"] and len(loads["trunk-400"]) == 2
    # Ideal cores at both loads once, each fabric at the second.
    assert len(told) == 4 and sum("ideal core" in phase for phase in told) == 2


def test_an_ideal_network_has_no_knee(tmp_path):
    scenario = compared(tmp_path, 400.0).scenario
    ideal = scenario.model_copy(update={"network": scenario.network.model_copy(update={"fidelity": "ideal"})})
    with pytest.raises(InputError, match="flow or packet"):
        find_knees(OtherLoads(compare(ideal)))


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"tolerance": -1.0}, {"lowest": 2.0}, {"highest": 0.5}, {"max_loads": 0}])
def test_what_is_searched_for_is_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KneeSearch.model_validate(wrong)
