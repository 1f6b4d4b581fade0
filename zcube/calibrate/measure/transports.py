"""Which way NCCL took between ranks, read from what it says with ``NCCL_DEBUG=INFO``.

A line is ``... Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM`` (NCCL source, ``transport/*.cc``); only what follows ``via``
is kept, as the line begins with the host's name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

MAX_LOG_BYTES = 16 << 20
#: Characters of a transport that are kept; it ends with the NIC's number and options.
_VIA = re.compile(r"\bvia (P2P|SHM|NET|CollNet|NVLS)((?:/[\w.\-]+)*)")


def parse_transports(text: str) -> Counter[str]:
    """Count the channels of each transport, e.g. ``{"P2P/CUMEM": 48}``."""
    return Counter((kind + rest)[:60] for kind, rest in _VIA.findall(text))


def read_transports(folder: Path) -> Counter[str]:
    """Count those of every log in a folder, each up to a bound."""
    found: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as handle:
            found += parse_transports(handle.read(MAX_LOG_BYTES).decode("utf-8", "replace"))
    return found


def path_class(transports: Mapping[str, int], nvlink: bool | None, network: str) -> str | None:
    """Return the path class of the transports seen, the slowest where there are several; None where none was seen.

    Parameters
    ----------
    transports : mapping of str to int
    nvlink : bool, optional
        Whether the GPUs are joined by NVLink; None if unknown.
    network : str
        Class of a network that is no socket: ``same-leaf`` or ``across``, which NCCL cannot know.
    """
    names = [name for name, count in transports.items() if count]
    if any(name.startswith("NET/Socket") for name in names):
        return "socket"
    if any(name.startswith(("NET", "CollNet")) for name in names):
        return network
    if any(name.startswith("SHM") for name in names):
        return "shared-memory"
    if names:
        return "unspecified" if nvlink is False else "nvlink"
    return None
