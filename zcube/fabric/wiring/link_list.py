"""A whole fabric as a plain list of links: what the files that describe one are read into.

GPUs are named ``s3g5`` (server 3, GPU 5), NVSwitches ``s3nvswitch``; every other name is a switch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import LEAST_GBPS
from zcube.fabric.wiring.reading import MAX_ROWS, Faults, read_rows, read_text, to_csv

LINK_COLUMNS = ("a", "a_port", "b", "b_port", "gbps", "latency_s")
#: A column that may be there.
MEDIUM_COLUMN = "medium"
MEDIA = {medium.name.lower(): medium for medium in CableMedium}
#: A port that the file does not name, and a medium that it does not state.
NO_PORT = NO_MEDIUM = -1
MAX_GBPS = 1e6
MAX_PORT = 1 << 20

# Letters first, so that no spreadsheet takes a name for a formula and no file format needs it escaped.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_GPU = re.compile(r"s(\d{1,7})g(\d{1,3})", re.ASCII)
_NVSWITCH = re.compile(r"s(\d{1,7})nvswitch(\d{0,3})", re.ASCII)
_PORT = re.compile(r"\d{0,7}", re.ASCII)
# Python reads underscores and the digits of every script as well, which no other program does.
_DECIMAL = re.compile(r"[+-]?(\d{1,400}\.?\d{0,400}|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)


class NodeRole(IntEnum):
    """What a node is, by its name."""

    GPU = 0
    SWITCH = 1
    NVSWITCH = 2


@dataclass(frozen=True, eq=False)
class LinkList:
    """Nodes and full-duplex links.

    Attributes
    ----------
    names : tuple of str
        GPUs by server and GPU, then switches, then NVSwitches: the order of a fabric's nodes.
    roles : int array [nodes]
        :class:`NodeRole`.
    a, b : int array [links]
        Node at each end.
    a_port, b_port : int array [links]
        Port at each end, from 0, counted at the link's rate; :data:`NO_PORT` where the file does not say.
    gbps : float array [links]
        Rate of each direction, Gb/s.
    latency_s : float array [links]
        One-way delay, seconds.
    medium : int array [links]
        :class:`~zcube.fabric.model.CableMedium`; :data:`NO_MEDIUM` where the file does not say.
    """

    names: tuple[str, ...]
    roles: IntArray
    a: IntArray
    b: IntArray
    a_port: IntArray
    b_port: IntArray
    gbps: FloatArray
    latency_s: FloatArray
    medium: IntArray

    def __len__(self) -> int:
        return len(self.a)

    @property
    def gpus(self) -> int:
        """GPUs."""
        return int((self.roles == NodeRole.GPU).sum())

    @property
    def gpus_per_server(self) -> int:
        """GPUs of the largest server, 0 without GPUs."""
        servers = [int(match[1]) for match in map(_GPU.fullmatch, self.names[: self.gpus]) if match]
        return max(Counter(servers).values(), default=0)

    @staticmethod
    def of(fabric: Fabric) -> LinkList:
        """Return a fabric's links, NVLink included, in cable order; node numbers are the fabric's."""
        cables = fabric.cables
        counts = (fabric.gpus, fabric.switches, fabric.servers)
        return LinkList(
            names=fabric.node_names,
            roles=np.repeat([NodeRole.GPU, NodeRole.SWITCH, NodeRole.NVSWITCH], counts),
            a=cables.a,
            b=cables.b,
            a_port=cables.a_port,
            b_port=cables.b_port,
            gbps=cables.gbps,
            latency_s=cables.latency_s,
            medium=cables.medium,
        )

    def to_csv(self) -> str:
        """Return the links as CSV (:data:`LINK_COLUMNS`); numbers are written so that they read back exactly."""
        ports = [["" if port == NO_PORT else port for port in side.tolist()] for side in (self.a_port, self.b_port)]
        a, b = ([self.names[node] for node in side.tolist()] for side in (self.a, self.b))
        columns = (a, ports[0], b, ports[1], self.gbps.tolist(), self.latency_s.tolist(), self.medium_names())
        return to_csv((*LINK_COLUMNS, MEDIUM_COLUMN), zip(*columns))

    def medium_names(self) -> list[str]:
        """Return each link's medium, ``copper`` or ``fibre``, empty where it is not stated."""
        names = {medium: name for name, medium in MEDIA.items()}
        return [names.get(medium, "") for medium in self.medium.tolist()]


def role_of(name: str) -> NodeRole:
    """Return what a node of this name is."""
    if _GPU.fullmatch(name):
        return NodeRole.GPU
    return NodeRole.NVSWITCH if _NVSWITCH.fullmatch(name) else NodeRole.SWITCH


@dataclass(frozen=True, slots=True)
class RawLink:
    """One link as a file states it: all text, with the place it stands for faults."""

    place: int | str
    a: str
    a_port: str
    b: str
    b_port: str
    gbps: str
    latency_s: str
    medium: str = ""


