"""The topology file of ibdiagnet: one block per switch, one line per port in use.

``P61 -4x-50G-> MQM8700 sw-ufm-hdr01 P39``: own port, lanes and rate of a lane, the other system's type, name and port. Hosts
have no block of their own and name ports ``mlx5_0/P1``, as in the example of NVIDIA's UFM cable validation tool. How that tool
names the halves of a split port was not found; ``P5/1``, ``P5/2`` are written here.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from zcube.fabric.cages import checked_places, device_names
from zcube.fabric.model import Fabric
from zcube.fabric.wiring.cabling import Wiring, build_wiring
from zcube.fabric.wiring.port_names import NicPort, parse_port
from zcube.fabric.wiring.reading import Faults, read_text

#: Lanes of a whole InfiniBand port.
PORT_LANES = 4

_LINE = re.compile(r"\s+(\S+)\s+-(?:\d+x-[\d.]+G-)?>\s+(\S+)\s+(\S+)\s+(\S+)\s*")
_SYSTEM = re.compile(r"(\S+)\s+(\S+)(?:\s+CFG:.*)?\s*")
_PANEL = re.compile(r"P([1-9]\d{0,5})(?:/([1-9]\d{0,2}))?", re.ASCII)
_HCA = re.compile(r"mlx5_(\d{1,6})/P([1-9]\d{0,2})", re.ASCII)


def ibdiagnet_text(fabric: Fabric, *, host_type: str = "HCA") -> str:
    """Return the planned wiring as an ibdiagnet topology file.

    Parameters
    ----------
    fabric : Fabric
        What is built; a switch's model is its system type.
    host_type : str
        System type of the servers.
    """
    places = checked_places(fabric)
    names = device_names(fabric)
    types = [host_type] * fabric.servers + [_word(group.model.name) for group in fabric.groups for _ in range(group.count)]
    gbps = fabric.cables.gbps[places.cable].tolist()
    lines: dict[int, list[str]] = defaultdict(list)
    near, far = zip(places.device.T.tolist(), places.names(), places.native_gbps.T.tolist())
    for (own, port, native), (other, other_port, _) in ((near, far), (far, near)):
        for i, device in enumerate(own):
            if device >= fabric.servers:
                lane_gbps = native[i] / PORT_LANES
                rate = f"{max(1, round(gbps[i] / lane_gbps))}x-{lane_gbps:g}G"
                remote = f"{types[other[i]]} {names[other[i]]} {_ib_port(other_port[i])}"
                lines[device].append(f"    {_ib_port(port[i])} -{rate}-> {remote}")
    blocks = ("\n".join([f"{types[device]} {names[device]}", *lines[device]]) for device in sorted(lines))
    return "\n\n".join(blocks) + "\n"


def read_ibdiagnet(path: Path) -> Wiring:
    """Read an ibdiagnet topology file; ports that follow :func:`ibdiagnet_text` get this program's names, others keep theirs.

    Raises
    ------
    InputError
        With every line that is neither a system nor a port of one.
    """
    faults = Faults(str(path))
    return build_wiring(_ports(read_text(path), faults), faults)


def looks_like_ibdiagnet(text: str) -> bool:
    """Return whether the first lines are a system and one of its ports."""
    lines = [line for line in text[:65536].split("\n") if line.strip() and not line.startswith("#")][:2]
    return len(lines) == 2 and bool(_SYSTEM.fullmatch(lines[0])) and bool(_LINE.fullmatch(lines[1]))


def _ports(text: str, faults: Faults) -> Iterator[tuple[int, tuple[str, ...]]]:
    system = None
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if system is not None and (match := _LINE.fullmatch(line)):
            port, _, remote, remote_port = match.groups()
            yield number, (system, _own_port(port), remote, _own_port(remote_port))
        elif match := _SYSTEM.fullmatch(line):
            system = match[2]
        else:
            faults.add(number, line.strip(), "TYPE NAME, or under it PORT -4x-50G-> TYPE NAME PORT")


def _ib_port(name: str) -> str:
    parsed = parse_port(name)
    if isinstance(parsed, NicPort):
        return f"mlx5_{parsed.gpu}/P{parsed.port + 1}"
    return f"P{parsed.port}" if parsed.lane is None else f"P{parsed.port}/{parsed.lane + 1}"


def _own_port(name: str) -> str:
    if match := _HCA.fullmatch(name):
        return f"gpu{int(match[1])}p{int(match[2]) - 1}"
    if match := _PANEL.fullmatch(name):
        return f"swp{match[1]}" if match[2] is None else f"swp{match[1]}s{int(match[2]) - 1}"
    return name


def _word(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip()) or "switch"
