"""A communication trace run over one fabric: transfers contend on its links, and what waits for them starts later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.messages import CalibratedMessages
from zcube.errors import Fault, InputError
from zcube.network.carrier import Carrier
from zcube.network.dependent_run import OperationTimes, run_operations
from zcube.network.protocol import FlowTable
from zcube.progress import Progress, silent
from zcube.replays.as_measured import as_measured
from zcube.replays.flows import Replay, outcome
from zcube.replays.gpus import gpus_of_ranks
from zcube.replays.recorded_times import RecordedTime, compared_times, simulated_times, times_document
from zcube.trace.collectives import expanded
from zcube.trace.comm_trace import NONE, CommTrace, Kind
from zcube.trace.recorded import recorded_otherwise
from zcube.trace.unloaded import scheduled_times
from zcube.workload.flow_lists import FlowList

if TYPE_CHECKING:
    import pandas as pd

#: Name of operations without a phase.
NO_PHASE = "none"


@dataclass(frozen=True, eq=False)
class TraceReplay:
    """A trace and when its operations ran; times count from the trace's own 0.

    Attributes
    ----------
    transfers : Replay
        The transfers in the order in which they were posted; a transfer's id is its row in ``trace``.
    trace : CommTrace
        The operations, collectives expanded.
    gpu_of_rank : int array [ranks]
        Where each rank ran.
    times : OperationTimes
        When each operation started and ended.
    free_finish_s : float array [operations]
        When each would have ended if transfers took no time.
    as_measured : tuple of dict
        Which collectives took the time that a calibration has for the whole, JSON-ready.
    recorded : tuple of RecordedTime
        Recorded durations of its operations beside simulated ones.
    messages : CalibratedMessages or None
        What of it a calibration times, if there is one.
    """

    transfers: Replay
    trace: CommTrace
    gpu_of_rank: IntArray
    times: OperationTimes
    free_finish_s: FloatArray
    as_measured: tuple[dict[str, Any], ...] = ()
    recorded: tuple[RecordedTime, ...] = ()
    messages: CalibratedMessages | None = None

    def document(self) -> dict[str, Any]:
        """Return the summary, JSON-ready; docs/traces.md defines every key."""
        finish_s = float(self.times.finish_s.max(initial=0.0))
        free_s = float(self.free_finish_s.max(initial=0.0))
        computes = self.trace.rows(Kind.COMPUTE)
        return {
            **self.transfers.document(),
            "trace": {
                "operations": len(self.trace),
                "ranks": self.trace.ranks,
                "completion_s": finish_s,
                "completion_without_network_s": free_s,
                "waiting_for_network_s": finish_s - free_s,
                "compute_s": float(self.trace.duration_s[computes].sum()),
                "phases": self._phases(),
                "operations_by_name": self._names(),
                "rails": self._rails(),
                "metadata": dict(self.trace.metadata),
                "recorded_otherwise": self.recorded_otherwise(),
                "as_measured": list(self.as_measured),
                "against_recording": times_document(self.recorded) if self.recorded else None,
            },
        }

    def table(self) -> pd.DataFrame:
        """Return the per-operation table."""
        import pandas as pd

        return pd.DataFrame(self.operation_columns())

    def links(self) -> pd.DataFrame:
        """Return what every directed link carried, with its utilisation over the makespan of the transfers."""
        return self.transfers.links()

    def recorded_otherwise(self) -> list[dict[str, Any]]:
        """Return where fabric or network differ from the run that the trace was recorded from, if it was."""
        carrier = self.transfers.carrier
        return recorded_otherwise(self.trace.metadata, carrier.fabric.name, carrier.recorded())

    def operation_columns(self) -> dict[str, np.ndarray]:
        """Return the per-operation table as columns."""
        trace = self.trace
        names, phases = np.array(trace.names, dtype=object), np.array([*trace.phases, ""], dtype=object)
        gpu = np.append(self.gpu_of_rank, NONE)
        return {
            "operation": np.arange(len(trace)),
            "kind": np.array([kind.name.lower() for kind in Kind], dtype=object)[trace.kind],
            "name": names[trace.name],
            "phase": phases[trace.phase],
            "layer": trace.layer,
            "source_rank": trace.source,
            "target_rank": trace.target,
            "source_gpu": gpu[trace.source],
            "target_gpu": gpu[trace.target],
            "bytes": trace.size_bytes,
            "start_s": self.times.start_s,
            "finish_s": self.times.finish_s,
            **(band.columns(band.finish_s, "finish_s") if (band := self.transfers.band) else {}),
        }

    def _phases(self) -> list[dict[str, Any]]:
        phase = np.where(self.trace.phase == NONE, len(self.trace.phases), self.trace.phase)
        return self._grouped("phase", phase, (*self.trace.phases, NO_PHASE))

    def _names(self) -> list[dict[str, Any]]:
        return self._grouped("operation", self.trace.name, self.trace.names)

    def _grouped(self, key: str, code: IntArray, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return when the operations of each name ran, and their bytes."""
        rows = []
        for number in np.unique(code).tolist():
            member = code == number
            start, finish = self.times.start_s[member], self.times.finish_s[member]
            rows.append(
                {
                    key: names[number],
                    "operations": int(member.sum()),
                    "bytes": int(self.trace.size_bytes[member].sum()),
                    "first_start_s": float(start.min()),
                    "last_finish_s": float(finish.max()),
                    "mean_duration_s": float((finish - start).mean()),
                }
            )
        return rows

    def _rails(self) -> list[dict[str, Any]]:
        """Return what the NICs and NVLinks of every rail carried; a GPU's rail is its number in its server."""
        links, fabric = self.transfers.link_table, self.transfers.carrier.fabric
        number = {name: gpu for gpu, name in enumerate(fabric.node_names[: fabric.gpus])}
        rail = np.array(
            [number.get(a, number.get(b, NONE)) for a, b in zip(links.source, links.target, strict=True)]
        ) % fabric.gpus_per_server  # fmt: skip
        nvlink = np.array(links.kind) == "nvlink"
        rows = []
        for place in range(fabric.gpus_per_server):
            here = rail == place
            sums = {
                f"{kind}_{way}_bytes": float(links.size_bytes[here & ends & (nvlink == (kind == "nvlink"))].sum())
                for kind in ("nic", "nvlink")
                for way, ends in (("sent", links.leaves_gpu), ("received", links.enters_gpu))
            }
            rows.append({"rail": place, **sums})
        return rows


