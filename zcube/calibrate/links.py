"""A calibration on a fabric's links: what changes, what a report says of it, and which transfers lie outside it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.apply import NIC_PATHS, NVLINK_PATHS, AppliedCalibration, apply_calibration
from zcube.calibrate.calibration import read_calibration
from zcube.fabric.model import Fabric


def load_calibration(path: Path) -> AppliedCalibration:
    """Read a calibration and take from it what the network models use.

    Raises
    ------
    InputError
        If the file is no calibration, or its rates exceed its line rates.
    """
    return apply_calibration(read_calibration(path))


def calibrated(fabric: Fabric, calibration: AppliedCalibration) -> Fabric:
    """Return the fabric with links as measured; its counts, bill and paths stay.

    The efficiency holds for NICs and links between switches alike: what takes it, headers and the pauses between messages,
    travels the whole way. What a message of its size takes beside its bytes is added once, with the delay of its path.
    """
    return fabric.with_measured_links(
        efficiency=calibration.nic_efficiency,
        nic_start=calibration.nic_start,
        nvlink_gbps=calibration.nvlink_gbps,
        nvlink_start=calibration.nvlink_start,
    )


def outside_range(
    calibration: AppliedCalibration, fabric: Fabric, source: IntArray, target: IntArray, size_bytes: FloatArray
) -> tuple[str, ...]:
    """Return in words which transfers lie outside what was measured, of those paths for which a value was taken.

    The ranks that count are the GPUs that send or receive: over NVLink those of the server with most of them, through NICs all.
    """
    inside = fabric.server_of(source) == fabric.server_of(target)
    measured = {one.path for one in calibration.range}
    said: list[str] = []
    for paths, mask, taken in (
        (NVLINK_PATHS, inside, (calibration.nvlink_gbps, calibration.nvlink_latency_s)),
        (NIC_PATHS, ~inside, (calibration.nic_efficiency, calibration.nic_latency_s)),
    ):
        path = next((path for path in paths if path in measured), None)
        if path is None or taken == (None, None) or not mask.any():
            continue
        gpus = np.unique(np.concatenate([source[mask], target[mask]]))
        ranks = int(np.bincount(fabric.server_of(gpus)).max()) if paths is NVLINK_PATHS else len(gpus)
        said += calibration.outside(path, ranks=ranks)
        for size in (float(size_bytes[mask].min()), float(size_bytes[mask].max())):
            said += [text for text in calibration.outside(path, size_bytes=size) if text not in said]
    return tuple(said)


def calibration_document(calibration: AppliedCalibration, warnings: tuple[str, ...]) -> dict[str, Any]:
    """Return what a result says of the calibration it was made with, JSON-ready."""
    values = ("nic_efficiency", "nic_latency_s", "nvlink_gbps", "nvlink_latency_s")
    return {
        "name": calibration.name,
        "data_sha256": calibration.data_sha256,
        "error_median": calibration.error_median,
        "error_p90": calibration.error_p90,
        "applied": {
            **{name: getattr(calibration, name) for name in values},
            "nic_start": None if calibration.nic_start is None else asdict(calibration.nic_start),
            "nvlink_start": None if calibration.nvlink_start is None else asdict(calibration.nvlink_start),
        },
        "applied_errors": [asdict(one) for one in calibration.applied_errors],
        "range": [{**asdict(one), "ranks": list(one.ranks)} for one in calibration.range],
        "notes": list(calibration.notes),
        "warnings": list(warnings),
    }


def transfers_document(
    calibration: AppliedCalibration, fabric: Fabric, source: IntArray, target: IntArray, size_bytes: FloatArray
) -> dict[str, Any]:
    """Return the document of a calibration for transfers that were carried with it."""
    ends = np.asarray(source), np.asarray(target)
    return calibration_document(calibration, outside_range(calibration, fabric, *ends, np.asarray(size_bytes)))
