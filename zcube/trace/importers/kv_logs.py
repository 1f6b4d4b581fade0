"""Logs of engines that send KV caches: lines of vLLM, SGLang, NIXL, Mooncake and TileRT.

None of them names both ends of a transfer, so that all go from ``source_rank`` to ``target_rank`` (by default the first GPU of
the first node to the first of the second). What each line tells:

* vLLM (NIXL connector): ``KV Transfer metrics: Num successful transfers=1, Avg xfer time (ms)=9.862, ..., Avg MB per
  transfer=70.0, ...``, pooled over tensor-parallel ranks and the time since the line before (10 s for the first,
  ``VLLM_LOG_STATS_INTERVAL``); a megabyte is 2^20 bytes. As many transfers of that size, spread evenly over that time, and in
  turn over the GPUs of the sender's node and their rails; above :data:`MAX_LINE_TRANSFERS` a line, fewer and larger ones.
  Older lines have no size and are left out.
* Mooncake (``MC_TE_METRIC=1``): ``[Metrics] Transfer Engine Stats (over last 5s): Throughput: 1234.56 MB/s | ...``; its
  megabyte is 2^20 bytes. One transfer per line, of all bytes of the interval.
* SGLang's prefill side (``--enable-request-time-stats-logging``; observability/req_time_stats.py): ``Req Time Stats(rid=...,
  type=prefill): ..., transfer_speed=12.50 GB/s, transfer_total=250.00 MB, ...``, units of 2^30 and 2^20 bytes. One transfer a
  line, as long as size and speed say; ``TP3`` in its front is the sender's GPU, from ``source_rank`` up, and its
  receiver is as far from ``target_rank``. The decode side's lines have no sizes.
* NIXL's ``telemetry_reader`` (examples/python, telemetry 4): ``Event: agent_xfer_time``, ``Value: 1234`` (microseconds),
  and behind it ``agent_tx_bytes`` or ``agent_rx_bytes`` of the same transfer. The lines' times are those of the reader, so that
  each transfer waits for the one before.
* TileRT 0.1.5: ``sent <rid>: rank=0 seq=<N> <x.x> MB in <y.y> ms``, sent by prefill rank 0 to decode GPU 0. Where the figure
  agrees with the plan of its cache layout, bytes are the plan's, exactly: per layer 528 N (fp8) or 1024 N (bf16) of latent, 128
  N of rope keys and 8448 for each 64 tokens of index keys (TileRT 0.1.5, pd_vllm); else a megabyte is 10^6 bytes.

Times without a year go on over New Year. A start is taken from the time at the front of a line, which is written at the end of
what it tells; a line without one waits for the line before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.numbers import span_us, whole
from zcube.trace.importers.source import Line, Source

MEBIBYTE = 1 << 20
#: Transfers that one line may stand for.
MAX_TRANSFERS = 1 << 20
#: Transfers that are made of one line; a line that stands for more becomes as many larger ones, one after another in each.
MAX_LINE_TRANSFERS = 1 << 12
#: Transfers made of all lines that stand for several: a line of 200 bytes may give thousands.
MAX_POOLED_TRANSFERS = 1 << 19
#: Time between vLLM's lines where there is none before (VLLM_LOG_STATS_INTERVAL).
VLLM_INTERVAL_US = 10e6
#: Layers TileRT sends for GLM-5.1, the multi-token-prediction layer among them.
TILERT_LAYERS = 79

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_VLLM = re.compile(r"KV Transfer metrics: (.*)")
_VLLM_FIELD = re.compile(r"([A-Za-z][\w ()/]{0,80})=" + _NUMBER + r"(?=,|\s*$)")
_MOONCAKE = re.compile(
    r"\[Metrics\] Transfer Engine Stats \(over last ([0-9]{1,7})s\): (?:Throughput: " + _NUMBER + r" MB/s)?(.*)"
)
_TILERT = re.compile(r"\bsent (\S{1,200}): rank=(\d{1,7}) seq=(\d{1,9}) " + _NUMBER + r" MB in " + _NUMBER + r" ms\b")
_SGLANG = re.compile(r"Req Time Stats\((?P<what>[^)]{0,2000})\): (?P<rest>.*)")
_SGLANG_PREFILL = re.compile(r"transfer_speed=" + _NUMBER + r" ?GB/s, transfer_total=" + _NUMBER + r" ?MB\b")
_TENSOR_RANK = re.compile(r"^.{0,300}\bTP(\d{1,3})(?=[\s\]])")
_NIXL_EVENT = re.compile(r"\bEvent: (agent_\w{1,60}|unknown_event_\d{1,10})\s*$")
_NIXL_HEAD = re.compile(r"\bEvent: agent_(?:xfer|tx|rx)_\w+\s*\n[^\n]{0,80}\bValue: \d")
_NIXL_VALUE = re.compile(r"\bValue: (\d{1,20})\s*$")
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
_GLOG = re.compile(r"\b[IWE](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})")
_SHORT = re.compile(r"\b()(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
#: Stands behind a line that the file does not end.
_CUT = "\0"
#: A year for times that have none; only differences count.
_ANY_YEAR = 2000

#: Times without a year that go back by more than this have passed New Year.
_HALF_A_YEAR_US = 183 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a line tells: sizes, the time of each, from when on counted back from the line, and whether they are spread."""

    sizes: list[int]
    duration_us: float | None
    back_us: float | None
    pooled: bool = False
    lane: int = 0
    timed: bool = True


