"""What a fit found, as one frozen value, and the file ``calibration.json`` it is kept in."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import FloatArray
from zcube.calibrate.measurements import MAX_FILE_BYTES
from zcube.calibrate.operations import OPERATIONS, PATHS, OperationName, assumed_hosts, wire_factor
from zcube.calibrate.points import LEAST_TIME_S, MAX_RANKS, MAX_SIZE_BYTES, MAX_TIME_S, MOST_GBPS
from zcube.calibrate.regimes import Piece, evaluate
from zcube.calibrate.residuals import interpolated
from zcube.calibrate.scaling import ScalingPiece, at_ranks
from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import Declared, json_document, validate
from zcube.outputs import write_file

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

#: What a byte may take at most: a megabyte a second is slower than any link that is calibrated.
MOST_S_PER_BYTE = 1e-6
#: Rounds of a bootstrap at most.
MOST_DRAWS = 100_000
#: What an empty message may take at most.
MOST_LATENCY_S = 100.0
#: ln(measured / line) may differ from what the file says by this much; beyond it points and lines contradict each other.
RESIDUAL_TOLERANCE = 0.02

NonNegative = Annotated[float, Field(ge=0)]
Latency = Annotated[float, Field(ge=0, le=MOST_LATENCY_S)]
SecondsPerByte = Annotated[float, Field(ge=0, le=MOST_S_PER_BYTE)]
SizeEnd = Annotated[float, Field(gt=0, le=MAX_SIZE_BYTES)]
LineRate = Annotated[float, Field(gt=0, le=MOST_GBPS, description="Gb/s, each direction")]


class Regime(Declared):
    """A range of sizes in which ``time = latency_s + size_bytes * s_per_byte``, with 95 % bootstrap intervals."""

    from_bytes: SizeEnd = Field(description="smallest size that was fitted")
    to_bytes: SizeEnd = Field(description="largest size that was fitted")
    latency_s: Latency = Field(description="fixed time")
    s_per_byte: SecondsPerByte = Field(description="time that each byte adds")
    latency_interval_s: tuple[Latency, Latency] | None = Field(
        default=None, description="95 % of the bootstrap; missing without draws"
    )
    s_per_byte_interval: tuple[SecondsPerByte, SecondsPerByte] | None = Field(
        default=None, description="95 % of the bootstrap; missing without draws"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Regime:
        for interval in (self.latency_interval_s, self.s_per_byte_interval):
            if interval is not None and interval[0] > interval[1]:
                raise ValueError("an interval should not end below where it starts")
        return self

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Size per second at the margin (nccl-tests' algorithm bandwidth); None where time does not grow with size."""
        return 1.0 / self.s_per_byte if self.s_per_byte > 0 else None


class ScalingRegime(Declared):
    """A range of sizes of the model over numbers of ranks (:mod:`zcube.calibrate.scaling`)."""

    from_bytes: SizeEnd = Field(description="smallest size that was fitted")
    to_bytes: SizeEnd = Field(description="largest size that was fitted")
    latency_s: Latency = Field(description="fixed time")
    latency_per_step_s: Latency = Field(description="fixed time of each step of the algorithm")
    s_per_byte: SecondsPerByte = Field(description="time of each byte of size")
    s_per_wire_byte: SecondsPerByte = Field(description="time of each byte on the wire")


class _Fitted(Declared):
    operation: OperationName = Field(description="collective or send-receive")
    path: str = Field(description="what carried the bytes")
    pattern: str = Field(default="", description="between which ranks; empty: the plain operation over all")

    @model_validator(mode="after")
    def _known(self) -> _Fitted:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation should be one of {', '.join(OPERATIONS)}")
        if self.path not in PATHS:
            raise ValueError(f"path should be one of {', '.join(PATHS)}")
        return self