def build_link_list(rows: Iterable[RawLink], faults: Faults, names: Iterable[str] = ()) -> LinkList:
    """Check links and number their nodes.

    Parameters
    ----------
    rows : iterable of RawLink
        The links.
    faults : Faults
        Where faults are noted.
    names : iterable of str
        Nodes listed ahead of the links: switches keep this order, the others follow as links name them.

    Raises
    ------
    InputError
        With every name, port or number that is wrong, every link from a node to itself, and every port used twice.
    """
    nodes: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        _node(name, nodes, f"node {number}", faults)
    ends: list[tuple[int, int, int, int]] = []
    numbers: list[tuple[float, float]] = []
    media: list[int] = []
    taken: dict[tuple[int, int, bool, float], int | str] = {}
    for row in rows:
        a, b = (_node(name, nodes, row.place, faults) for name in (row.a, row.b))
        a_port, b_port = (_port(text, row.place, faults) for text in (row.a_port, row.b_port))
        if a == b and row.a:
            faults.add(row.place, f"a link from {row.a} to itself", "two nodes")
        rate = _number(row.gbps, "gbps", row.place, faults, at_least=LEAST_GBPS, at_most=MAX_GBPS)
        # Ports of different rates are numbered apart, as are a GPU's NVLink ports from its NIC ports.
        nvlink = NodeRole.NVSWITCH in (role_of(row.a), role_of(row.b))
        for node, port, name in ((a, a_port, row.a), (b, b_port, row.b)):
            if port != NO_PORT:
                first = taken.setdefault((node, port, nvlink, rate), row.place)
                if first != row.place:
                    faults.add(row.place, f"{name} port {port}, used already at {first}", "each port once")
        numbers.append((rate, _number(row.latency_s, "latency_s", row.place, faults, at_least=0.0, at_most=1.0)))
        ends.append((a, b, a_port, b_port))
        media.append(MEDIA.get(row.medium, NO_MEDIUM))
        if row.medium and row.medium not in MEDIA:
            faults.add(row.place, f"medium {row.medium!r}", " or ".join(MEDIA) + ", or nothing")
    if not ends:
        faults.add("links", "none", "at least one link")
    faults.raise_any()
    return _numbered(list(nodes), np.array(ends, dtype=np.int64), np.array(numbers), np.array(media, dtype=np.int8))


def read_links_csv(path: Path) -> LinkList:
    """Read a link list ``a,a_port,b,b_port,gbps,latency_s,medium``; ports and medium may be empty, the last column missing.

    Raises
    ------
    InputError
        With every fault and its line.
    """
    faults = Faults(str(path))
    rows = (RawLink(line, *cells) for line, cells in read_rows(read_text(path), LINK_COLUMNS, faults, MEDIUM_COLUMN))
    return build_link_list(rows, faults)


def _numbered(names: list[str], ends: IntArray, numbers: FloatArray, medium: IntArray) -> LinkList:
    """Put nodes in the order of a fabric's: GPUs and NVSwitches by server, switches as they came."""

    def rank(node: int) -> tuple[int, int, int]:
        name = names[node]
        if match := _GPU.fullmatch(name):
            return NodeRole.GPU, int(match[1]), int(match[2])
        if match := _NVSWITCH.fullmatch(name):
            return NodeRole.NVSWITCH, int(match[1]), int(match[2] or 0)
        return NodeRole.SWITCH, node, 0

    order = sorted(range(len(names)), key=rank)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    ordered = tuple(names[node] for node in order)
    roles = np.array([role_of(name) for name in ordered], dtype=np.int8)
    a, b, a_port, b_port = ends.T
    return LinkList(ordered, roles, place[a], place[b], a_port, b_port, numbers[:, 0], numbers[:, 1], medium)


def _node(name: str, nodes: dict[str, int], place: int | str, faults: Faults) -> int:
    if not _NAME.fullmatch(name):
        faults.add(place, f"node {name!r}", "a name of 1 to 64 letters, digits, '.', '_' and '-'")
    elif len(nodes) > 2 * MAX_ROWS:
        faults.add(place, "more nodes", f"at most {2 * MAX_ROWS} nodes")
    return nodes.setdefault(name, len(nodes))


def _port(text: str, place: int | str, faults: Faults) -> int:
    if not _PORT.fullmatch(text) or (text and int(text) > MAX_PORT):
        faults.add(place, f"port {text!r}", f"a whole number from 0 to {MAX_PORT}, or nothing")
        return NO_PORT
    return int(text) if text else NO_PORT


def _number(text: str, key: str, place: int | str, faults: Faults, *, at_least: float, at_most: float) -> float:
    value = float(text) if _DECIMAL.fullmatch(text) else float("nan")
    if at_least <= value <= at_most:
        return value
    faults.add(place, f"{key} {text!r}", f"a number from {at_least:g} to {at_most:g}")
    return 1.0
