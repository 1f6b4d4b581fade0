"""The search over loads against functions whose answer is known."""

from __future__ import annotations

from math import ceil, log, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.load_search import search_load

LOADS = st.floats(0.01, 1000.0)


@given(limit=LOADS, start=LOADS, tolerance=st.floats(0.005, 0.5))
def test_the_bracket_holds_the_limit_within_the_tolerance_and_a_bounded_number_of_runs(
    limit: float, start: float, tolerance: float
) -> None:
    found = search_load(lambda load: load <= limit, start, 1e-3, 1e4, tolerance=tolerance, max_runs=100)
    assert found.status == "found"
    assert found.holds is not None and found.fails is not None and found.width is not None
    assert found.holds <= limit < found.fails
    assert found.width <= tolerance * (1 + 1e-9)
    steps, halvings = ceil(abs(log2(limit / start))) + 2, ceil(log2(log(2.0) / log(1.0 + tolerance))) + 1
    assert len(found.runs) <= steps + max(halvings, 0)


@given(limit=st.integers(1, 5000), start=st.integers(1, 5000))
def test_whole_loads_end_at_neighbours(limit: int, start: int) -> None:
    tried: list[float] = []

    def holds(load: float) -> bool:
        tried.append(load)
        return load <= limit

    found = search_load(holds, start, 1, 10_000, tolerance=1e-9, max_runs=100, whole=True)
    assert found.status == "found" and (found.holds, found.fails) == (limit, limit + 1)
    assert all(load == round(load) for load in tried)


@given(seed=st.randoms(use_true_random=False), limit=LOADS, noise=st.floats(0.0, 0.3), max_runs=st.integers(1, 30))
def test_under_noise_the_ends_are_what_was_measured_and_no_load_is_tried_twice(
    seed: object, limit: float, noise: float, max_runs: int
) -> None:
    flip = seed.random  # type: ignore[attr-defined]
    found = search_load(lambda load: (load <= limit) != (flip() < noise), 1.0, 1e-3, 1e4, max_runs=max_runs)
    answers = dict(found.runs)
    assert len(answers) == len(found.runs) <= max_runs
    assert found.holds is None or answers[found.holds]
    assert found.fails is None or not answers[found.fails]
    if found.holds is not None and found.fails is not None:
        assert found.holds < found.fails
        assert (found.width or 0.0) <= 0.05 * (1 + 1e-9) or found.status == "out of runs"


def test_noise_near_the_limit_moves_the_bracket_no_further_than_the_noise_reaches() -> None:
    # Loads within 10 % of 100 answer at random (here: by the parity of the run), all others truly.
    runs = 0

    def holds(load: float) -> bool:
        nonlocal runs
        runs += 1
        return bool(runs % 2) if 90 <= load <= 110 else load < 100

    found = search_load(holds, 7.0, 1.0, 1000.0, tolerance=0.02, max_runs=50)
    assert found.status == "found" and found.holds is not None and found.fails is not None
    assert 90 / 1.02 <= found.holds < found.fails <= 110 * 1.02


@pytest.mark.parametrize(("limit", "status", "ends"), [(1e9, "all hold", (64.0, None)), (1e-9, "none holds", (None, 0.25))])
def test_a_limit_outside_the_bounds_is_said_to_be_there(
    limit: float, status: str, ends: tuple[float | None, float | None]
) -> None:
    found = search_load(lambda load: load <= limit, 2.0, 0.25, 64.0)
    assert (found.status, (found.holds, found.fails)) == (status, ends)
    assert found.width is None


def test_it_stops_when_its_runs_are_used_up_and_says_so() -> None:
    found = search_load(lambda load: load <= 5.0, 1.0, 0.1, 100.0, tolerance=1e-6, max_runs=5)
    assert found.status == "out of runs" and [load for load, _ in found.runs[:4]] == [1.0, 2.0, 4.0, 8.0]
    assert (found.holds, found.fails) == (4.0, 32**0.5)
    one = search_load(lambda load: True, 1.0, 0.1, 100.0, max_runs=1)
    assert (one.status, one.holds, one.fails) == ("out of runs", 1.0, None)


def test_a_margin_holds_where_it_is_positive() -> None:
    found = search_load(lambda load: 3.0 - load, 1.0, 0.1, 100.0, tolerance=0.01, max_runs=30)
    assert found.holds is not None and found.fails is not None and found.holds < 3.0 <= found.fails


@pytest.mark.parametrize(
    "arguments",
    [(0.0, 0.0, 1.0), (1.0, 2.0, 3.0), (4.0, 1.0, 3.0), (1.0, -1.0, 3.0), (1.0, 1.0, float("inf")), (float("nan"), 1.0, 2.0)],
)
def test_bounds_that_hold_no_load_are_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="lowest"):
        search_load(lambda load: True, *arguments)


def test_other_arguments_are_checked_too() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        search_load(lambda load: True, 1, 1, 2, tolerance=0.0)
    with pytest.raises(ValueError, match="max_runs"):
        search_load(lambda load: True, 1, 1, 2, max_runs=0)
    with pytest.raises(ValueError, match="whole"):
        search_load(lambda load: True, 1.5, 1, 2, whole=True)
