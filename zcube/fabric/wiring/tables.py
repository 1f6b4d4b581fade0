"""Wirings as plain tables: neighbours seen by LLDP, NVIDIA UFM's cable validation sheet, and this program's cable schedule."""

from __future__ import annotations

from pathlib import Path

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.cabling import Wiring, build_wiring
from zcube.fabric.wiring.port_names import parse_server
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.reading import Faults, read_rows, read_text, to_csv
from zcube.fabric.wiring.schedule import cable_schedule

LLDP_COLUMNS = ("local_device", "local_port", "remote_device", "remote_port")
UFM_COLUMNS = ("A-Node Name", "A-Type", "A-Port", "Z-Node Name", "Z-Type", "Z-Port")
SCHEDULE_ENDS = ("a_device", "a_port", "z_device", "z_port")


def read_lldp(path: Path) -> Wiring:
    """Read LLDP neighbours as CSV; a cable may be seen from one end or from both.

    Raises
    ------
    InputError
        With every fault and its line, among them ends that contradict each other.
    """
    return _read(path, LLDP_COLUMNS)


def read_ufm(path: Path) -> Wiring:
    """Read a UFM cable validation sheet saved as CSV."""
    return _read(path, (UFM_COLUMNS[0], UFM_COLUMNS[2], UFM_COLUMNS[3], UFM_COLUMNS[5]))


def read_schedule(path: Path) -> Wiring:
    """Read the ends of a cable schedule written by :func:`schedule_csv`."""
    return _read(path, SCHEDULE_ENDS)


def lldp_csv(wiring: Wiring) -> str:
    """Return a wiring as :func:`read_lldp` reads it, every cable from one end."""
    return to_csv(LLDP_COLUMNS, ((*cable.a, *cable.z) for cable in wiring.cables))


def ufm_csv(fabric: Fabric) -> str:
    """Return the planned wiring as a UFM cable validation sheet: CSV, which UFM takes once saved as a workbook."""
    cables = Wiring.of(fabric).cables
    return to_csv(UFM_COLUMNS, ((a.device, _kind(a.device), a.port, z.device, _kind(z.device), z.port) for a, z in cables))


def schedule_csv(fabric: Fabric, layout: RackLayout, rule: str) -> str:
    """Return the cable schedule as CSV."""
    return str(cable_schedule(fabric, layout, rule).to_csv(index=False, lineterminator="\n"))


def _kind(device: str) -> str:
    return "Switch" if parse_server(device) is None else "Host"


def _read(path: Path, columns: tuple[str, ...]) -> Wiring:
    faults = Faults(str(path))
    return build_wiring(read_rows(read_text(path), columns, faults), faults)
