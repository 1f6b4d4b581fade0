"""Measured NCCL runs: reading, fitting a latency-bandwidth model, checking it, and what of it the network models take.

>>> import zcube as zc
>>> measured = zc.calibrate.read(["runs.json"])  # doctest: +SKIP
>>> calibration = zc.calibrate.fit(measured)  # doctest: +SKIP
>>> zc.calibrate.check(calibration, zc.calibrate.read(["other-runs.json"])).table()  # doctest: +SKIP

What stands in ``__all__`` is public.
"""

from typing import TYPE_CHECKING

from zcube.lazy import lazy_names

if TYPE_CHECKING:
    from zcube.calibrate.calibration import Calibration, write_calibration
    from zcube.calibrate.calibration import read_calibration as load
    from zcube.calibrate.checking import Check, check, held_out, leave_ranks_out
    from zcube.calibrate.fitting import fit
    from zcube.calibrate.measure.run import measure as run
    from zcube.calibrate.measure.settings import MeasureSettings
    from zcube.calibrate.measurements import Measurements, write_measurements
    from zcube.calibrate.readers.catalog import read_files as read
    from zcube.calibrate.readers.options import ReadOptions

__all__ = [
    "Calibration",
    "Check",
    "MeasureSettings",
    "Measurements",
    "ReadOptions",
    "check",
    "fit",
    "held_out",
    "leave_ranks_out",
    "load",
    "read",
    "run",
    "write_calibration",
    "write_measurements",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Calibration": "zcube.calibrate.calibration:Calibration",
        "Check": "zcube.calibrate.checking:Check",
        "MeasureSettings": "zcube.calibrate.measure.settings:MeasureSettings",
        "Measurements": "zcube.calibrate.measurements:Measurements",
        "ReadOptions": "zcube.calibrate.readers.options:ReadOptions",
        "check": "zcube.calibrate.checking:check",
        "fit": "zcube.calibrate.fitting:fit",
        "held_out": "zcube.calibrate.checking:held_out",
        "leave_ranks_out": "zcube.calibrate.checking:leave_ranks_out",
        "load": "zcube.calibrate.calibration:read_calibration",
        "read": "zcube.calibrate.readers.catalog:read_files",
        "run": "zcube.calibrate.measure.run:measure",
        "write_calibration": "zcube.calibrate.calibration:write_calibration",
        "write_measurements": "zcube.calibrate.measurements:write_measurements",
    },
)