class Curve(_Fitted):
    """Time by size of one operation, number of ranks and path class, and the points it was fitted to."""

    ranks: int = Field(ge=1, le=MAX_RANKS, description="GPUs that took part")
    hosts: int = Field(default=0, ge=0, description="hosts that the ranks ran on, equally many on each; 0: not known")
    dtype: str = Field(default="", description="type of the elements; empty: all that were measured")
    regimes: tuple[Regime, ...] = Field(min_length=1, max_length=64)
    sizes_bytes: tuple[Annotated[int, Field(gt=0, le=MAX_SIZE_BYTES)], ...] = Field(description="of the fitted points")
    times_s: tuple[Annotated[float, Field(ge=LEAST_TIME_S, le=MAX_TIME_S)], ...] = Field(description="measured")
    log_residuals: tuple[Annotated[float, Field(ge=-20, le=20)], ...] = Field(description="ln(measured / line of the regime)")
    residual_weight: float = Field(default=0.0, ge=0, le=1, description="part of its neighbours' residual that a size shares")

    @model_validator(mode="after")
    def _shape(self) -> Curve:
        if self.hosts and self.ranks % self.hosts:
            raise ValueError("hosts should have equally many ranks each")
        if not len(self.sizes_bytes) == len(self.times_s) == len(self.log_residuals) > 0:
            raise ValueError("sizes_bytes, times_s and log_residuals should have one length above zero")
        _check_ends(self.regimes)
        if any(regime.latency_s + regime.s_per_byte <= 0 for regime in self.regimes):
            raise ValueError("a regime should take time")
        off = np.log(np.array(self.times_s) / self.line_s(np.array(self.sizes_bytes))) - np.array(self.log_residuals)
        worst = int(np.argmax(np.abs(off)))
        if abs(off[worst]) > RESIDUAL_TOLERANCE:
            raise ValueError(
                f"times_s, regimes and log_residuals should agree; at {self.sizes_bytes[worst]} bytes the measured time is"
                f" {math.exp(min(off[worst], 700)):.3g} times what the other two give"
            )
        return self

    def predict_s(self, size_bytes: FloatArray) -> FloatArray:
        """Return the time of every size: that of the lines, and the part of the residuals that neighbours share."""
        sizes = np.asarray(size_bytes, dtype=np.float64)
        time_s = self.line_s(sizes)
        if self.residual_weight == 0:
            return time_s
        fitted, residuals = np.array(self.sizes_bytes, dtype=np.float64), np.array(self.log_residuals)
        return time_s * np.exp(self.residual_weight * interpolated(fitted, residuals, sizes))

    def line_s(self, size_bytes: FloatArray) -> FloatArray:
        """Return the time of every size on the lines of the regimes."""
        pieces = [Piece(part.from_bytes, part.to_bytes, part.latency_s, part.s_per_byte) for part in self.regimes]
        return evaluate(pieces, np.asarray(size_bytes, dtype=np.float64))

    @property
    def from_bytes(self) -> float:
        """Smallest size that was fitted."""
        return self.regimes[0].from_bytes

    @property
    def to_bytes(self) -> float:
        """Largest size that was fitted."""
        return self.regimes[-1].to_bytes

    @property
    def bus_bandwidth_bytes_per_s(self) -> float | None:
        """Wire bytes per second of the last regime, what compares with a line rate; None if time does not grow there."""
        bandwidth = self.regimes[-1].bandwidth_bytes_per_s
        return None if bandwidth is None else bandwidth * self.wire_factor

    @property
    def hosts_taken(self) -> int:
        """Hosts that the ranks ran on, assumed where that is not known (:func:`~zcube.calibrate.operations.assumed_hosts`)."""
        return self.hosts or assumed_hosts(self.path, self.ranks)

    @property
    def wire_factor(self) -> float:
        """Bytes on the wire of the busiest rank, or of its NIC where ranks ran on several hosts, per byte of size."""
        return wire_factor(self.operation, self.ranks, self.hosts_taken)


