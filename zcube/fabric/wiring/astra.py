"""Networks of ASTRA-sim: the analytical network's YAML as a fabric, and how many ranks each dimension has.

The YAML has four lists of one entry a dimension (astra-network-analytical common/network-parser/NetworkParser.cpp)::

    topology: [ Switch, Switch ]   # Ring, FullyConnected or Switch
    npus_count: [ 8, 4 ]
    bandwidth: [ 400.0, 50.0 ]     # GB/s of 2^30 bytes, each link and direction
    latency: [ 500.0, 1000.0 ]     # ns, each link; a switch is two links away from the other side

Rank ``r`` has the place ``r % npus_count[0]`` in the first dimension, and so on: ranks of the first dimension are neighbours.
Only switches are fabrics here, for GPUs have no links to each other. The first of several dimensions is a server with its
NVSwitch, every further one a NIC port a GPU, whose switch joins the ranks that differ in this dimension alone; a single
dimension is one switch with as many servers of one GPU. Read is one list a line, as ASTRA-sim's own files are written.

The logical topology of its ns-3 network is JSON, ``{"logical-dims": ["8", "4"]}``, and has dimensions only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.fabric.wiring.link_list import LinkList, RawLink, build_link_list
from zcube.fabric.wiring.reading import MAX_ROWS, Faults, read_text
from zcube.json_text import json_value

KEYS = ("topology", "npus_count", "bandwidth", "latency")
SHAPES = ("Ring", "FullyConnected", "Switch")
MAX_DIMENSIONS = 16
#: A gigabyte of ASTRA-sim (NetworkFunction.cpp: ``bw_GBps * (1 << 30)``), in gigabits.
GIGABYTE_GBIT = Decimal((1 << 30) * 8) / 1_000_000_000

_LINE = re.compile(r"(\w+)[ \t]*:[ \t]*\[([^\[\]]{0,4000})\][ \t]*", re.ASCII)


def looks_like_astra(text: str) -> bool:
    """Return whether a text begins as such a network: its first line that says something is one of the lists."""
    lines = (line.partition("#")[0].strip() for line in text[:4096].splitlines())
    match = _LINE.match(next((line for line in lines if line), ""))
    return match is not None and match[1] in KEYS


def read_astra(path: Path) -> LinkList:
    """Read an analytical network as links.

    Raises
    ------
    InputError
        With every fault and its line: also dimensions that are no switches.
    """
    faults = Faults(str(path))
    shapes, counts, bandwidths, latencies = _columns(path, faults)
    for shape in shapes:
        if shape in SHAPES and shape != "Switch":
            cure = (
                "Switch: here GPUs are joined by switches alone; a ring's links can be drawn as switches of two in a link list"
            )
            faults.add("topology", shape, cure)
    faults.raise_any()
    gbps = [str(Decimal(bandwidth) * GIGABYTE_GBIT) for bandwidth in bandwidths]
    latency_s = [str(Decimal(latency) / 1_000_000_000) for latency in latencies]
    return build_link_list(_links([int(count) for count in counts], gbps, latency_s), faults)


def dimensions(path: Path) -> tuple[int, ...] | None:
    """Return the ranks of each dimension that a network or logical topology has, None if a file is neither.

    Raises
    ------
    InputError
        If it is one, and its dimensions are no numbers of ranks.
    """
    text = read_text(path)
    faults = Faults(str(path))
    if looks_like_astra(text):
        counts: list[object] = list(_columns(path, faults)[1])
    elif '"logical-dims"' in text[:4096]:
        try:
            document = json_value(text)
        except (ValueError, RecursionError) as error:
            raise InputError(Fault(str(path), str(error)[:160], 'JSON as {"logical-dims": ["8", "2"]}')) from error
        found = document.get("logical-dims") if isinstance(document, dict) else None
        counts = found if isinstance(found, list) else []
        _check_counts([str(count) for count in counts], "logical-dims", faults)
    else:
        return None
    faults.raise_any()
    return tuple(int(str(count)) for count in counts)


def _columns(path: Path, faults: Faults) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the four lists as text, checked."""
    lists: dict[str, list[str]] = {}
    for number, text in enumerate(read_text(path).splitlines(), 1):
        line = text.partition("#")[0].strip()
        match = _LINE.fullmatch(line)
        if line and (match is None or match[1] not in KEYS or match[1] in lists):
            faults.add(number, line, f"one line each of {', '.join(KEYS)}, as 'npus_count: [ 8, 4 ]'")
        elif match is not None:
            lists[match[1]] = [entry.strip().strip("\"'") for entry in match[2].split(",") if entry.strip()]
    missing = [key for key in KEYS if key not in lists]
    if missing:
        faults.add(", ".join(missing), "none", "a list of one entry a dimension")
    faults.raise_any()
    shapes, counts, bandwidths, latencies = (lists[key] for key in KEYS)
    if len({len(entries) for entries in lists.values()}) != 1:
        faults.add("lists", f"{[len(lists[key]) for key in KEYS]} entries", f"as many dimensions in each of {', '.join(KEYS)}")
    for shape in shapes:
        if shape not in SHAPES:
            faults.add("topology", shape, " or ".join(SHAPES))
    _check_counts(counts, "npus_count", faults)
    for key, entries, least in (("bandwidth", bandwidths, False), ("latency", latencies, True)):
        for entry in entries:
            if not _is_number(entry, least):
                faults.add(key, entry, "a number from 0" if least else "a number above 0")
    faults.raise_any()
    return shapes, counts, bandwidths, latencies


def _check_counts(counts: list[str], key: str, faults: Faults) -> None:
    whole = [int(count) for count in counts if re.fullmatch(r"\d{1,7}", count, re.ASCII)]
    if not 1 <= len(counts) <= MAX_DIMENSIONS or len(whole) != len(counts) or min(whole) < 2 or math.prod(whole) > MAX_ROWS:
        expected = f"1 to {MAX_DIMENSIONS} dimensions of 2 ranks or more, at most {MAX_ROWS} ranks"
        faults.add(key, ", ".join(counts)[:100] or "none", expected)


def _is_number(text: str, zero: bool) -> bool:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return False
    return value.is_finite() and (value > 0 or (zero and value == 0)) and value < 10**9


def _links(counts: list[int], gbps: list[str], latency_s: list[str]) -> Iterator[RawLink]:
    ranks, size = math.prod(counts), counts[0] if len(counts) > 1 else 1
    for rank in range(ranks):
        gpu, below = f"s{rank // size}g{rank % size}", 1
        for dimension, count in enumerate(counts):
            # The ranks that differ in this dimension alone have the lower and the higher places in common.
            switch = f"dim{dimension}-{rank % below + rank // (below * count) * below}"
            name = f"s{rank // size}nvswitch" if dimension == 0 and len(counts) > 1 else switch
            yield RawLink(f"rank {rank}, dimension {dimension}", gpu, "", name, "", gbps[dimension], latency_s[dimension])
            below *= count
