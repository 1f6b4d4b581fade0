"""The time left is within a factor of two from the first tenth of a run on: curves of known shape, and a real run's events.

No clock of the machine is read: time is a number that the tests set, or the count of calls that the interpreter makes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from zcube.comparison import compare
from zcube.progress import TimeLeft
from zcube.scenario import load_scenario
from zcube.serving.work_done import WorkDone
from zcube.workload.requests import RequestTrace

RUN_S = 100.0


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def estimates(marks: list[tuple[float, float]]) -> list[tuple[float, float, float | None]]:
    """Return share of the time gone, time left, and the estimate of it, at each mark of (time, share done)."""
    clock = Clock()
    clock.now_s = marks[0][0]
    left, end_s, begin_s = TimeLeft(clock), marks[-1][0], marks[0][0]
    found = []
    for now_s, share in marks:
        clock.now_s = now_s
        left.note(share, 1.0, "%")
        found.append(((now_s - begin_s) / (end_s - begin_s), end_s - now_s, left.left_s()))
    return found


def check(marks: list[tuple[float, float]], least_left: float = 0.02) -> None:
    """After a tenth of the time and before the last moments every estimate is within a factor of two."""
    whole_s = marks[-1][0] - marks[0][0]
    checked = 0
    for gone, left_s, estimate_s in estimates(marks):
        if gone >= 0.1 and left_s > least_left * whole_s:
            assert estimate_s is not None
            assert 0.5 <= estimate_s / left_s <= 2.0, (gone, left_s, estimate_s)
            checked += 1
    assert checked > 10


def linear(share: float) -> float:
    return share


def slow_start(share: float) -> float:
    """The rate grows evenly over the first tenth: caches fill, the first batches form."""
    return (share**2 / 0.2 if share < 0.1 else share - 0.05) / 0.95


def late_start(share: float) -> float:
    """Nothing is done in the first twentieth."""
    return max(0.0, share - 0.05) / 0.95


def fast_start(share: float) -> float:
    """The first half takes two fifths of the time."""
    return share * 1.25 if share < 0.4 else 0.5 + (share - 0.4) / 1.2


@pytest.mark.parametrize("marks", [40, 1_000, 20_000])
@pytest.mark.parametrize("curve", [linear, slow_start, late_start, fast_start])
def test_curves_of_known_shape(curve: Any, marks: int) -> None:
    check([(RUN_S * share, curve(share)) for share in np.linspace(0.0, 1.0, marks + 1)])


def test_two_fabrics_one_of_them_half_as_fast() -> None:
    shares = np.linspace(0.0, 1.0, 2_001)
    check([(RUN_S * share, 0.5 * (share * 3 if share < 1 / 3 else 1 + (share - 1 / 3) * 1.5)) for share in shares])


@pytest.mark.parametrize("compiling_s", [0.5, 40.0, 400.0])
def test_compilation_is_left_out_wherever_it_comes(compiling_s: float) -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.note(0.0, 10.0, "flows")
    for done in range(1, 11):
        if done in (1, 6):
            left.compiling(True)
            clock.now_s += compiling_s / 2
            left.compiling(True)
            clock.now_s += compiling_s / 2
            left.compiling(False)
            assert left.compiling_s == pytest.approx(compiling_s)
            before_s = left.left_s()
            left.compiling(False)
            assert left.left_s() == before_s and left.compiling_s == 0.0
        clock.now_s += 3.0
        left.note(done, 10.0, "flows")
        assert left.left_s() == pytest.approx(3.0 * (10 - done))


def test_nothing_is_said_before_anything_is_done_or_where_the_total_is_not_known() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    assert left.left_s() is None
    left.note(0.0, 0.0, "")
    clock.now_s = 5.0
    assert left.left_s() is None
    left.note(0.0, 8.0, "pairs")
    clock.now_s = 7.0
    left.note(0.0, 8.0, "pairs")
    assert left.left_s() is None
    left.note(4.0, 8.0, "pairs")
    assert left.left_s() == pytest.approx(2.0)
    clock.now_s = 8.0
    assert left.left_s() == pytest.approx(1.0)
    # Another piece of work knows nothing of the one before.
    left.note(1.0, 8.0, "flows")
    assert left.left_s() is None


def small_compare(changes: dict[str, Any]) -> list[tuple[float, float]]:
    """Run a comparison and return (time, share done) of its simulation, time in calls that the interpreter makes."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += 1

    marks: list[tuple[float, float]] = []

    def note(phase: str, done: float, total: float, unit: str) -> None:
        if phase.startswith("simulating"):
            marks.append((float(calls), done / total))

    scenario = load_scenario("glm51-pd-256", changes)
    compare(scenario)  # Compiles, and fills what is kept between runs.
    sys.setprofile(count)
    try:
        compare(scenario, note)
    finally:
        sys.setprofile(None)
    return marks


@pytest.mark.parametrize(
    "changes",
    [
        {"requests.count": 60, "load.concurrency": 40},
        {"requests.count": 80, "load.mode": "open", "load.rate_per_s": 20.0},
        {"requests.count": 80, "load.mode": "open", "load.rate_per_s": 0.5, "prefill.nodes": 4, "decode.nodes": 1},
    ],
    ids=["closed loop", "open loop", "slow arrivals"],
)
def test_the_events_of_a_real_comparison(changes: dict[str, Any]) -> None:
    marks = small_compare({"fabrics": ["roft-256", "zcube-256"], **changes})
    shares = [share for _, share in marks]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    check(marks)


def test_work_done_counts_what_is_computed_found_and_turned_away() -> None:
    tokens = np.array([1000, 3000, 1000])
    given = RequestTrace(
        name="x", source="x", arrival_s=np.zeros(3), input_tokens=tokens, output_tokens=np.ones(3, dtype=np.int64),
        block_tokens=0, first_block=np.zeros(4, dtype=np.int64), block_id=np.zeros(0, dtype=np.int64),
        session=np.arange(3),
    )  # fmt: skip
    work = WorkDone(given)
    assert work.share == 0.0
    work.reach(0, 500)
    assert work.share == pytest.approx(0.45 * 500 / 5000)
    work.reach(1, 2000, computed=False)
    assert work.share == pytest.approx(0.45 * 500 / 3000)
    work.end(2)
    assert work.share == pytest.approx(0.45 * 500 / 2000 + 0.55 / 3)
    work.reach(0, 1000)
    work.reach(1, 3000)
    assert work.share == pytest.approx(0.45 + 0.55 / 3)
    work.join(1)
    assert work.share == pytest.approx(0.45 + 0.45 * 2 / 3 + 0.1 / 3)
    work.end(0)
    work.end(1)
    assert work.share == 1.0


def test_all_fabrics_and_seeds_are_one_piece_of_work() -> None:
    said: list[tuple[str, float, float, str]] = []
    changes = {"fabrics": ["roft-256", "zcube-256"], "requests.count": 4, "seeds": 3}
    compare(load_scenario("glm51-pd-256", changes), lambda *told: said.append(told))
    runs = [told for told in said if told[0].startswith("simulating")]
    assert [done for _, done, _, _ in runs] == sorted(done for _, done, _, _ in runs)
    assert {(total, unit) for _, _, total, unit in runs} == {(6, "%")} and runs[-1][1] == 6
    assert list(dict.fromkeys(phase for phase, *_ in runs)) == [
        f"simulating {name}, fabric {fabric} of 2, seed {seed} of 3"
        for seed in (1, 2, 3)
        for fabric, name in ((1, "roft-256"), (2, "zcube-256"))
    ]
