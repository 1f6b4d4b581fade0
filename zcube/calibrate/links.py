"""Measured links on a fabric: the calibration that a network names, read and applied in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zcube.fabric.model import Fabric
from zcube.network.carrier import Carrier
from zcube.network.settings import Network

if TYPE_CHECKING:
    from zcube.calibrate.apply import AppliedCalibration


def load_calibration(path: Path) -> AppliedCalibration:
    """Read a calibration and take from it what the network models use.

    Raises
    ------
    InputError
        If the file is no calibration, or its rates exceed its line rates.
    """
    # Of no use to a network that nobody measured, and a seventh of what such a run imports.
    from zcube.calibrate.apply import apply_calibration
    from zcube.calibrate.calibration import read_calibration

    return apply_calibration(read_calibration(path))


def carrier_on(fabric: Fabric, network: Network, seed: int = 0) -> Carrier:
    """Make a fabric ready to carry transfers as a network declares, with the links that its calibration measured.

    Raises
    ------
    InputError
        If the calibration cannot be read, or the routing is not one of the fabric's.
    """
    measured = None if network.calibration is None else load_calibration(Path(network.calibration))
    return network.on(fabric, seed, measured)