def replay_trace(
    carrier: Carrier,
    trace: CommTrace,
    *,
    collectives: Mapping[str, str] | None = None,
    first_server: int = 0,
    server_stride: int = 1,
    against: CommTrace | None = None,
    progress: Progress = silent,
) -> TraceReplay:
    """Run a trace to its end.

    Parameters
    ----------
    carrier : Carrier
        What carries its transfers.
    trace : CommTrace
        With or without collectives.
    collectives : mapping, optional
        Algorithm by collective, see :mod:`zcube.trace.collectives`.
    first_server, server_stride : int
        Where the trace's nodes lie, see :func:`~zcube.replays.gpus.gpus_of_ranks`.
    against : CommTrace, optional
        The same job with recorded durations, which simulated ones are held against; default: the trace's own, if it has any.
    progress : Progress
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        If the trace has no transfer or does not fit on the fabric, a collective or algorithm is not known, a pair has no path,
        ``against`` shares no operation with the trace,
        or the run would not fit in memory; before it starts.
    """
    gpu = gpus_of_ranks(carrier.fabric, trace, first_server, server_stride)
    given, links = trace, carrier.measured
    if against is not None and not compared_times(against, given, np.ones(len(given))):
        expected = "recorded durations of one at least that the trace replayed has too, by name, ranks and bytes"
        raise InputError(Fault(f"--against {against.source_name}", "no operation to compare", expected))

    @cache
    def measured(name: str, ranks: int, nodes: int) -> bool:
        return links is not None and links.operation_s(name, ranks, np.ones(1), nodes) is not None

    parts = expanded(trace, collectives, memory_gb=carrier.network.memory_gb, measured=measured)
    taken = as_measured(given, parts, links, carrier.fabric)
    trace = taken.trace
    # Expansion numbers the operations anew.
    word = f"{trace.source_name}: {'operation' if parts.trace is given else 'expanded operation'}"
    rows = trace.rows(Kind.TRANSFER)
    if not len(rows):
        raise InputError(Fault(trace.source_name, "no transfer", "at least one; there is nothing for a network to carry"))
    ends = gpu[trace.source[rows]], gpu[trace.target[rows]]
    size_bytes = trace.size_bytes[rows].astype(np.float64)
    asked = FlowTable(*ends, size_bytes, np.zeros(len(rows)), message_start_s=taken.message_start_s)
    routes, alone_s = carrier.route(asked, lambda places: [f"{word} {rows[place]}" for place in places], progress)
    model = carrier.model()
    carrier.watch_load(model, float(alone_s.max()))
    progress("simulating", 0, len(trace), "operations")

    def told(done: int, total: int) -> None:
        progress("simulating", done, total, "operations")

    times = run_operations(model, trace, routes, gpu, told, taken.message_start_s)
    order = np.searchsorted(rows, times.sent)
    flows = FlowList(times.sent, ends[0][order], ends[1][order], size_bytes[order], times.start_s[times.sent])
    carried = outcome(carrier, model, flows, flows.start_s, alone_s[order], 0.0)
    _, free_s = scheduled_times(trace, np.where(trace.kind == Kind.COMPUTE, trace.duration_s, 0.0))
    recorded = compared_times(against or given, given, simulated_times(given, trace, parts.row_before, times))
    apart = taken.timed_apart
    messages = CalibratedMessages.of(carrier.declared, ends[0][apart], ends[1][apart], size_bytes[apart], taken.operations)
    return TraceReplay(carried, trace, gpu, times, free_s, taken.document, recorded, messages)
