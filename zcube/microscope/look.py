"""The K worst windows of every fabric's run, and the band in which its 99th percentiles lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray
from zcube.comparison import Comparison, FabricResult
from zcube.errors import Fault, FaultList, InputError
from zcube.inputs import Declared, validate
from zcube.microscope.rebuild import Rebuilt, rebuild
from zcube.microscope.sent import Sent
from zcube.microscope.worst import worst_windows
from zcube.progress import Progress, silent
from zcube.quantiles import spread
from zcube.scenario import Scenario
from zcube.serving.attribution import ttft_parts
from zcube.serving.journey import COMPLETED
from zcube.serving.limiting_links import SENDING
from zcube.serving.run import ServingRun
from zcube.serving.transfers import KV

if TYPE_CHECKING:
    import pandas as pd


class Microscope(Declared):
    """What is rebuilt packet by packet; the defaults are this project's choice."""

    windows: int = Field(default=3, ge=1, le=1000, description="of each fabric's run, those with the largest excess")
    window_s: float = Field(default=0.1, ge=1e-6, le=3600, description="length of a window")
    packet_hops: float = Field(
        default=10e6,
        ge=1,
        le=1e12,
        description="most that are simulated of a window; packets are merged into larger cells before it is refused",
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What became of a fabric's windows: the document's part, and a row per window and transfer."""

    document: dict[str, Any]
    transfers: pd.DataFrame


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
    """Return a comparison with the worst windows of each fabric's run under the first seed rebuilt.

    Parameters
    ----------
    comparison : Comparison
        Of runs that :func:`microscope_of` accepts.
    asked : Microscope
        How many windows, how long, how much of each.
    progress : Progress
        Told what is under way.
    """
    seen = {name: _look(name, result, asked, progress) for name, result in comparison.results.items()}
    document = {**asked.model_dump(mode="json"), "fabrics": {name: one.document for name, one in seen.items()}}
    return replace(comparison, microscope=document, rebuilt={name: one.transfers for name, one in seen.items()})


def _look(name: str, result: FabricResult, asked: Microscope, progress: Progress) -> _Seen:
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
    document = {
        "windows": [{"excess_s": float(excess), **one.document} for excess, one in zip(excess_s, windows, strict=True)],
        "why_none": None if windows else "no transfer took longer than it would have alone",
        **_bands(run, windows, carrier.network.fidelity),
    }
    return _Seen(document, _table(run, windows))


def _bands(run: ServingRun, windows: list[Rebuilt], own: str) -> dict[str, Any]:
    """Return P99 of the run's transfers and times to first token as each model has them.

    The run's own is as simulated; of another model every sending is longer by the ratio of the two models' P99 over the
    transfers of all windows that were rebuilt, as if the whole run were like these.
    """
    journeys, window = run.journeys, run.window
    counted = window.holds(run.flows.start_s) & np.isfinite(run.completions.finish_s)
    sending_s = run.completions.sending_s(run.flows.start_s)[counted]
    done = (journeys.outcome == COMPLETED) & window.holds(journeys.arrival_s)
    parts, ttft_s = ttft_parts(run), journeys.ttft_s()[done]
    network_s = np.sum([parts[part][done] for part in SENDING], axis=0) if done.any() else np.zeros(0)
    ratio = _tail_ratios(windows, own)
    return {
        "tail_ratio": ratio,
        "transfer_p99_s": {name: _p99(sending_s * value) for name, value in ratio.items()},
        "ttft_p99_s": {name: _p99(ttft_s + network_s * (value - 1.0)) for name, value in ratio.items()},
    }


def _tail_ratios(windows: list[Rebuilt], own: str) -> dict[str, float]:
    """Return by model the P99 of all rebuilt transfers over that of the run's own model, which is alone if none were."""
    rebuilt = [one.duration_s for one in windows if one.duration_s]
    if not rebuilt:
        return {own: 1.0}
    tails = {name: float(np.quantile(np.concatenate([one[name] for one in rebuilt]), 0.99)) for name in rebuilt[0]}
    return {name: tail_s / tails[own] for name, tail_s in tails.items()}


def _p99(values_s: FloatArray) -> float | None:
    value: float | None = spread(values_s)["p99"]
    return value


def _table(run: ServingRun, windows: list[Rebuilt]) -> pd.DataFrame:
    """Return a row per window and transfer that was rebuilt in it, in the windows' order."""
    import pandas as pd

    columns = ("window", "transfer", "request", "kind", "src", "dst", "start_s", "bytes")
    frames = [pd.DataFrame({name: [] for name in columns})]
    for number, one in enumerate(windows):
        rows, seconds = one.number, one.duration_s
        column: Mapping[str, Any] = {
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
