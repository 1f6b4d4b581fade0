"""Prefill's collectives over NVLink as a calibration has them, in place of a device's lines and of tables.

An all-reduce, an all-gather and a reduce-scatter of a node are NCCL's. Dispatch and combine of experts are DeepEP's kernels, of
which NCCL's all-to-all says nothing, and decode's small messages go by kernels of their own: these stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import SkipValidation

from zcube.calibrate.apply import NVLINK_PATHS, AppliedCalibration
from zcube.calibrate.calibration import Calibration, Curve, Scaling
from zcube.llm.cards import ModelCard
from zcube.llm.compute import RooflineModel
from zcube.llm.devices import Line
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.node_links import prefill_operations
from zcube.llm.stated_error import StatedError
from zcube.node import GPUS_PER_NODE

#: Which of a node's lines an operation stands for; all count bytes as nccl-tests' size.
LINES = {
    "all-reduce": ("all_reduce",),
    "all-gather": ("gather",),
    "reduce-scatter": ("reduce_scatter",),
}


class CalibratedLine(Line):
    """An operation's time by size as a calibration has it; ``base_us`` and ``gbytes_per_s`` are those of its ends.

    Attributes
    ----------
    fitted : Curve or Scaling
        Of the node's number of GPUs, or of several other numbers.
    """

    # A round of the bootstrap is no longer what its points were fitted to, which a curve is else checked for.
    fitted: SkipValidation[Curve | Scaling]

    def seconds(self, size_bytes: float) -> float:
        """Return the time of ``size_bytes``."""
        size = np.array([max(size_bytes, 1.0)])
        if isinstance(self.fitted, Curve):
            return float(self.fitted.predict_s(size)[0])
        return float(self.fitted.predict_s(GPUS_PER_NODE, size)[0])


def calibrated_compute(
    model: RooflineModel, measured: AppliedCalibration, card: ModelCard, engine: EngineLayout, chunk_tokens: int
) -> RooflineModel:
    """Return a compute model whose prefill takes the collectives of its layout that a calibration has; the same if it has none.

    Parameters
    ----------
    model : RooflineModel
        With the lines of a device or of tables.
    measured : AppliedCalibration
        Its curves over NVLink among the GPUs of a node, else its models over numbers of GPUs, are taken.
    card, engine : ModelCard, EngineLayout
        What is served, and in which layout.
    chunk_tokens : int
        Tokens of a full iteration, whose messages are told to lie outside what was measured.
    """
    calibration = measured.calibration
    lines: dict[str, Line] = {}
    errors: dict[str, StatedError] = {}
    said: list[dict[str, Any]] = []
    for operation in prefill_operations(engine.prefill_layout, engine.prefill_ep_nodes):
        fitted = None if calibration is None else _fitted(calibration, operation)
        if calibration is None or fitted is None:
            continue
        source = f"{operation} over {NVLINK_PATHS[0]} {_among(fitted)}, {measured.name}, data {measured.data_sha256[:12]}"
        line = _line(fitted, operation, source)
        lines |= dict.fromkeys(LINES[operation], line)
        errors[f"prefill_{operation.replace('-', '_')}"] = _error(calibration, operation, fitted, source)
        put_in = chunk_tokens * 2.0 * card.hidden / (GPUS_PER_NODE if operation == "all-gather" else 1)
        warnings = measured.outside_operation(operation, GPUS_PER_NODE, put_in, put_in)
        said.append({"operation": operation, "lines": list(LINES[operation]), "source": source, "warnings": list(warnings)})
    return model.with_prefill_links(lines, errors, tuple(said)) if lines else model


def _fitted(calibration: Calibration, operation: str) -> Curve | Scaling | None:
    path = NVLINK_PATHS[0]
    return calibration.curve(operation, GPUS_PER_NODE, path) or calibration.scaling(operation, path, on_host=0)


def _among(fitted: Curve | Scaling) -> str:
    if isinstance(fitted, Curve):
        return f"among {fitted.ranks} ranks"
    return f"among {GPUS_PER_NODE} ranks, predicted from {', '.join(str(count) for count in fitted.ranks)}"


def _line(fitted: Curve | Scaling, operation: str, source: str) -> CalibratedLine:
    ends = np.array([fitted.regimes[0].from_bytes, fitted.regimes[-1].to_bytes])
    seconds = fitted.predict_s(ends) if isinstance(fitted, Curve) else fitted.predict_s(GPUS_PER_NODE, ends)
    return CalibratedLine(
        base_us=float(seconds[0]) * 1e6,
        gbytes_per_s=float(ends[1] / seconds[1]) * 1e-9,
        source=source,
        fitted=fitted,
    )


def _error(calibration: Calibration, operation: str, fitted: Curve | Scaling, source: str) -> StatedError:
    """Return the error on sizes left out of the fit where it is known, else on the fitted points."""
    known: Mapping[str, Any] = {} if calibration.held_out is None else calibration.held_out.by_operation
    if isinstance(fitted, Curve) and operation in known:
        error = known[operation]
        assert calibration.held_out is not None
        against = f"{calibration.held_out.how}, every number of ranks and path of {operation}; taken: {source}"
        return StatedError(error.median, error.p90, error.mape, error.points, against)
    taken = [
        curve
        for curve in calibration.curves
        if (curve.operation, curve.path, curve.pattern, curve.dtype) == (operation, NVLINK_PATHS[0], "", "")
        and curve.ranks in ((fitted.ranks,) if isinstance(fitted, Curve) else fitted.ranks)
    ]
    found = []
    for curve in taken:
        sizes = np.array(curve.sizes_bytes, dtype=np.float64)
        # A curve that shares its residuals goes through its points; its lines do not.
        seconds = fitted.line_s(sizes) if isinstance(fitted, Curve) else fitted.predict_s(curve.ranks, sizes)
        found.append(np.abs(seconds / np.array(curve.times_s) - 1.0))
    errors = np.concatenate(found)
    median, p90 = np.quantile(errors, (0.5, 0.9))
    return StatedError(float(median), float(p90), float(errors.mean()), len(errors), f"the fitted points themselves: {source}")
