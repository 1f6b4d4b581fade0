"""Lines that the topology files of ns-3's RDMA simulators share: numbers of switches, and one link a line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.wiring.link_list import RawLink
from zcube.fabric.wiring.reading import Faults, read_text

#: Words of a line, with its number.
Words = tuple[int, list[str]]

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)([KMGT]?)(?:bps|b/s)", re.ASCII)
_DELAY = re.compile(r"(\d{1,12}(?:\.\d{1,15})?)(s|ms|us|ns)", re.ASCII)
_GBPS = {"": Decimal("1e-9"), "K": Decimal("1e-6"), "M": Decimal("1e-3"), "G": Decimal(1), "T": Decimal(1000)}
_SECONDS = {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9")}


def switches_and_links(fabric: Fabric, nvlink: bool = True) -> tuple[list[int], list[str]]:
    """Return the numbers of all switches, NVSwitches first, and the lines of all links, each GPU's together."""
    cables = fabric.cables
    # NVSwitches stand between GPUs and switches; a fabric has them after both.
    number = np.arange(fabric.nodes)
    nvswitches = fabric.servers if nvlink else 0
    number[fabric.gpus : fabric.gpus + fabric.switches] += nvswitches
    number[fabric.gpus + fabric.switches :] -= fabric.switches
    per_gpu = np.column_stack([*([fabric.nvlink_cable] if nvlink else []), fabric.nic_cable]).ravel()
    order = np.concatenate([per_gpu, np.flatnonzero(cables.kind == CableKind.SWITCH)])
    rate, delay = cache(_gbps_text), cache(_ms_text)
    columns = (number[cables.a[order]], number[cables.b[order]], cables.gbps[order], cables.latency_s[order])
    switches = list(range(fabric.gpus, fabric.gpus + nvswitches + fabric.switches))
    rows = zip(*(column.tolist() for column in columns))
    return switches, [f"{a} {b} {rate(gbps)} {delay(latency_s)} 0" for a, b, gbps, latency_s in rows]


def lines_of(path: Path) -> Iterator[Words]:
    """Yield the lines of a file that are not blank."""
    return ((line, words) for line, text in enumerate(io.StringIO(read_text(path)), 1) if (words := text.split()))


def is_count(word: str) -> bool:
    """Return whether a word is a whole number of at most nine digits."""
    return len(word) <= 9 and word.isascii() and word.isdigit()


def switch_numbers(lines: Iterator[Words], count: int, line: int, faults: Faults) -> list[int]:
    """Return the switches' numbers, on one line or on several."""
    numbers: list[int] = []
    while len(numbers) < count:
        line, words = next(lines, (line, []))
        wrong = next((word for word in words if not is_count(word)), None)
        if not words or wrong is not None or len(numbers) + len(words) > count:
            faults.add(line, wrong or f"{len(numbers) + len(words)} switch numbers", f"the numbers of {count} switches")
            break
        numbers += [int(word) for word in words]
    return numbers


def announced(lines: Iterator[Words], links: int, line: int, faults: Faults) -> list[Words]:
    """Return the lines of the links; note it where there are others than the first line says."""
    body = list(islice(lines, links + 1))
    if len(body) != links:
        faults.add(line, f"{links} links announced, {'more' if len(body) > links else len(body)} listed", "the same number")
    return body


def raw_links(lines: Iterable[Words], names: Mapping[int, str], faults: Faults) -> Iterator[RawLink]:
    """Yield ``src dst bandwidth latency error_rate`` as links; one that loses packets is noted, for no fabric here does."""
    for line, words in lines:
        if len(words) != 5:
            faults.add(line, f"{len(words)} words", "src dst bandwidth latency error_rate")
            continue
        a, b = (names.get(int(word)) if is_count(word) else None for word in words[:2])
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


def _gbps_text(gbps: float) -> str:
    return f"{_plain(Decimal(repr(gbps)))}Gbps"


def _ms_text(latency_s: float) -> str:
    return f"{_plain(Decimal(repr(latency_s)) * 1000)}ms"


def _plain(value: Decimal) -> str:
    """Return a number exactly, without exponent and trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
