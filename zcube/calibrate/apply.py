"""What the network models take from a calibration: rates and latencies by path class.

A rate is the bus bandwidth of the last regime, the wire bytes per second of long messages, of one operation among as many
ranks as were measured: all-to-all where it was measured, since it is what expert traffic sends. A latency is what the first
regime's line gives for an empty message, of the operation with the fewest messages one after another; it holds for a whole
message, its start included, and is not a delay of each link. What was not measured stays None, and the model keeps its own
value.

One latency and one rate are less than the curves, which have regimes: between short and long messages NCCL is slower than both
say (by a third on NVLink among H200, near 1 MiB). What a message takes beside its bytes is therefore taken by its size: the
curve of the rate less the bytes at that rate. How far what is applied lies from the measured times is told apart from the error
of the curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.calibration import Calibration, Curve
from zcube.calibrate.operations import HOST_PATHS, NIC_PATHS, REDUCING, SEND_RECEIVE, size_of
from zcube.errors import Fault, InputError
from zcube.fabric.measured import MeasuredLinks, MessageStart
from zcube.fabric.model import Fabric

#: Operations whose rate is taken, the first that was measured.
RATE_ORDER = ("all-to-all", "send-receive", "all-gather", "reduce-scatter", "all-reduce", "broadcast")
#: Operations whose latency is taken, the first that was measured.
LATENCY_ORDER = ("send-receive", "all-to-all", "all-gather", "reduce-scatter", "broadcast", "all-reduce")
NVLINK_PATHS = HOST_PATHS[:1]
#: Part by which a measured rate may exceed the stated line rate before that is an error of the line rate.
OVERSHOOT = 0.05
#: Part of a line rate below which a measured rate is more likely in another unit than slow.
LEAST_PART = 0.02
_GBPS = 8e-9


@dataclass(frozen=True)
class MeasuredRange:
    """Where an operation was measured over a path class.

    Attributes
    ----------
    operation, path : str
    ranks : tuple of int
        Numbers of ranks, ascending.
    from_bytes, to_bytes : float
        Smallest and largest size.
    """

    operation: str
    path: str
    ranks: tuple[int, ...]
    from_bytes: float
    to_bytes: float


@dataclass(frozen=True)
class AppliedError:
    """How far ``latency + wire bytes / rate`` lies from what was measured, relative.

    Attributes
    ----------
    path, operation : str
    ranks : int
        The curve that the rate is taken from.
    points : int
    median, p90 : float
    """

    path: str
    operation: str
    ranks: int
    points: int
    median: float
    p90: float


@dataclass(frozen=True, kw_only=True)
class AppliedCalibration(MeasuredLinks):
    """What a run takes from a calibration, and where that comes from; None where nothing was measured.

    A message start is the curve of the rate less its bytes, where both were measured, else the latency for all sizes.

    Attributes
    ----------
    nic_latency_s, nvlink_latency_s : float or None
        Time of an empty message through NICs, over NVLink.
    name : str
        Hardware and library, for the report.
    data_sha256 : str
        Of the measurements.
    error_median, error_p90 : float or None
        Relative errors of the fitted curves on points that were kept out of the fit; None if there were too few.
    range : tuple of MeasuredRange
        Where it holds.
    notes : tuple of str
        Which curve each value comes from, and which values were not measured.
    applied_errors : tuple of AppliedError
        Errors of the values that are applied, of each path whose rate and latency are.
    calibration : Calibration or None
        Where whole operations among the GPUs of a server are taken from.
    """

    nic_latency_s: float | None
    nvlink_latency_s: float | None
    name: str
    data_sha256: str
    error_median: float | None
    error_p90: float | None
    range: tuple[MeasuredRange, ...]
    notes: tuple[str, ...]
    applied_errors: tuple[AppliedError, ...] = ()
    calibration: Calibration | None = field(default=None, repr=False, compare=False)

    def operation_s(self, operation: str, ranks: int, size_bytes: FloatArray, hosts: int = 1) -> FloatArray | None:
        """Return the times of an operation over NVLink, or over hosts through NICs, by the bytes that a rank puts in.

        They are those of its curve, else of the model over numbers of ranks; None without either.
        """
        found = self._of_operation(operation, ranks, hosts)
        if found is None or self.calibration is None:
            return None
        path, known_hosts = found
        return self.calibration.predict_s(operation, ranks, path, size_of(operation, ranks, size_bytes), hosts=known_hosts)

    def outside_operation(
        self, operation: str, ranks: int, from_bytes: float, to_bytes: float, hosts: int = 1
    ) -> tuple[str, ...]:
        """Return in words in what such operations lie outside what was measured, by the bytes that a rank puts in."""
        found = self._of_operation(operation, ranks, hosts)
        if found is None or self.calibration is None:
            return ()
        sizes = size_of(operation, ranks, np.array([from_bytes, to_bytes])).tolist()
        said = (self.calibration.outside(operation, size, ranks, found[0]) for size in sizes)
        return tuple(dict.fromkeys(text for texts in said for text in texts))

    def _of_operation(self, operation: str, ranks: int, hosts: int) -> tuple[str, int | None] | None:
        """Return the path class of an operation and the hosts by which it is known there, None if it is not."""
        if self.calibration is None:
            return None
        if hosts == 1:
            known: list[tuple[str, int | None]] = [(NVLINK_PATHS[0], None)]
        else:
            # Where hosts are not recorded, each rank counts as on its own.
            known = [(path, count) for path in NIC_PATHS for count in (hosts, *((0,) if ranks == hosts else ()))]
        one_byte = np.ones(1)
        for path, count in known:
            if self.calibration.predict_s(operation, ranks, path, one_byte, hosts=count) is not None:
                return path, count
        return None

    def outside(
        self, path: str, *, operation: str | None = None, size_bytes: float | None = None, ranks: int | None = None
    ) -> tuple[str, ...]:
        """Return in words in what a use lies outside what was measured; empty if it lies inside or is not stated."""
        ranges = [one for one in self.range if one.path == path and operation in (None, one.operation)]
        if not ranges:
            return (f"{operation or 'communication'} over {path} was not measured by the calibration",)
        said = []
        least, most = min(one.ranks[0] for one in ranges), max(one.ranks[-1] for one in ranges)
        low, high = min(one.from_bytes for one in ranges), max(one.to_bytes for one in ranges)
        if ranks is not None and not least <= ranks <= most:
            held = f"{least} to {most}" if least < most else str(least)
            said.append(f"{ranks} ranks over {path}: the calibration holds for {held}")
        if size_bytes is not None and not low <= size_bytes <= high:
            said.append(
                f"messages of {size_bytes:.4g} bytes over {path}: the calibration holds for {low:.4g} to {high:.4g} bytes"
            )
        return tuple(said)

    def outside_transfers(self, fabric: Fabric, source: IntArray, target: IntArray, size_bytes: FloatArray) -> tuple[str, ...]:
        """Return in words which transfers lie outside what was measured, of those paths for which a value was taken.

        The ranks that count are the GPUs that send or receive: over NVLink those of the server with most of them, through NICs
        all.
        """
        inside = fabric.server_of(source) == fabric.server_of(target)
        measured = {one.path for one in self.range}
        said: list[str] = []
        for paths, mask, taken in (
            (NVLINK_PATHS, inside, (self.nvlink_gbps, self.nvlink_latency_s)),
            (NIC_PATHS, ~inside, (self.nic_efficiency, self.nic_latency_s)),
        ):
            path = next((path for path in paths if path in measured), None)
            if path is None or taken == (None, None) or not mask.any():
                continue
            gpus = np.unique(np.concatenate([source[mask], target[mask]]))
            ranks = int(np.bincount(fabric.server_of(gpus)).max()) if paths is NVLINK_PATHS else len(gpus)
            said += self.outside(path, ranks=ranks)
            for size in (float(size_bytes[mask].min()), float(size_bytes[mask].max())):
                said += [text for text in self.outside(path, size_bytes=size) if text not in said]
        return tuple(said)

    def document(self, fabric: Fabric, source: IntArray, target: IntArray, size_bytes: FloatArray) -> dict[str, Any]:
        """Return what a result says of the calibration that carried its transfers, JSON-ready."""
        applied = super().document(fabric, source, target, size_bytes)["applied"]
        return {
            "name": self.name,
            "data_sha256": self.data_sha256,
            "error_median": self.error_median,
            "error_p90": self.error_p90,
            "applied": {**applied, "nic_latency_s": self.nic_latency_s, "nvlink_latency_s": self.nvlink_latency_s},
            "applied_errors": [asdict(one) for one in self.applied_errors],
            "range": [{**asdict(one), "ranks": list(one.ranks)} for one in self.range],
            "notes": list(self.notes),
            "warnings": list(self.outside_transfers(fabric, source, target, size_bytes)),
        }


def apply_calibration(
    calibration: Calibration,
    *,
    nic_line_rate_gbps: float | None = None,
    nic_paths: Sequence[str] = NIC_PATHS,
    operation: str | None = None,
    faster_than_line: bool = False,
) -> AppliedCalibration:
    """Return what the network models take.

    Parameters
    ----------
    calibration : Calibration
    nic_line_rate_gbps : float, optional
        Line rate of the measured NIC, each direction; default: what the measurements recorded. Without it there is no
        efficiency.
    nic_paths : sequence of str
        Path classes that stand for NICs, the best first.
    operation : str, optional
        Take rates and latencies from this operation only.
    faster_than_line : bool
        Take a rate above the line rate for the line rate, as that of a round of the bootstrap may be.

    Raises
    ------
    InputError
        If the measured rate is above the line rate, unless that may be.
    """
    notes: list[str] = []
    line_rate = nic_line_rate_gbps or calibration.provenance.nic_line_rate_gbps
    nic_gbps = _rate(calibration, nic_paths, operation, "NIC efficiency", notes)
    efficiency = None
    if nic_gbps is not None and line_rate is None:
        notes.append("NIC efficiency: the NIC's line rate is not known; the model's own value stays")
    elif nic_gbps is not None and line_rate is not None:
        _check_line("NIC", nic_gbps, line_rate, faster_than_line, notes)
        efficiency = min(1.0, nic_gbps / line_rate)
    nic_latency_s = _latency(calibration, nic_paths, operation, "NIC latency", notes)
    nvlink_gbps = _rate(calibration, NVLINK_PATHS, operation, "NVLink rate", notes)
    if nvlink_gbps is not None and (nvlink_line := calibration.provenance.nvlink_line_rate_gbps) is not None:
        curve = _chosen(calibration, NVLINK_PATHS, (operation,) if operation else RATE_ORDER, most_ranks=True)
        # Where switches reduce, fewer bytes go than the formula of the bus bandwidth counts.
        reduces = curve is not None and curve.operation in REDUCING
        _check_line("NVLink", nvlink_gbps, nvlink_line, faster_than_line or reduces, notes)
        nvlink_gbps = nvlink_gbps if reduces else min(nvlink_gbps, nvlink_line)
    nvlink_latency_s = _latency(calibration, NVLINK_PATHS, operation, "NVLink latency", notes)
    nic_start = _start(calibration, nic_paths, operation, nic_gbps if efficiency else None, nic_latency_s)
    nvlink_start = _start(calibration, NVLINK_PATHS, operation, nvlink_gbps, nvlink_latency_s)
    errors = (
        _applied_error(calibration, nic_paths, operation, nic_gbps if efficiency else None, nic_start, notes),
        _applied_error(calibration, NVLINK_PATHS, operation, nvlink_gbps, nvlink_start, notes),
    )
    _note_sends(calibration, nic_paths, operation, nic_gbps if efficiency else None, nic_start, notes)
    _note_sends(calibration, NVLINK_PATHS, operation, nvlink_gbps, nvlink_start, notes)
    held_out = calibration.held_out
    provenance = calibration.provenance
    return AppliedCalibration(
        nic_efficiency=efficiency,
        nic_latency_s=nic_latency_s,
        nic_start=nic_start,
        nvlink_gbps=nvlink_gbps,
        nvlink_latency_s=nvlink_latency_s,
        nvlink_start=nvlink_start,
        name=", ".join(filter(None, (provenance.hardware, f"{provenance.backend} {provenance.nccl_version}".strip()))),
        data_sha256=provenance.data_sha256,
        error_median=None if held_out is None else held_out.total.median,
        error_p90=None if held_out is None else held_out.total.p90,
        range=_ranges(calibration),
        notes=tuple(notes),
        applied_errors=tuple(error for error in errors if error is not None),
        calibration=calibration,
    )


def _check_line(what: str, gbps: float, line_rate_gbps: float, may_be_faster: bool, notes: list[str]) -> None:
    """Refuse a measured rate above the line rate, and note one that is far below it."""
    if gbps > line_rate_gbps * (1 + OVERSHOOT) and not may_be_faster:
        expected = f"at least the {gbps:.4g} Gb/s that were measured"
        raise InputError(Fault(f"calibration: {what} line rate", f"{line_rate_gbps:g} Gb/s", expected))
    if gbps < LEAST_PART * line_rate_gbps:
        part = gbps / line_rate_gbps
        notes.append(f"{what} rate: {part:.2%} of the line rate, {line_rate_gbps:.4g} Gb/s; are times and sizes in one unit?")


def _rate(calibration: Calibration, paths: Sequence[str], operation: str | None, what: str, notes: list[str]) -> float | None:
    """Return Gb/s on the wire of the curve that stands for a path, and say which that is."""
    curve = _chosen(calibration, paths, (operation,) if operation else RATE_ORDER, most_ranks=True)
    bandwidth = None if curve is None else curve.bus_bandwidth_bytes_per_s
    if curve is None or bandwidth is None:
        why = "not measured" if curve is None else "the largest messages measured are not limited by bandwidth"
        notes.append(f"{what}: {why}; the model's own value stays")
        return None
    if curve.path in NIC_PATHS and not curve.hosts:
        notes.append(f"{what}: the measurements do not say how many hosts; each rank counts as on its own")
    notes.append(f"{what}: {bandwidth * _GBPS:.4g} Gb/s, {_named(curve)} from {curve.regimes[-1].from_bytes:.4g} bytes up")
    return bandwidth * _GBPS


def _latency(
    calibration: Calibration, paths: Sequence[str], operation: str | None, what: str, notes: list[str]
) -> float | None:
    curve = _chosen(calibration, paths, (operation,) if operation else LATENCY_ORDER, most_ranks=False)
    if curve is None:
        notes.append(f"{what}: not measured; the model's own value stays")
        return None
    latency_s = curve.regimes[0].latency_s
    notes.append(f"{what}: {latency_s * 1e6:.4g} us, {_named(curve)} up to {curve.regimes[0].to_bytes:.4g} bytes")
    return latency_s


def _start(
    calibration: Calibration,
    paths: Sequence[str],
    operation: str | None,
    rate_gbps: float | None,
    latency_s: float | None,
) -> MessageStart | None:
    """Return what a message takes beside its bytes: the curve of the rate less its bytes on the wire, never below 0."""
    curve = _chosen(calibration, paths, (operation,) if operation else RATE_ORDER, most_ranks=True)
    if curve is None or rate_gbps is None:
        return None if latency_s is None else MessageStart((1.0,), (latency_s,))
    sizes = np.unique(np.array(curve.sizes_bytes, dtype=np.float64))
    wire_bytes = sizes * curve.wire_factor
    start_s = np.maximum(curve.predict_s(sizes) - wire_bytes * _GBPS / rate_gbps, 0.0)
    return MessageStart(tuple((wire_bytes / _messages(curve)).tolist()), tuple(start_s.tolist()))


def _messages(curve: Curve) -> int:
    """Return into how many messages the bytes on a wire are cut: an all-to-all sends one to each of those it leads to."""
    if curve.operation != "all-to-all":
        return 1
    hosts = curve.hosts_taken
    return curve.ranks - (curve.ranks // hosts if hosts > 1 else 1)


def _applied_error(
    calibration: Calibration,
    paths: Sequence[str],
    operation: str | None,
    rate_gbps: float | None,
    start: MessageStart | None,
    notes: list[str],
) -> AppliedError | None:
    """Return how far rate and start lie from the times of the curve that the rate is taken from, and say it."""
    curve = _chosen(calibration, paths, (operation,) if operation else RATE_ORDER, most_ranks=True)
    if curve is None or rate_gbps is None or start is None:
        return None
    wire_bytes = np.array(curve.sizes_bytes, dtype=np.float64) * curve.wire_factor
    applied_s = start.of(wire_bytes / _messages(curve)) + wire_bytes * _GBPS / rate_gbps
    error = np.abs(applied_s / np.array(curve.times_s) - 1.0)
    median, p90 = (float(value) for value in np.quantile(error, (0.5, 0.9)))
    notes.append(f"as applied, one rate and a start by size: median {median:.1%}, P90 {p90:.1%} off {_named(curve)}")
    return AppliedError(curve.path, curve.operation, curve.ranks, len(error), median, p90)


def _note_sends(
    calibration: Calibration,
    paths: Sequence[str],
    operation: str | None,
    rate_gbps: float | None,
    start: MessageStart | None,
    notes: list[str],
) -> None:
    """Say how far a single transfer lies from sends that were measured, where it takes another operation's curve.

    A recording does not tell whether a send had its peer's beside it, so that none of the patterns is taken.
    """
    taken = _chosen(calibration, paths, (operation,) if operation else RATE_ORDER, most_ranks=True)
    if taken is None or rate_gbps is None or start is None or taken.operation == SEND_RECEIVE:
        return
    sends = [one for one in calibration.curves if one.operation == SEND_RECEIVE and one.path == taken.path and not one.dtype]
    said = []
    for curve in sorted(sends, key=lambda one: (one.pattern, one.ranks, one.hosts)):
        size = np.array(curve.sizes_bytes, dtype=np.float64)
        off = (start.of(size) + size * _GBPS / rate_gbps) / np.array(curve.times_s) - 1.0
        said.append(f"{off.min():+.0%} to {off.max():+.0%} against {curve.pattern or 'a ring'} of {curve.ranks}")
    if said:
        notes.append(f"a single transfer is timed as {_named(taken)}: {', '.join(said)}")


def _chosen(calibration: Calibration, paths: Sequence[str], order: Sequence[str], most_ranks: bool) -> Curve | None:
    """Return the curve that stands for a path class: path first, then operation, then the number of ranks."""
    plain = [curve for curve in calibration.curves if not curve.pattern and not curve.dtype and curve.ranks > 1]
    for path in paths:
        for operation in order:
            found = [curve for curve in plain if curve.path == path and curve.operation == operation]
            if found:
                return sorted(found, key=lambda curve: (curve.ranks, curve.hosts))[-1 if most_ranks else 0]
    return None


def _named(curve: Curve) -> str:
    hosts = f" on {curve.hosts} hosts" if curve.hosts > 1 else ""
    return f"{curve.operation} among {curve.ranks} ranks{hosts} over {curve.path}"


def _ranges(calibration: Calibration) -> tuple[MeasuredRange, ...]:
    found = []
    for operation, path in sorted({(curve.operation, curve.path) for curve in calibration.curves if not curve.pattern}):
        curves = [one for one in calibration.curves if (one.operation, one.path, one.pattern) == (operation, path, "")]
        ranks = tuple(sorted({one.ranks for one in curves}))
        low, high = min(one.from_bytes for one in curves), max(one.to_bytes for one in curves)
        found.append(MeasuredRange(operation, path, ranks, low, high))
    return tuple(found)
