"""SimAI topology files, which several public fabric studies exchange.

First line ``nodes gpus_per_server nv_switches switches links gpu_type``, then the numbers of all switches, NVSwitches first,
then one line per link ``src dst bandwidth latency error_rate``, e.g. ``0 1024 3600Gbps 0.000025ms 0``. GPUs are numbered first,
from 0. Each GPU's links come together: NVLink, then its NIC ports in order; the inter-switch links follow. Ports, names of
switches and media of cables have no place in the format.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.wiring.link_list import LinkList, RawLink, build_link_list
from zcube.fabric.wiring.reading import MAX_ROWS, Faults, read_text

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)([KMGT]?)(?:bps|b/s)", re.ASCII)
_DELAY = re.compile(r"(\d{1,12}(?:\.\d{1,15})?)(s|ms|us|ns)", re.ASCII)
_GBPS = {"": Decimal("1e-9"), "K": Decimal("1e-6"), "M": Decimal("1e-3"), "G": Decimal(1), "T": Decimal(1000)}
_SECONDS = {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9")}
_HEADER = "nodes gpus_per_server nv_switches switches links gpu_type"


def simai_text(fabric: Fabric, *, gpu_type: str = "H100") -> str:
    """Return the fabric as a SimAI topology file.

    Parameters
    ----------
    fabric : Fabric
        What is built; failed cables are listed too.
    gpu_type : str
        Last word of the first line; SimAI takes its compute times from it.
    """
    cables = fabric.cables
    # SimAI numbers NVSwitches between GPUs and switches, a fabric after both.
    number = np.arange(fabric.nodes)
    number[fabric.gpus : fabric.gpus + fabric.switches] += fabric.servers
    number[fabric.gpus + fabric.switches :] -= fabric.switches
    per_gpu = np.column_stack([fabric.nvlink_cable, fabric.nic_cable]).ravel()
    order = np.concatenate([per_gpu, np.flatnonzero(cables.kind == CableKind.SWITCH)])
    rate, delay = cache(_gbps_text), cache(_ms_text)
    columns = (number[cables.a[order]], number[cables.b[order]], cables.gbps[order], cables.latency_s[order])
    head = f"{fabric.nodes} {fabric.gpus_per_server} {fabric.servers} {fabric.switches} {len(order)} {gpu_type}"
    switches = " ".join(str(node) for node in range(fabric.gpus, fabric.nodes))
    links = (f"{a} {b} {rate(gbps)} {delay(latency_s)} 0" for a, b, gbps, latency_s in zip(*(c.tolist() for c in columns)))
    return "\n".join([head, switches, *links]) + "\n"


def read_simai(path: Path) -> LinkList:
    """Read a SimAI topology file; switch ``i`` is named ``switch<i>``, ports are not said.

    Raises
    ------
    InputError
        With every fault and its line; a link that loses packets is refused, for no fabric here does.
    """
    faults = Faults(str(path))
    lines = ((line, words) for line, text in enumerate(io.StringIO(read_text(path)), 1) if (words := text.split()))
    line, head = next(lines, (1, []))
    if len(head) < 6 or not all(_is_count(word) for word in head[:5]):
        faults.add(line, " ".join(head) or "nothing", _HEADER)
        faults.raise_any()
    nodes, per_server, nv_switches, switches, links = (int(word) for word in head[:5])
    gpus = nodes - nv_switches - switches
    if gpus < 1 or per_server < 1 or gpus % per_server or nodes > MAX_ROWS or links > MAX_ROWS:
        faults.add(line, " ".join(head), f"{_HEADER} with GPUs in whole servers, at most {MAX_ROWS} nodes and links")
    elif nv_switches % (gpus // per_server):
        faults.add(line, f"{nv_switches} NVSwitches", f"as many on each of {gpus // per_server} servers")
    faults.raise_any()
    numbers = _switch_numbers(lines, nv_switches + switches, line, faults)
    if sorted(numbers) != list(range(gpus, nodes)):
        faults.add(line + 1, "other switch numbers", f"each of {gpus} .. {nodes - 1} once: GPUs are numbered first")
    faults.raise_any()
    names = _names(gpus, per_server, numbers[:nv_switches], numbers[nv_switches:])
    body = list(islice(lines, links + 1))
    if len(body) != links:
        faults.add(line, f"{links} links announced, {'more' if len(body) > links else len(body)} listed", "the same number")
    return build_link_list(_links(body, names, faults), faults, names.values())


def _names(gpus: int, per_server: int, nv_switches: list[int], switches: list[int]) -> dict[int, str]:
    names = {gpu: f"s{gpu // per_server}g{gpu % per_server}" for gpu in range(gpus)}
    names |= {node: f"switch{i}" for i, node in enumerate(switches)}
    each = len(nv_switches) // (gpus // per_server)
    for i, node in enumerate(nv_switches):
        names[node] = f"s{i // each}nvswitch" + (str(i % each) if each > 1 else "")
    return names


def _switch_numbers(lines: Iterator[tuple[int, list[str]]], count: int, line: int, faults: Faults) -> list[int]:
    """Return the switches' numbers, on one line or on several."""
    numbers: list[int] = []
    while len(numbers) < count:
        line, words = next(lines, (line, []))
        wrong = next((word for word in words if not _is_count(word)), None)
        if not words or wrong is not None or len(numbers) + len(words) > count:
            faults.add(line, wrong or f"{len(numbers) + len(words)} switch numbers", f"the numbers of {count} switches")
            break
        numbers += [int(word) for word in words]
    return numbers


def _links(lines: Iterable[tuple[int, list[str]]], names: dict[int, str], faults: Faults) -> Iterator[RawLink]:
    for line, words in lines:
        if len(words) != 5:
            faults.add(line, f"{len(words)} words", "src dst bandwidth latency error_rate")
            continue
        a, b = (names.get(int(word)) if _is_count(word) else None for word in words[:2])
        rate, delay = _RATE.fullmatch(words[2]), _DELAY.fullmatch(words[3])
        if a is None or b is None:
            faults.add(line, " ".join(words[:2]), f"two nodes below {len(names)}")
        if rate is None:
            faults.add(line, words[2], "a bandwidth like 200Gbps")
        if delay is None:
            faults.add(line, words[3], "a latency like 0.0005ms")
        if _loses(words[4]):
            faults.add(line, f"error rate {words[4]}", "0: links that lose no packet")
        if a is None or b is None or rate is None or delay is None:
            continue
        gbps, latency_s = Decimal(rate[1]) * _GBPS[rate[2]], Decimal(delay[1]) * _SECONDS[delay[2]]
        yield RawLink(line, a, "", b, "", str(gbps), str(latency_s))


def _loses(word: str) -> bool:
    try:
        return float(word) != 0.0
    except ValueError:
        return True


def _is_count(word: str) -> bool:
    return len(word) <= 9 and word.isascii() and word.isdigit()


def _gbps_text(gbps: float) -> str:
    return f"{_plain(Decimal(repr(gbps)))}Gbps"


def _ms_text(latency_s: float) -> str:
    return f"{_plain(Decimal(repr(latency_s)) * 1000)}ms"


def _plain(value: Decimal) -> str:
    """Return a number exactly, without exponent and trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
