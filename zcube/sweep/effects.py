"""What a sweep says: means over the seeds with intervals, and how far each key moves what a fabric changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from zcube.kept_runs import Done
from zcube.serving.repeats import LEAST_SEEDS, student_interval
from zcube.sweep.runs import Run

#: Figures that are summed up: the name they have in the document, and their key.
JUDGED = {"output": "throughput.output_tokens_per_s", "ttft_p99": "ttft_s.p99"}
#: Keys of more values than this are cut into parts.
MOST_SETTINGS, PARTS = 6, ("low third", "middle third", "high third")

RULE = (
    "A setting's change is the mean, over every point that has it, of a fabric's change against the baseline at the same point "
    "under the same seed; its interval is Student's at 95 % of the mean over the seeds. Keys of more than "
    f"{MOST_SETTINGS} numbers are cut into thirds."
)


def mean_interval(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean and Student's 95 % interval of values seed by seed; of one there is no interval, of one missing no mean."""
    known = np.array([value for value in values if value is not None and isfinite(value)], dtype=float)
    if not len(known) or len(known) < len(values):
        return {"mean": None, "interval": None}
    return {"mean": float(known.mean()), "interval": list(student_interval(known)) if len(known) > 1 else None}


def summary(runs: Sequence[Run], done: Sequence[Done]) -> list[dict[str, Any]]:
    """Return for every scenario, point and fabric its overrides and the judged figures over the seeds."""
    places: dict[tuple[str, int, str], list[int]] = {}
    for row, run in enumerate(runs):
        places.setdefault((run.case.scenario_name, run.case.point.number, run.fabric), []).append(row)
    return [
        {
            "scenario": scenario,
            "point": point,
            "overrides": dict(runs[rows[0]].case.point.overrides),
            "fabric": fabric,
            "seeds": len(rows),
            "failed": sum(done[row].error is not None for row in rows),
            "no_rate": _no_rate([done[row] for row in rows]),
            "unmeasured": next((what for row in rows if (what := (done[row].figures or {}).get("unmeasured"))), None),
            **{name: mean_interval([_value(done[row], key) for row in rows]) for name, key in JUDGED.items()},
        }
        for (scenario, point, fabric), rows in places.items()
    ]


def _no_rate(done: Sequence[Done]) -> dict[str, Any] | None:
    """Return how many of a point's runs have no steady window, so no rates, and the first one's cause; None where all have."""
    causes = [cause for one in done if (cause := (one.figures or {}).get("window.no_rate")) is not None]
    return {"runs": len(causes), "cause": causes[0]} if causes else None


def main_effects(runs: Sequence[Run], done: Sequence[Done]) -> dict[str, Any] | None:
    """Return how far each key moves the first fabric's change against the baseline, shaped as ``sensitivity`` of a comparison.

    None where no fabric stands beside its baseline, or no key has several values.
    """
    other = next((run.fabric for run in runs if run.fabric != run.baseline), None)
    settings = list(_settings(runs))
    if other is None or not settings:
        return None
    base = {(*run.place, run.seed): one for run, one in zip(runs, done, strict=True) if run.fabric == run.baseline}
    changes: dict[str, dict[int, float]] = {name: {} for name in JUDGED}
    for row, (run, one) in enumerate(zip(runs, done, strict=True)):
        for name, key in JUDGED.items():
            value, reference = _value(one, key), _value(base.get((*run.place, run.seed)), key)
            if run.fabric == other and value is not None and reference:
                changes[name][row] = value / reference - 1.0

    def against(rows: Sequence[int]) -> dict[str, Any]:
        return {name: _over_seeds([(runs[row].seed, of[row]) for row in rows if row in of]) for name, of in changes.items()}

    baseline = next(run.baseline for run in runs if run.fabric == other)
    return {
        "rule": RULE,
        "seeds": len({run.seed for run in runs}),
        "baseline": baseline,
        "fabric": other,
        "published": None,
        "scenario": {baseline: {"against": None}, other: {"against": against(range(len(runs)))}},
        "runs": [
            {"parameter": key, "setting": setting, "fabrics": {other: {"against": against(rows)}}}
            for key, setting, rows in settings
        ],
    }


def _over_seeds(changes: Sequence[tuple[int, float]]) -> dict[str, Any] | None:
    by_seed: dict[int, list[float]] = {}
    for seed, change in changes:
        by_seed.setdefault(seed, []).append(change)
    if not by_seed:
        return None
    said = mean_interval([float(np.mean(of_seed)) for of_seed in by_seed.values()])
    ends = said["interval"]
    differs = None if ends is None or len(by_seed) < LEAST_SEEDS else bool(ends[0] > 0 or ends[1] < 0)
    return {"change": said["mean"], "interval": ends, "differs": differs}


def _settings(runs: Sequence[Run]) -> Iterator[tuple[str, str, list[int]]]:
    """Yield key, setting and rows that have it, of every key of several values."""
    for key in dict.fromkeys(key for run in runs for key in run.case.point.overrides):
        rows: dict[str, list[int]] = {}
        numbers: dict[int, float] = {}
        for row, run in enumerate(runs):
            overrides = run.case.point.overrides
            value = overrides.get(key)
            rows.setdefault(str(value) if key in overrides else "as the scenario has it", []).append(row)
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers[row] = value
        if len(rows) > MOST_SETTINGS and len(numbers) == len(runs):
            rows = _thirds(numbers)
        if len(rows) > 1:
            yield from ((key, setting, having) for setting, having in rows.items())


def _thirds(numbers: Mapping[int, float]) -> dict[str, list[int]]:
    """Return rows by the third of the distinct values that theirs lies in."""
    edges = np.quantile(np.unique(list(numbers.values())), [1 / 3, 2 / 3])
    found: dict[str, list[int]] = {}
    for part, words in enumerate(PARTS):
        rows = [row for row, value in numbers.items() if int(np.searchsorted(edges, value)) == part]
        ends = [numbers[row] for row in rows]
        if rows:
            found[f"{words}, {min(ends):.4g} to {max(ends):.4g}"] = rows
    return found


def _value(done: Done | None, key: str) -> float | None:
    value = None if done is None or done.figures is None else done.figures.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None
