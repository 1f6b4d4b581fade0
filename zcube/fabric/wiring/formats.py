"""Every wiring format by name: how it is written, how it is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.astra import looks_like_astra, read_astra
from zcube.fabric.wiring.cabling import Wiring
from zcube.fabric.wiring.graphml import graphml_text, read_graphml
from zcube.fabric.wiring.ibdiagnet import ibdiagnet_text, looks_like_ibdiagnet, read_ibdiagnet
from zcube.fabric.wiring.infragraph import looks_like_infragraph, read_infragraph
from zcube.fabric.wiring.infragraph_text import infragraph_text
from zcube.fabric.wiring.link_list import LINK_COLUMNS, LinkList, read_links_csv
from zcube.fabric.wiring.netbox import SIDE_COLUMNS, netbox_csv, read_netbox
from zcube.fabric.wiring.ns3 import ns3_text, read_ns3
from zcube.fabric.wiring.ptm import looks_like_dot, ptm_text, read_ptm
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.reading import read_text
from zcube.fabric.wiring.schedule import DEFAULT_RULE
from zcube.fabric.wiring.simai import read_simai, simai_text
from zcube.fabric.wiring.tables import (
    LLDP_COLUMNS,
    SCHEDULE_ENDS,
    UFM_COLUMNS,
    lldp_csv,
    read_lldp,
    read_schedule,
    read_ufm,
    schedule_csv,
    ufm_csv,
)
from zcube.input_files import csv_header
from zcube.outputs import write_file


@dataclass(frozen=True, slots=True)
class WiringFormat:
    """One format.

    Attributes
    ----------
    description : str
        For help texts.
    suffix : str
        Usual end of a file's name.
    write : callable or None
        Returns a fabric's text; room and optics rule are used by formats that hold lengths and media.
    read_links : callable or None
        Reads a file that describes a whole fabric.
    read_wiring : callable or None
        Reads a file that says which port is joined to which.
    holds_media : bool
        Whether a fabric read back knows which of its cables are copper and which fibre.
    """

    description: str
    suffix: str
    write: Callable[[Fabric, RackLayout, str], str] | None = None
    read_links: Callable[[Path], LinkList] | None = None
    read_wiring: Callable[[Path], Wiring] | None = None
    holds_media: bool = False


FORMATS: Mapping[str, WiringFormat] = MappingProxyType(
    {
        "simai": WiringFormat("SimAI topology", ".txt", lambda fabric, *_: simai_text(fabric), read_links=read_simai),
        "ns3": WiringFormat(
            "ns-3 topology (HPCC, ASTRA-sim)", ".txt", lambda fabric, *_: ns3_text(fabric), read_links=read_ns3
        ),
        "infragraph": WiringFormat(
            "infragraph document", ".json", lambda fabric, *_: infragraph_text(fabric), read_links=read_infragraph
        ),
        "astra": WiringFormat("ASTRA-sim network", ".yml", read_links=read_astra),
        "graphml": WiringFormat(
            "GraphML", ".graphml", lambda fabric, *_: graphml_text(fabric), read_links=read_graphml, holds_media=True
        ),
        "links": WiringFormat(
            "link list as CSV",
            ".csv",
            lambda fabric, *_: LinkList.of(fabric).to_csv(),
            read_links=read_links_csv,
            holds_media=True,
        ),
        "schedule": WiringFormat("cable schedule as CSV", ".csv", schedule_csv, read_wiring=read_schedule),
        "ptm": WiringFormat("PTM topology.dot", ".dot", lambda fabric, *_: ptm_text(fabric), read_wiring=read_ptm),
        "netbox": WiringFormat("NetBox bulk cable import", ".csv", netbox_csv, read_wiring=read_netbox),
        "ufm": WiringFormat("UFM cable validation sheet", ".csv", lambda fabric, *_: ufm_csv(fabric), read_wiring=read_ufm),
        "ibdiagnet": WiringFormat(
            "ibdiagnet topology", ".topo", lambda fabric, *_: ibdiagnet_text(fabric), read_wiring=read_ibdiagnet
        ),
        "lldp": WiringFormat("LLDP neighbours as CSV", ".csv", read_wiring=read_lldp),
    }
)

_HEADERS = {"netbox": SIDE_COLUMNS, "ufm": UFM_COLUMNS, "lldp": LLDP_COLUMNS, "schedule": SCHEDULE_ENDS, "links": LINK_COLUMNS}


def fabric_text(fabric: Fabric, format_name: str, layout: RackLayout, rule: str = DEFAULT_RULE) -> str:
    """Return a fabric in a format; room and optics rule are for schedules.

    Raises
    ------
    InputError
        If there is no such format or the fabric cannot be cabled.
    """
    chosen = FORMATS.get(format_name)
    if chosen is None or chosen.write is None:
        writable = ", ".join(name for name, entry in FORMATS.items() if entry.write)
        raise InputError(Fault("format", repr(format_name), f"one of {writable}"))
    return chosen.write(fabric, layout, rule)


def export_fabric(
    fabric: Fabric, format_name: str, path: Path, layout: RackLayout | None = None, rule: str = DEFAULT_RULE
) -> None:
    """Write a fabric in a format, whole or not at all.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    format_name : str
        A key of :data:`FORMATS`.
    path : Path
        The file; one that is there is replaced.
    layout : RackLayout, optional
        Racks and trays for formats that hold lengths; the default layout if not given.
    rule : str
        Optics rule for formats that hold media, a key of :data:`~zcube.fabric.optics.OPTICS_RULES`.

    Raises
    ------
    InputError
        If there is no such format, or the fabric cannot be cabled.
    OutputError
        If the file cannot be written.
    """
    _write(path, fabric_text(fabric, format_name, layout or RackLayout(), rule))


def write_wiring(wiring: Wiring, path: Path) -> None:
    """Write a wiring as LLDP neighbours in CSV, whole or not at all; :func:`read_wiring` reads it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    _write(path, lldp_csv(wiring))


