"""The K worst windows of every fabric's run, and the band in which its 99th percentiles lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray
from zcube.comparison import Comparison, FabricResult, compare
from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared, validate
from zcube.microscope.sent import Sent
from zcube.microscope.worst import worst_windows
from zcube.progress import Progress, silent
from zcube.quantiles import QUANTILES, spread
from zcube.scenario import Scenario
from zcube.serving.attribution import ttft_parts
from zcube.serving.journey import COMPLETED
from zcube.serving.limiting_links import SENDING
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV

if TYPE_CHECKING:
    import pandas as pd

    from zcube.microscope.rebuild import Rebuilt


#: Quantiles that stand for the ratios of all transfers rebuilt, and for the slow-downs of a run, where each meets each.
RATIOS_AT, SLOW_DOWNS_AT = (np.arange(200) + 0.5) / 200, (np.arange(10_000) + 0.5) / 10_000


class Microscope(Declared):
    """What is rebuilt packet by packet; the defaults are this project's choice."""

    windows: int = Field(default=3, ge=1, le=1000, description="of each fabric's run, those with the largest excess")
    window_s: float = Field(default=0.1, ge=1e-6, le=3600, description="length of a window")
    seeds: int = Field(default=1, ge=1, le=1000, description="runs that are looked at, from the scenario's first seed on")
    packet_hops: float = Field(
        default=10e6,
        ge=1,
        le=1e12,
        description="most that are simulated of a window; packets are merged into larger cells before it is refused",
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """A fabric's run under a seed, its transfers, and what became of its worst windows."""

    seed: int
    run: ServingRun
    sent: Sent
    excess_s: FloatArray
    windows: list[Rebuilt]


def microscope_of(
    scenario: Scenario, wanted: bool | Mapping[str, Any], place: Callable[[str], str] = "microscope: {}".format
) -> Microscope | None:
    """Return what is to be rebuilt of a scenario's runs, if anything is.

    Parameters
    ----------
    scenario : Scenario
        What is compared.
    wanted : bool or mapping
        Whether to rebuild anything, or keys of :class:`Microscope`.
    place : callable
        Where a key was written.

    Raises
    ------
    InputError
        With every fault of the keys, and every fabric whose run is of neither fluid.
    """
    if wanted is False:
        return None
    faults, asked = FaultList(), Microscope()
    with faults:
        asked = validate(Microscope, {} if wanted is True else wanted, place)
    with faults:
        _check_fidelity(scenario)
    if asked.seeds > scenario.seeds:
        faults.faults.append(Fault(place("seeds"), str(asked.seeds), f"at most the scenario's seeds, {scenario.seeds}"))
    faults.check()
    return asked


def _check_fidelity(scenario: Scenario) -> None:
    faults = [
        Fault(f"fabric {name}: network.fidelity", scenario.network_of(name).fidelity, "flow or lossless with --microscope")
        for name in scenario.fabrics
        if scenario.network_of(name).fidelity not in ("flow", "lossless")
    ]
    if faults:
        raise InputError(faults)


def look(comparison: Comparison, asked: Microscope, progress: Progress = silent) -> Comparison:
    """Return a comparison with the worst windows of each fabric's runs rebuilt.

    Parameters
    ----------
    comparison : Comparison
        Of runs that :func:`microscope_of` accepts; those of other seeds than the first are made anew, since they are not kept.
    asked : Microscope
        How many windows, how long, how much of each, under how many seeds.
    progress : Progress
        Told what is under way.
    """
    seen: dict[str, list[_Seen]] = {name: [] for name in comparison.results}
    for number in range(asked.seeds):
        seed, of_seed = comparison.scenario.seed + number, comparison
        if number:
            of_seed = compare(comparison.scenario.model_copy(update={"seed": seed, "seeds": 1}), progress)
        for name, result in of_seed.results.items():
            seen[name].append(_look(name, seed, result, asked, progress))
    fidelity = {name: result.carrier.network.fidelity for name, result in comparison.results.items()}
    documents = {name: _document(runs, fidelity[name]) for name, runs in seen.items()}
    document = {**asked.model_dump(mode="json"), "fabrics": documents}
    return replace(comparison, microscope=document, rebuilt={name: _table(runs) for name, runs in seen.items()})


def _look(name: str, seed: int, result: FabricResult, asked: Microscope, progress: Progress) -> _Seen:
    # Whoever only asks what is to be rebuilt has no use for packets.
    from zcube.microscope.rebuild import rebuild

    carrier, run = result.carrier, result.run
    sent, span = Sent.of(carrier, run), run.window
    number, excess_s = worst_windows(
        sent.begin_s, sent.end_s, sent.excess_s, (span.start_s, span.end_s), asked.window_s, asked.windows
    )
    starts_s = [span.start_s + asked.window_s * one for one in number.tolist()]
    by_time = np.argsort(starts_s, kind="stable")
    left = dict(zip(by_time.tolist(), sent.left_at(carrier, [starts_s[at] for at in by_time]), strict=True))
    windows = []
    for at, start_s in enumerate(starts_s):
        ends = start_s, min(start_s + asked.window_s, span.end_s)

        def told(phase: str, done: float, total: float, unit: str, at: int = at) -> None:
            progress(f"window {at + 1} of {len(starts_s)} on {name}: {phase}", done, total, unit)

        windows.append(rebuild(carrier, sent, ends, left[at], asked.packet_hops, told))
    return _Seen(seed, run, sent, excess_s, windows)


def _document(seen: list[_Seen], own: str) -> dict[str, Any]:
    """Return a fabric's part of the document, its windows seed by seed, of each the worst first."""
    windows = [
        {"seed": one.seed, "excess_s": float(excess_s), **window.document}
        for one in seen
        for excess_s, window in zip(one.excess_s, one.windows, strict=True)
    ]
    return {
        "windows": windows,
        "why_none": None if windows else "no transfer took longer than it would have alone",
        **_bands(seen, own),
    }


def _bands(seen: list[_Seen], own: str) -> dict[str, Any]:
    """Return P99 of the runs' transfers, their slow-down and times to first token as each model has them, means over seeds.

    The runs' own are as simulated. Of another model every sending is longer by the ratio of the two models' P99 over the
    transfers of all windows that were rebuilt; slow-downs are larger by the ratio of a transfer drawn from these. Both take
    the whole run to be like its windows.
    """
    rebuilt = [one.duration_s for run in seen for one in run.windows if one.duration_s]
    found = {name: np.concatenate([one[name] for one in rebuilt]) for name in (rebuilt[0] if rebuilt else ())}
    tails = {name: float(np.quantile(seconds, QUANTILES["p99"])) for name, seconds in found.items()}
    tail_ratio = {name: tail_s / tails[own] for name, tail_s in tails.items()} or {own: 1.0}
    ratios = {name: np.quantile(seconds / found[own], RATIOS_AT) for name, seconds in found.items()} or {own: np.ones(1)}
    p99s = [_p99s(one, tail_ratio, ratios) for one in seen]
    means = {key: {name: _mean([one[key][name] for one in p99s]) for name in tail_ratio} for key in p99s[0]}
    return {"tail_ratio": tail_ratio, **means}


def _p99s(seen: _Seen, tail_ratio: Mapping[str, float], ratios: Mapping[str, FloatArray]) -> dict[str, dict[str, float | None]]:
    """Return what :func:`_bands` does of one run."""
    run, window = seen.run, seen.run.window
    journeys = run.journeys
    counted = window.holds(run.flows.start_s) & np.isfinite(run.completions.finish_s)
    sending_s = run.completions.sending_s(run.flows.start_s)[counted]
    slow_down = sending_s / np.maximum(sending_s - seen.sent.excess_s[counted], np.finfo(float).tiny)
    some = np.quantile(slow_down, SLOW_DOWNS_AT) if len(slow_down) > len(SLOW_DOWNS_AT) else slow_down
    done = (journeys.outcome == COMPLETED) & window.holds(journeys.arrival_s)
    parts, ttft_s = ttft_parts(run), journeys.ttft_s()[done]
    network_s = np.sum([parts[part][done] for part in SENDING], axis=0) if done.any() else np.zeros(0)
    return {
        "transfer_p99_s": {name: _p99(sending_s * value) for name, value in tail_ratio.items()},
        "slow_down_p99": {name: _p99(slow_down * _raised(some, value)) for name, value in ratios.items()},
        "ttft_p99_s": {name: _p99(ttft_s + network_s * (value - 1.0)) for name, value in tail_ratio.items()},
    }


def _raised(slow_down: FloatArray, ratios: FloatArray) -> float:
    """Return by how much P99 grows where each of some values may have each of some ratios."""
    if not len(slow_down) or np.all(ratios == 1.0):
        return 1.0
    p99 = QUANTILES["p99"]
    return float(np.quantile(np.multiply.outer(slow_down, ratios), p99) / np.quantile(slow_down, p99))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _p99(values_s: FloatArray) -> float | None:
    value: float | None = spread(values_s)["p99"]
    return value


def _table(seen: list[_Seen]) -> pd.DataFrame:
    """Return a row per window and transfer that was rebuilt in it, in the windows' order."""
    import pandas as pd

    columns = ("seed", "window", "transfer", "request", "kind", "src", "dst", "start_s", "bytes")
    frames = [pd.DataFrame({name: [] for name in columns})]
    for number, (of_seed, one) in enumerate((looked, window) for looked in seen for window in looked.windows):
        rows, seconds, run = one.number, one.duration_s, of_seed.run
        column: Mapping[str, Any] = {
            "seed": np.full(len(rows), of_seed.seed),
            "window": np.full(len(rows), number),
            "transfer": rows,
            "request": run.flow_request[rows],
            "kind": np.where(run.flow_kind[rows] == KV, "kv", "expert"),
            "src": run.flows.source[rows],
            "dst": run.flows.target[rows],
            "start_s": run.flows.start_s[rows],
            "bytes": one.left_bytes,
            **{f"{name}_s": values for name, values in seconds.items()},
            **(
                {"ratio": seconds["packet"] / seconds["flow"], "victim_s": one.victim_s, "blocked_s": one.blocked_s}
                if seconds
                else {}
            ),
        }
        frames.append(pd.DataFrame(column))
    return pd.concat(frames[1:] or frames, ignore_index=True)