class _Clock:
    """The times at the front of a file's lines."""

    def __init__(self) -> None:
        self._year = _ANY_YEAR
        self._before: float | None = None
        self.pooled_us: float | None = None

    def of(self, text: str) -> float | None:
        """Return a line's time."""
        found = _time_us(text, self._year)
        if found is not None and self._before is not None and found < self._before - _HALF_A_YEAR_US:
            later = _time_us(text, self._year + 1)
            if later is not None and later > found:
                self._year, found = self._year + 1, later
        self._before = self._before if found is None else found
        return found

    def since_pooled_us(self, now_us: float | None) -> float:
        """Return the time since the pooled line before, and note this one."""
        before, self.pooled_us = self.pooled_us, now_us
        return now_us - before if now_us is not None and before is not None and now_us > before else VLLM_INTERVAL_US


def recognise(head: bytes, name: str, form: str) -> bool:
    """Return whether a file has lines of a form: ``vllm``, ``sglang``, ``nixl``, ``mooncake`` or ``tilert``."""
    marks = {"vllm": _VLLM, "sglang": _SGLANG, "nixl": _NIXL_HEAD, "mooncake": _MOONCAKE, "tilert": _TILERT}
    return marks[form].search(head.decode("utf-8", "replace")) is not None


def read(sources: list[Source], options: Options, form: str) -> Gathered:
    """Read the logs of one form."""
    gathered = Gathered(options.chain)
    gathered.ranks = max(options.source_rank, options.kv_target) + 1
    take: dict[str, Callable[[str], _Taken | str | None]] = {
        "vllm": partial(_vllm, megabyte=options.megabyte_bytes or MEBIBYTE),
        "sglang": partial(_sglang, megabyte=options.megabyte_bytes or MEBIBYTE),
        "mooncake": partial(_mooncake, megabyte=options.megabyte_bytes or MEBIBYTE),
        "tilert": partial(_tilert, megabyte=options.megabyte_bytes or 1_000_000, layers=options.tilert_layers),
    }
    for source in sources:
        clock = _Clock()
        taken = _NixlEvents().take if form == "nixl" else take[form]
        with source.guard():
            for line in source.lines():
                _line(source, line, taken, gathered, options, clock)
    ends = f"from rank {options.source_rank} to rank {options.kv_target}"
    up = " and up" if form == "vllm" and _lanes(options) > 1 else ""
    gathered.note(f"the log does not say which GPUs or NICs: all transfers go {ends}{up} (source_rank, target_rank)")
    if form == "vllm":
        gathered.note(
            "vLLM pools its figures over ranks and an interval: sizes and times are averages, and transfers are spread evenly"
            f" over the interval and over {_lanes(options)} ranks from each end up"
        )
    if form == "nixl":
        gathered.note("NIXL's telemetry has no starts: each transfer waits for the one before it in its file")
    if form == "mooncake":
        gathered.note("Mooncake logs totals of an interval: neither single transfers nor their peers are known")
    return gathered


def _lanes(options: Options) -> int:
    """Return how many GPUs of the sender's node have a receiver of their own, from both ends up."""
    per_node = options.ranks_per_node or GPUS_PER_NODE
    source, target = options.source_rank, options.kv_target
    lanes = per_node - max(source % per_node, target % per_node)
    return max(1, min(lanes, abs(source - target)))


def _line(
    source: Source,
    line: Line,
    take: Callable[[str], _Taken | str | None],
    gathered: Gathered,
    options: Options,
    clock: _Clock,
) -> None:
    # A number that the end of the file may have cut must not pass for a whole one.
    taken = take(line.text if line.ended else line.text + _CUT)
    if not isinstance(taken, _Taken) and not line.ended:
        source.skip("a line cut short by the end of the file", line.text)
        source.broken("a line without its end", "a whole line of the log")
    elif taken is None:
        source.skip("not a line about transfers", line.text)
    elif isinstance(taken, str):
        source.skip(taken, line.text)
    elif options.source_rank == options.kv_target or max(options.source_rank, options.kv_target) >= MAX_RANKS:
        source.skip("source_rank and target_rank are not two ranks", line.text)
    elif taken.lane >= abs(options.kv_target - options.source_rank):
        source.skip("a tensor rank that would be a receiver too: target_rank has to lie further up", line.text)
    else:
        ended = clock.of(line.text) if taken.timed else None
        count = len(taken.sizes)
        apart_us = clock.since_pooled_us(ended) / count if taken.pooled else 0.0
        if taken.pooled and len(gathered.calls) + count > MAX_POOLED_TRANSFERS:
            source.skip(f"beyond {MAX_POOLED_TRANSFERS} transfers in all", line.text)
            return source.broken(f"more than {MAX_POOLED_TRANSFERS} transfers in all", "a shorter log")
        lanes = _lanes(options) if taken.pooled else 1
        source.report.used += 1
        for place, size in enumerate(taken.sizes):
            lane = place % lanes + taken.lane
            start = None if ended is None else ended - (taken.back_us or 0) - (count - 1 - place) * apart_us
            gathered.add(
                Call(
                    source.index, line.number, Role.SEND, "kv-write", options.source_rank + lane, size, "",
                    options.kv_target + lane, None, start, taken.duration_us, "kv",
                    None if taken.pooled else (source.index, line.number), start is None,
                )
            )  # fmt: skip
        most = min(lanes, count) + taken.lane
        gathered.ranks = max(gathered.ranks, max(options.source_rank, options.kv_target) + most)