def _write(path: Path, text: str) -> None:
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def read_wiring(path: Path) -> Wiring:
    """Read a wiring, its format told by content: PTM, NetBox, UFM, LLDP, ibdiagnet or cable schedule.

    Raises
    ------
    InputError
        If the content is none of these; else with every fault and its line.
    """
    read = {name: entry.read_wiring for name, entry in FORMATS.items() if entry.read_wiring}
    return read[_detected(path, tuple(read))](path)


def read_links(path: Path) -> LinkList:
    """Read a whole fabric, its format told by content: SimAI, ns-3, ASTRA-sim, infragraph, GraphML, link list.

    Raises
    ------
    InputError
        If the content is none of these; else with every fault and its line.
    """
    read = {name: entry.read_links for name, entry in FORMATS.items() if entry.read_links}
    return read[_detected(path, tuple(read))](path)


def detect_format(text: str) -> str | None:
    """Return the name of the format a text is in, ``None`` if it is in none."""
    header = csv_header(text)
    by_header = next((name for name, columns in _HEADERS.items() if set(columns) <= set(header)), None)
    if by_header:
        return by_header
    if looks_like_dot(text):
        return "ptm"
    if "<graphml" in text[:4096]:
        return "graphml"
    words = text.partition("\n")[0][:400].split()
    if len(words) >= 6 and all(word.isdigit() for word in words[:5]):
        return "simai"
    if len(words) == 3 and all(word.isdigit() for word in words):
        return "ns3"
    if looks_like_infragraph(text):
        return "infragraph"
    if looks_like_astra(text):
        return "astra"
    return "ibdiagnet" if looks_like_ibdiagnet(text) else None


def _detected(path: Path, readable: tuple[str, ...]) -> str:
    name = detect_format(read_text(path))
    if name is None or name not in readable:
        known = "; ".join(FORMATS[each].description for each in readable)
        raise InputError(Fault(str(path), FORMATS[name].description if name else "an unknown format", f"one of: {known}"))
    return name