class Scaling(_Fitted):
    """Time by size and number of ranks of one operation and path class."""

    ranks: tuple[int, ...] = Field(min_length=2, description="numbers of ranks it was fitted to")
    ranks_per_host: int = Field(default=0, ge=0, description="where ranks ran on several hosts; 0: on one, or not known")
    regimes: tuple[ScalingRegime, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _shape(self) -> Scaling:
        _check_ends(self.regimes)
        if any(not (one.latency_s or one.latency_per_step_s or one.s_per_byte or one.s_per_wire_byte) for one in self.regimes):
            raise ValueError("a regime should take time")
        return self

    def predict_s(self, ranks: int, size_bytes: FloatArray) -> FloatArray:
        """Return the time of every size for a number of ranks."""
        pieces = [
            ScalingPiece(
                part.from_bytes, part.to_bytes, part.latency_s, part.latency_per_step_s, part.s_per_byte, part.s_per_wire_byte
            )
            for part in self.regimes
        ]
        return evaluate(at_ranks(self.operation, pieces, ranks, self.ranks_per_host), np.asarray(size_bytes, dtype=np.float64))


class ErrorSummary(Declared):
    """How far predictions are from what was measured: relative errors ``|predicted / measured - 1|``."""

    points: int = Field(ge=0, description="how many")
    mape: NonNegative = Field(description="mean")
    median: NonNegative = Field(description="of the errors")
    p90: NonNegative = Field(description="of the errors")


class HeldOut(Declared):
    """Errors on points that were kept out of a second fit."""

    how: str = Field(description="which points were kept out")
    total: ErrorSummary
    by_operation: dict[OperationName, ErrorSummary] = Field(default_factory=dict)


class Provenance(Declared):
    """Which measurements a calibration comes from."""

    hardware: str = Field(default="", description="GPU model and count")
    backend: str = Field(default="", description="library that carried the bytes")
    nccl_version: str = Field(default="", description="its version")
    source: str = Field(default="", description="files of the measurements")
    how: str = Field(default="", description="command lines or source of the figures")
    nic_line_rate_gbps: LineRate | None = Field(default=None, description="line rate of one NIC, each direction")
    nvlink_line_rate_gbps: LineRate | None = Field(default=None, description="NVLink rate of a GPU, each direction")
    data_sha256: str = Field(description="of the measured points, in any order")
    points: int = Field(ge=1, description="how many were fitted")


class Calibration(Declared):
    """Latency-bandwidth parameters of measured operations.

    Curves hold for a number of ranks that was measured; a scaling predicts the numbers between and beyond.
    """

    schema_version: int = Field(default=SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION, description="of the format")
    zcube_calibration: bool = Field(default=True, description="marks the file as one")
    zcube_version: str = Field(default="", description="that fitted")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")
    bootstrap_draws: int = Field(default=0, ge=0, le=MOST_DRAWS, description="its rounds")
    provenance: Provenance
    curves: tuple[Curve, ...] = Field(min_length=1)
    scalings: tuple[Scaling, ...] = ()
    held_out: HeldOut | None = None
    notes: tuple[str, ...] = Field(default=(), description="what was left out or assumed")

    @model_validator(mode="after")
    def _one_of_each(self) -> Calibration:
        curves = Counter((one.operation, one.path, one.pattern, one.ranks, one.hosts, one.dtype) for one in self.curves)
        scalings = Counter((one.operation, one.path, one.pattern, one.ranks_per_host) for one in self.scalings)
        for what, counts in (("curves", curves), ("scalings", scalings)):
            key, count = counts.most_common(1)[0] if counts else ((), 1)
            if count > 1:
                raise ValueError(
                    f"{what} should have one of each kind, found {count} of {' '.join(str(part) for part in key if part)}"
                )
        return self

    def table(self) -> pd.DataFrame:
        """Return one row per curve and range of sizes."""
        import pandas as pd

        names = ("operation", "ranks", "path", "pattern", "dtype")
        return pd.DataFrame(
            {name: getattr(curve, name) for name in names} | regime.model_dump()
            for curve in self.curves
            for regime in curve.regimes
        )

    def curve(
        self, operation: str, ranks: int, path: str, pattern: str = "", dtype: str = "", hosts: int | None = None
    ) -> Curve | None:
        """Return the curve of an operation, that of the type if it has one of its own; None if that was not measured.

        Where ``hosts`` is None, ranks on any number of hosts count.
        """
        key = (operation, ranks, path, pattern)
        found = {
            curve.dtype: curve
            for curve in self.curves
            if (curve.operation, curve.ranks, curve.path, curve.pattern) == key and hosts in (None, curve.hosts)
        }
        return found.get(dtype, found.get(""))

    def scaling(self, operation: str, path: str, pattern: str = "", on_host: int | None = None) -> Scaling | None:
        """Return the model over numbers of ranks, None if fewer than two were measured."""
        key = (operation, path, pattern)
        found = (model for model in self.scalings if (model.operation, model.path, model.pattern) == key)
        return next((model for model in found if on_host in (None, model.ranks_per_host)), None)

    def predict_s(
        self,
        operation: str,
        ranks: int,
        path: str,
        size_bytes: FloatArray,
        pattern: str = "",
        dtype: str = "",
        hosts: int | None = None,
    ) -> FloatArray | None:
        """Return the time of every size, from the curve of that number of ranks, else from the scaling; None without either."""
        on_host = None if hosts is None else ranks_per_host(ranks, hosts)
        curve, scaling = (
            self.curve(operation, ranks, path, pattern, dtype, hosts),
            self.scaling(operation, path, pattern, on_host),
        )
        if curve is not None:
            return curve.predict_s(size_bytes)
        return None if scaling is None or ranks < 2 else scaling.predict_s(ranks, size_bytes)

    def outside(self, operation: str, size_bytes: float, ranks: int, path: str, pattern: str = "") -> tuple[str, ...]:
        """Return in words in what a use lies outside the range that was measured; empty if it lies inside."""
        curves = [curve for curve in self.curves if (curve.operation, curve.path, curve.pattern) == (operation, path, pattern)]
        if not curves:
            return (f"{operation} over {path} was not measured",)
        said = []
        counts = sorted({curve.ranks for curve in curves})
        if ranks not in counts:
            said.append(f"{operation} among {ranks} ranks over {path} was not measured (only among {_listed(counts)})")
        low, high = min(curve.from_bytes for curve in curves), max(curve.to_bytes for curve in curves)
        if not low <= size_bytes <= high:
            said.append(
                f"{operation} of {size_bytes:.4g} bytes over {path} was not measured (only {low:.4g} to {high:.4g} bytes)"
            )
        return tuple(said)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON, whole or not at all."""
    text = json.dumps(calibration.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_calibration(path: str | Path) -> Calibration:
    """Read a file that :func:`write_calibration` wrote.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    path = Path(path)
    document: Any = json_document(path, read_bounded(path, MAX_FILE_BYTES))
    if not isinstance(document, dict) or document.get("zcube_calibration") is not True:
        raise InputError(
            Fault(str(path), "a file without zcube_calibration", "a calibration.json, as zcube calibrate fit writes")
        )
    return validate(Calibration, document, str(path))


def is_calibration(path: Path) -> bool:
    """Return whether a file is one that :func:`write_calibration` wrote."""
    try:
        read_calibration(path)
    except InputError:
        return False
    return True


def ranks_per_host(ranks: int, hosts: int) -> int:
    """Return the ranks on each of several hosts, 0 for one host or where it is not known."""
    return ranks // hosts if hosts > 1 else 0


def _check_ends(regimes: Sequence[Regime | ScalingRegime]) -> None:
    if any(regime.from_bytes > regime.to_bytes for regime in regimes):
        raise ValueError("a regime should not end before it starts")
    if any(first.to_bytes >= second.from_bytes for first, second in pairwise(regimes)):
        raise ValueError("regimes should be ascending and apart")


def _listed(counts: list[int]) -> str:
    return ", ".join(str(count) for count in counts)