def _vllm(text: str, megabyte: int) -> _Taken | str | None:
    match = _VLLM.search(text)
    if not match:
        return None
    fields = {name.strip(): float(value) for name, value in _VLLM_FIELD.findall(match[1])}
    count, average = whole(fields.get("Num successful transfers"), MAX_TRANSFERS), fields.get("Avg MB per transfer")
    if count is None or average is None:
        return "no number of transfers or no size"
    total = whole(float(round(count * average * megabyte)))
    if not count or not total:
        return "no bytes"
    time = fields.get("Avg xfer time (ms)")
    made = min(count, MAX_LINE_TRANSFERS)
    sizes = [total // made + (place < total % made) for place in range(made)]
    duration = None if time is None else span_us(time * 1000 * count / made)
    return _Taken([size for size in sizes if size], duration, duration, pooled=True)


def _sglang(text: str, megabyte: int) -> _Taken | str | None:
    match = _SGLANG.search(text)
    if not match:
        return None
    if "type=prefill" not in match["what"]:
        return "no size: only the prefill side's lines have it"
    found = _SGLANG_PREFILL.search(match["rest"])
    if not found:
        return "no transfer_total: an older SGLang"
    speed, total = float(found[1]), whole(float(round(float(found[2]) * megabyte)))
    if not total:
        return "no bytes"
    # The speed is in units of 1024 of the size's, and rounded to two digits.
    duration = span_us(total / (speed * 1024 * megabyte) * 1e6) if speed else None
    rank = _TENSOR_RANK.search(text[: match.start()])
    return _Taken([total], duration, duration, lane=int(rank[1]) if rank else 0)


class _NixlEvents:
    """The events of a telemetry log: the time of a transfer stands before its bytes."""

    def __init__(self) -> None:
        self._event, self._duration_us = "", float("nan")

    def take(self, text: str) -> _Taken | str | None:
        """Take one line; bytes make a transfer."""
        if event := _NIXL_EVENT.search(text):
            self._event = event[1]
            return None
        match = _NIXL_VALUE.search(text)
        if not match:
            return None
        event_name, self._event = self._event, ""
        value = whole(match[1])
        if event_name == "agent_xfer_time":
            self._duration_us = float("nan") if value is None else float(value)
            return None
        if event_name == "agent_telemetry_events_dropped":
            return "events that NIXL dropped"
        if event_name not in ("agent_tx_bytes", "agent_rx_bytes"):
            return None
        duration, self._duration_us = span_us(self._duration_us), float("nan")
        return _Taken([value], duration, None, timed=False) if value else "no bytes"


def _mooncake(text: str, megabyte: int) -> _Taken | str | None:
    match = _MOONCAKE.search(text)
    if not match:
        return None
    if match[2] is None:
        return "no throughput: latencies only"
    interval = int(match[1])
    total = whole(float(round(float(match[2]) * interval * megabyte)))
    return _Taken([total], interval * 1e6, interval * 1e6) if total else "no bytes"


def _tilert(text: str, megabyte: int, layers: int) -> _Taken | str | None:
    match = _TILERT.search(text)
    if not match:
        return None
    if match[2] != "0":
        return "a sender other than rank 0"
    tokens, logged = int(match[3]), match[4]
    total = whole(float(round(float(logged) * megabyte)))
    digits = len(logged.partition(".")[2])
    for width in (528, 1024):
        plan = layers * ((width + 128) * tokens + 8448 * -(-tokens // 64))
        if any(f"{plan / unit:.{digits}f}" == logged for unit in (1_000_000, MEBIBYTE)):
            total = plan
    duration = span_us(float(match[5]) * 1000)
    return _Taken([total], duration, duration) if total else "no bytes"


def _time_us(text: str, any_year: int) -> float | None:
    """Return the time at the front of a line, local times taken as UTC."""
    front = text[:120]
    match = _ISO.search(front) or _GLOG.search(front) or _SHORT.search(front)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or any_year) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000 + int((match[7] or "").ljust(6, "0"))
