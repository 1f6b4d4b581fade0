"""A replay again with rounds of its calibration's bootstrap: runs that do not need each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.apply import AppliedCalibration
from zcube.calibrate.draws import ENDS, bounds_of
from zcube.calibrate.messages import CalibratedMessages
from zcube.network.carrier import Carrier
from zcube.progress import Progress, ShareDone, silent
from zcube.replays.calibration_band import CalibrationBand, figures_of, widened
from zcube.replays.flows import Replay, replay
from zcube.replays.operations import TraceReplay, replay_trace
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide
from zcube.trace.comm_trace import CommTrace
from zcube.workload.flow_lists import FlowList

#: Further runs of a fluid with at most so many transfers. The ends bound sums of times; of single transfers the least and the
#: most of n rounds hold a further one with a probability of (n - 1) / (n + 1).
DRAWS_OF_SHORT, SHORT = 20, 10_000


@dataclass(frozen=True, eq=False)
class ReplayTask:
    """What is carried by what; ``options`` are those of :func:`~zcube.replays.operations.replay_trace`."""

    carrier: Carrier
    carried: FlowList | CommTrace
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, progress: Progress) -> Replay | TraceReplay:
        """Replay it."""
        if isinstance(self.carried, FlowList):
            return replay(self.carrier, self.carried, progress=progress)
        return replay_trace(self.carrier, self.carried, progress=progress, **self.options)


@dataclass(frozen=True, eq=False)
class _Ends:
    """Figures of a replay, how long its transfers took by their place in what was carried, and when operations ended."""

    figures: dict[str, float]
    duration_s: FloatArray
    finish_s: FloatArray


def replay_with_band(
    task: ReplayTask, *, progress: Progress = silent, beside: SideBySide = IN_THIS_PROCESS
) -> Replay | TraceReplay:
    """Replay a task, and again with as many rounds as its network's ``calibration_draws`` says, if it has a calibration.

    Parameters
    ----------
    task : ReplayTask
        What is asked for.
    progress : Progress
        Told what is under way.
    beside : SideBySide
        Does the further runs.

    Raises
    ------
    InputError, RunError
        As the replay alone.
    """
    done = task.run(progress)
    carrier = task.carrier
    if not isinstance(carrier.measured, AppliedCalibration):
        return done
    bounds = bounds_of(carrier.measured, _wanted(done), _messages(done).seconds)
    if not bounds.applied:
        none = np.zeros((2, 0))
        return _with_band(done, CalibrationBand(bounds.document(), {}, none, none))
    own, order = _ends(done), _order(done)
    figures = {key: (value, value) for key, value in own.figures.items()}
    duration_s, finish_s = (np.stack([values, values]) for values in (own.duration_s, own.finish_s))
    total = len(bounds.applied)
    tasks = (replace(task, carrier=Carrier.of(carrier.network, carrier.declared, carrier.seed, one)) for one in bounds.applied)
    for number, ends in enumerate(beside.in_order(_run, tasks, lambda number, share: None)):
        progress("bounding by the calibration", number + 1, total, "runs")
        figures = widened(figures, ends.figures)
        for band, values in ((duration_s, ends.duration_s), (finish_s, ends.finish_s)):
            np.minimum(band[0], values, out=band[0])
            np.maximum(band[1], values, out=band[1])
    return _with_band(done, CalibrationBand(bounds.document(), figures, duration_s[:, order], finish_s))


def _wanted(done: Replay | TraceReplay) -> int:
    transfers = done.transfers if isinstance(done, TraceReplay) else done
    asked = transfers.carrier.network.calibration_draws
    if asked is not None:
        return asked
    return DRAWS_OF_SHORT if transfers.packets is None and len(transfers.flows) <= SHORT else ENDS


def _run(task: ReplayTask, told: ShareDone) -> _Ends:
    return _ends(task.run(silent))


def _ends(done: Replay | TraceReplay) -> _Ends:
    transfers = done.transfers if isinstance(done, TraceReplay) else done
    duration_s = np.empty_like(transfers.duration_s)
    duration_s[_order(done)] = transfers.duration_s
    finish_s = done.times.finish_s if isinstance(done, TraceReplay) else np.zeros(0)
    return _Ends(figures_of(done.document()), duration_s, finish_s)


def _order(done: Replay | TraceReplay) -> IntArray:
    """Return the place of every transfer among what was carried: those of a trace stand in the order of their posting."""
    if isinstance(done, TraceReplay):
        ids = np.asarray(done.transfers.flows.flow_id, dtype=np.int64)
        return np.searchsorted(np.sort(ids), ids)
    return np.arange(len(done.flows))


def _messages(done: Replay | TraceReplay) -> CalibratedMessages:
    if isinstance(done, TraceReplay):
        assert done.messages is not None
        return done.messages
    flows = done.flows
    return CalibratedMessages.of(done.carrier.declared, flows.source, flows.target, flows.size_bytes)


def _with_band(done: Replay | TraceReplay, band: CalibrationBand) -> Replay | TraceReplay:
    if isinstance(done, TraceReplay):
        return replace(done, transfers=replace(done.transfers, band=band))
    return replace(done, band=band)
