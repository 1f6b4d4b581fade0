"""What a decode node's model takes of measured tile times: latencies and rates with intervals, fitted to one or more machines.

Each part is a time beyond what bytes take, a rate, or both, from a line ``time = part + bytes / rate`` over the sizes measured.
A part of several files is the median of theirs, its interval the span of their intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import FloatArray
from zcube.calibrate.marked_files import is_marked, read_marked
from zcube.calibrate.tile_times import TileRow, TileTimes
from zcube.errors import Fault, InputError
from zcube.inputs import Declared, validate
from zcube.seeds import stream

DRAWS = 1000
#: Share of the samples, or of the bootstrap's rounds, that an interval leaves out at each end.
_TAIL = 0.025

#: Variants of a stage as a kernel of a chain, by part.
KERNEL_STAGES = {"kernel_us": "graph", "dependent_kernel_us": "graph, dependent launch", "stream_kernel_us": "stream"}

Amount = Annotated[float, Field(ge=0, le=1e9)]


class Part(Declared):
    """One figure: its value, an interval, and where it comes from.

    Attributes
    ----------
    value, low, high : float
        In the unit of the part's name. ``low`` to ``high``: 95 % of bootstrap rounds where a line was fitted, else P10 to P90
        of the samples; over several machines the span of theirs.
    source : str
        Which rows, and how.
    """

    value: Amount
    low: Amount
    high: Amount
    source: str = Field(max_length=500)

    @model_validator(mode="after")
    def _ordered(self) -> Part:
        if not self.low <= self.value <= self.high:
            raise ValueError("expected low, value, high in rising order")
        return self


class AllReduceTimes(Declared):
    """All-reduce of one size among some GPUs: the best number of blocks of each kind; None where it was not measured."""

    gpus: int = Field(ge=2, le=8, description="that took part")
    size_bytes: int = Field(gt=0, description="of the vector")
    persistent_us: Part
    graph_us: Part | None = None
    dependent_us: Part | None = None
    nccl_graph_us: Part | None = None
    nccl_eager_us: Part | None = None


class TileParts(Declared):
    """The parts, of one kind of GPU; None where the measured machines had no peer for it.

    Attributes
    ----------
    hardware : str
        What was measured.
    signal_us, release_us : Part
        One way into a peer's memory, store to end of poll; without and with release and acquire.
    put_us, put_gbytes_per_s : Part
        A message whose words carry their flags: time beyond its bytes, and GB/s of data (half of the wire's) by the largest
        number of blocks measured.
    fenced_put_us : Part
        A message with one flag a block: time beyond its bytes.
    link_gbytes_per_s : Part
        A long stream of stores into one peer.
    stage_us, memory_gbytes_per_s : Part
        A dependent stage inside one running kernel: time beyond its weights' stream, and the rate of that.
    early_stage_us : Part
        The same where the first weights are asked for before the vector has come.
    kernel_us, dependent_kernel_us, stream_kernel_us : Part
        The same stage as a kernel of a graph, of one with programmatic dependent launch, of a stream.
    select_us, index_tflops : Part
        Index logits of cached keys and the exact top 2,048 of them: time beyond two stages and the keys' stream, and the rate
        at which operations add to that; one line for one and four query tokens.
    barrier_us : Part
        All blocks of a GPU meet.
    exposed_us, fenced_exposed_us : Part
        What sending by tiles adds to a turn of computation, by words that carry their flags and with one fence at the end,
        whatever the computation lasts.
    all_reduces : tuple of AllReduceTimes
        By GPUs and size.
    schema_version : int
        Of the format.
    zcube_tile_parts : bool
        Marks the file as one.
    """

    hardware: str = Field(max_length=1000, pattern=r"\S")
    signal_us: Part | None = None
    release_us: Part | None = None
    put_us: Part | None = None
    put_gbytes_per_s: Part | None = None
    fenced_put_us: Part | None = None
    link_gbytes_per_s: Part | None = None
    stage_us: Part | None = None
    memory_gbytes_per_s: Part | None = None
    early_stage_us: Part | None = None
    kernel_us: Part | None = None
    dependent_kernel_us: Part | None = None
    stream_kernel_us: Part | None = None
    select_us: Part | None = None
    index_tflops: Part | None = None
    barrier_us: Part | None = None
    exposed_us: Part | None = None
    fenced_exposed_us: Part | None = None
    all_reduces: tuple[AllReduceTimes, ...] = Field(default=(), max_length=1000)
    schema_version: Literal[1] = 1
    zcube_tile_parts: Literal[True] = True

    @model_validator(mode="after")
    def _rates_above_zero(self) -> TileParts:
        rates = ("put_gbytes_per_s", "link_gbytes_per_s", "memory_gbytes_per_s", "index_tflops")
        still = [name for name in rates if (part := getattr(self, name)) is not None and part.low == 0]
        if still:
            raise ValueError(f"{' and '.join(still)} above 0 at both ends")
        return self


def fit_parts(machines: Sequence[TileTimes], *, draws: int = DRAWS, seed: int = 0) -> TileParts:
    """Fit the parts to the times of one or more machines.

    Parameters
    ----------
    machines : sequence of TileTimes
        All of one kind of GPU.
    draws : int
        Rounds of the bootstrap over a line's points.
    seed : int
        Of its random stream.

    Raises
    ------
    InputError
        If a file holds wrong data or misses rows, or the machines have other GPUs; with every fault.
    """
    faults = [
        Fault(times.hardware, f"{name}: wrong data or a wait without end", "a run without")
        for times in machines
        for name in times.wrong()
    ]
    kinds = frozenset[str]().union(*(times.kinds for times in machines))
    if len(kinds) != 1:
        faults.append(Fault("hardware", ", ".join(sorted(kinds)) or "no file", "files of one kind of GPU"))
    if faults:
        raise InputError(faults)
    each = [_parts_of(times, draws, stream(seed, f"tile-parts-{number}")) for number, times in enumerate(machines)]
    hardware = "; ".join(dict.fromkeys(times.hardware for times in machines))
    if len(machines) > 1:
        hardware += f", {len(machines)} runs"
    names = dict.fromkeys(name for found in each for name in found)
    parts = {name: _joined([found[name] for found in each if name in found]) for name in names}
    return validate(TileParts, {"hardware": hardware, **parts, "all_reduces": _all_reduces(machines)}, "parts")


def _parts_of(times: TileTimes, draws: int, generator: np.random.Generator) -> dict[str, Part]:
    rows = _Rows(times)
    parts: dict[str, Part | None] = {}
    # A machine that was measured alone has only what needs no peer.
    if any(row.gpus > 1 for row in times.rows):
        largest = max((row.blocks for row in times.of("push", "flag a word")), default=0)
        parts["put_us"], parts["put_gbytes_per_s"] = rows.line("push", "flag a word", draws, generator, blocks=largest)
        parts["fenced_put_us"], _ = rows.line("push", "flag a block", draws, generator, blocks=largest)
        parts |= {
            "signal_us": rows.one("signal", "push relaxed"),
            "release_us": rows.one("signal", "push release"),
            "link_gbytes_per_s": rows.fastest_stream(),
            "exposed_us": rows.exposed("flag a word"),
            "fenced_exposed_us": rows.exposed("one fence at the end"),
        }
    stage, memory = rows.line("stage", "persistent", draws, generator)
    parts |= {"stage_us": stage, "memory_gbytes_per_s": memory}
    parts["early_stage_us"], _ = rows.line("stage", "persistent, weights early", draws, generator)
    for name, variant in KERNEL_STAGES.items():
        parts[name], _ = rows.line("stage", variant, draws, generator)
    parts["select_us"], parts["index_tflops"] = rows.selection(stage, memory, draws, generator)
    parts["barrier_us"] = rows.one("barrier", "one counter")
    rows.check()
    return {name: part for name, part in parts.items() if part is not None}


class _Rows:
    """Finds rows, and remembers those that are missing."""

    def __init__(self, times: TileTimes) -> None:
        self._times = times
        self._missing: list[Fault] = []

    def check(self) -> None:
        if self._missing:
            raise InputError(self._missing)

    def _miss(self, what: str, expected: str = "rows of it") -> None:
        self._missing.append(Fault(f"{self._times.hardware}: {what}", "none", expected))

    def one(self, item: str, variant: str) -> Part | None:
        found = self._times.of(item, variant)
        if not found:
            self._miss(f"{item} {variant}")
            return None
        # A file of several numbers of GPUs has it once for each.
        return _joined([_sampled(row, f"{item}, {variant}") for row in found])

    def line(
        self, item: str, variant: str, draws: int, generator: np.random.Generator, blocks: int | None = None
    ) -> tuple[Part | None, Part | None]:
        found = _once(row for row in self._times.of(item, variant) if blocks is None or row.blocks == blocks)
        sizes = len({row.size_bytes for row in found})
        if sizes < 3:
            self._miss(f"{item} {variant}", "at least three sizes")
            return None, None
        how = f"{item}, {variant}: line over {sizes} sizes" + (f", {blocks} blocks" if blocks else "")
        return _line(found, draws, generator, how)

    def selection(
        self, stage: Part | None, memory: Part | None, draws: int, generator: np.random.Generator
    ) -> tuple[Part | None, Part | None]:
        found = _once(self._times.of("selection"))
        if len({(row.queries, row.size_bytes) for row in found}) < 4 or len({row.queries for row in found}) < 2:
            self._miss("selection", "at least four rows, of one query and of more")
            return None, None
        if stage is None or memory is None:
            return None, None
        queries = np.array([row.queries for row in found], dtype=np.float64)
        size = np.array([row.size_bytes for row in found], dtype=np.float64)
        time = np.array([row.median_us for row in found])
        # A key of the index is 128 bf16 values, and each is multiplied with 32 heads of a query as GLM-5.1 has them.
        flops = size / 256.0 * 2.0 * 32 * 128 * queries
        known = 2.0 * stage.value + size / memory.value / 1e3
        how = "selection, 1 and 4 queries, less two stages and the keys' stream"
        start, rate = _line_of(flops, time, known, draws, generator, how)
        return start, rate.model_copy(update={name: getattr(rate, name) / 1e3 for name in ("value", "low", "high")})

    def fastest_stream(self) -> Part | None:
        found = self._times.of("stream")
        if not found:
            self._miss("stream")
            return None
        best = max(found, key=lambda row: row.size_bytes / row.median_us)
        rates = (best.size_bytes / time / 1e3 for time in (best.median_us, best.p90_us, best.p10_us))
        value, low, high = rates
        return _part(value, low, high, f"stream of stores, {best.blocks} blocks")

    def exposed(self, variant: str) -> Part | None:
        pairs = [
            (row, alone)
            for row in self._times.of("overlap", variant)
            for alone in self._times.of("overlap", "computation alone")
            if (row.computing, row.work, row.gpus) == (alone.computing, alone.work, alone.gpus)
            and row.computing == "multiply-add"
        ]
        if not pairs:
            self._miss(f"overlap {variant}", "it and the same computation alone")
            return None
        more = sorted(max(row.median_us - alone.median_us, 0.0) for row, alone in pairs)
        low = min(max(row.p10_us - alone.p90_us, 0.0) for row, alone in pairs)
        high = max(row.p90_us - alone.p10_us for row, alone in pairs)
        return _part(float(np.median(more)), low, high, f"overlap, {variant}, less computation alone")


def _once(rows: Iterable[TileRow]) -> list[TileRow]:
    """Return rows with one in place of those that time the same, as files of several numbers of GPUs have: their median."""
    same: dict[tuple[str, int, int], list[TileRow]] = {}
    for row in rows:
        same.setdefault((row.variant, row.size_bytes, row.blocks), []).append(row)
    medians = ((alike[0], float(np.median([row.median_us for row in alike]))) for alike in same.values())
    return [first.model_copy(update={"median_us": median}) for first, median in medians]


def _part(value: float, low: float, high: float, source: str) -> Part:
    return validate(Part, {"value": value, "low": low, "high": high, "source": source}, source)


def _sampled(row: TileRow, source: str) -> Part:
    return _part(row.median_us, row.p10_us, row.p90_us, source)


def _line(rows: Sequence[TileRow], draws: int, generator: np.random.Generator, how: str) -> tuple[Part, Part]:
    """Return time at no bytes (us) and rate (GB/s) of the line through rows of several sizes."""
    size = np.array([row.size_bytes for row in rows], dtype=np.float64)
    time = np.array([row.median_us for row in rows])
    return _line_of(size, time, np.zeros_like(time), draws, generator, how)


def _line_of(
    size: FloatArray, time: FloatArray, known: FloatArray, draws: int, generator: np.random.Generator, how: str
) -> tuple[Part, Part]:
    """Return start (us) and rate (sizes a ns) of ``time = known + start + size / rate``, least squares of relative errors."""
    if np.ptp(size) == 0.0:
        raise InputError(Fault(how, f"one size of work, {size[0]:g}, in all rows", "several"))
    (start,), (slope,) = _solved(size, time[None, :], known)
    fitted = known + start + slope * size
    if slope <= 0.0 or np.min(fitted) <= 0.0:
        raise InputError(
            Fault(how, f"times that fall as sizes grow, {slope:.3g} us a unit", "times that grow with their sizes")
        )
    # A line through n points leaves residuals smaller than the errors, by n - 2 of n in their variance.
    off = (time / fitted - 1.0) * np.sqrt(time.size / (time.size - 2))
    drawn = _solved(size, fitted * (1.0 + generator.choice(off, (draws, off.size))), known)
    starts, slopes = np.append(start, drawn[0]), np.append(slope, drawn[1])
    rates = 1e-3 / np.maximum(slopes, 1e-12)
    return _spread(np.maximum(starts, 0.0), how), _spread(rates, how)


def _solved(size: FloatArray, time: FloatArray, known: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return start and slope of the line through each row of times [rows], made orthogonal first so that no digits are lost."""
    ones, sizes, wanted = 1.0 / time, size / time, 1.0 - known / time
    length = np.sqrt((ones**2).sum(axis=1))
    unit = ones / length[:, None]
    along = (unit * sizes).sum(axis=1)
    across = sizes - along[:, None] * unit
    slope = (across * wanted).sum(axis=1) / (across**2).sum(axis=1)
    return ((unit * wanted).sum(axis=1) - along * slope) / length, slope


def _spread(values: FloatArray, source: str) -> Part:
    low, high = np.quantile(values, [_TAIL, 1.0 - _TAIL])
    value = float(values[0])
    return _part(value, min(float(low), value), max(float(high), value), source)


def _joined(parts: Sequence[Part]) -> Part:
    value = float(np.median([part.value for part in parts]))
    return Part(value=value, low=min(part.low for part in parts), high=max(part.high for part in parts), source=parts[0].source)


def _all_reduces(machines: Sequence[TileTimes]) -> tuple[AllReduceTimes, ...]:
    rows = [row for times in machines for row in times.of("all-reduce")]
    found = []
    for gpus, size in sorted({(row.gpus, row.size_bytes) for row in rows}):
        here = [row for row in rows if (row.gpus, row.size_bytes) == (gpus, size)]
        persistent = _best(here, lambda name: name.startswith("persistent") and "barrier" not in name)
        if persistent is None:
            continue
        found.append(
            AllReduceTimes(
                gpus=gpus,
                size_bytes=size,
                persistent_us=persistent,
                graph_us=_best(here, lambda name: name.startswith("graph, ") and "dependent" not in name),
                dependent_us=_best(here, lambda name: name.startswith("graph, dependent")),
                nccl_graph_us=_best(here, lambda name: name == "NCCL, graph"),
                nccl_eager_us=_best(here, lambda name: name == "NCCL, eager"),
            )
        )
    return tuple(found)


def _best(rows: Sequence[TileRow], is_wanted: Callable[[str], bool]) -> Part | None:
    """Return the fastest way and number of blocks over all machines, by the median of its medians."""
    ways: dict[tuple[str, int], list[TileRow]] = {}
    for row in rows:
        if is_wanted(row.variant):
            ways.setdefault((row.variant, row.blocks), []).append(row)
    if not ways:
        return None
    (variant, blocks), best = min(ways.items(), key=lambda way: float(np.median([row.median_us for row in way[1]])))
    return _joined([_sampled(row, f"{variant}, {blocks} blocks" if blocks else variant) for row in best])


def is_tile_parts(path: Path) -> bool:
    """Return whether a file says that it holds tile parts; unreadable files do not."""
    return is_marked(path, "zcube_tile_parts")


def read_tile_parts(path: Path) -> TileParts:
    """Read a file of tile parts; :class:`InputError` with every fault of it, or if it is none."""
    return read_marked(path, TileParts, "zcube_tile_parts", "tile parts")
