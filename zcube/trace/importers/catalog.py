"""The formats that can be imported, how each is told, and the import itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from filecmp import cmp
from functools import partial
from pathlib import Path

import numpy as np

from zcube.errors import Fault, InputError
from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_RANKS, CommTrace
from zcube.trace.importers import (
    chakra_json,
    chakra_protobuf,
    goal_binary,
    goal_csv,
    goal_text,
    hccl_log,
    host_trace,
    kineto,
    kv_logs,
    kv_wrapper,
    nccl_chrome,
    nccl_inspector,
    nccl_log,
    no_transfers,
    ns3_flows,
)
from zcube.trace.importers.assembly import assemble
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.report import Imported, ImportReport, OperationTotal
from zcube.trace.importers.source import Source

AUTO = "auto"
MAX_FILES = 1 << 14
MAX_GOAL_UNIT_NS = 1e9


@dataclass(frozen=True)
class Format:
    """One format: its name, what it is, how it is told from a file's first bytes and name, and its reader."""

    name: str
    description: str
    recognise: Callable[[bytes, str], bool]
    read: Callable[[list[Source], Options], Gathered]
    #: Whether two files of equal content are one recording twice: ranks that are alike have equal files in other formats.
    log: bool = False


def _kv(form: str) -> tuple[Callable[[bytes, str], bool], Callable[[list[Source], Options], Gathered]]:
    return partial(kv_logs.recognise, form=form), partial(kv_logs.read, form=form)


#: Formats in the order in which a file is tried.
FORMATS: tuple[Format, ...] = (
    Format("nccl-inspector", "NCCL Inspector dumps (JSON)", nccl_inspector.recognise, nccl_inspector.read, True),
    Format("chakra-json", "Chakra traces as the feeder's JSON", chakra_json.recognise, chakra_json.read),
    Format("kineto", "PyTorch profiler traces (Kineto JSON)", kineto.recognise, kineto.read),
    Format("pytorch-et", "PyTorch execution traces (host ET, JSON)", host_trace.recognise, host_trace.read),
    Format("nccl-chrome", "NCCL example profiler (Chrome trace)", nccl_chrome.recognise, nccl_chrome.read, True),
    Format("kv-wrapper", "KV transfers as JSON lines {t0, t1, bytes, gpu, peer}", kv_wrapper.recognise, kv_wrapper.read, True),
    Format("goal-csv", "sends, receives, calcs and collectives as CSV", goal_csv.recognise, goal_csv.read),
    Format("goal", "GOAL programs as text", goal_text.recognise, goal_text.read),
    Format("goal-bin", "GOAL programs as LogGOPSim's binary", goal_binary.recognise, goal_binary.read),
    Format("ns3-flows", "ns-3 flow lists (HPCC's flow.txt)", ns3_flows.recognise_flows, ns3_flows.read_flows),
    Format("ns3-fct", "ns-3 completed flows (HPCC's fct.txt)", ns3_flows.recognise_fct, ns3_flows.read_fct),
    Format("nccl-log", "NCCL debug log (NCCL_DEBUG=INFO)", nccl_log.recognise, nccl_log.read, True),
    Format("hccl-log", "HCCL run log (HCCL_ENTRY_LOG_ENABLE=1)", hccl_log.recognise, hccl_log.read, True),
    Format("vllm-kv", "vLLM log with KV Transfer metrics", *_kv("vllm"), True),
    Format("sglang-kv", "SGLang log with Req Time Stats", *_kv("sglang"), True),
    Format("nixl-kv", "events that NIXL's telemetry reader printed", *_kv("nixl"), True),
    Format("mooncake-kv", "Mooncake log with Transfer Engine Stats", *_kv("mooncake"), True),
    Format("tilert-kv", "TileRT log with sent lines", *_kv("tilert"), True),
    Format("chakra-et", "Chakra traces as protobuf (.et)", chakra_protobuf.recognise, chakra_protobuf.read),
)


def format_names() -> list[str]:
    """Return the names of the formats."""
    return [form.name for form in FORMATS]


def import_trace(
    paths: Sequence[Path],
    format: str = AUTO,
    *,
    ranks_per_node: int | None = None,
    ranks: int | None = None,
    chain: bool = False,
    source_rank: int = 0,
    target_rank: int | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    kernels: bool = False,
    tilert_layers: int = kv_logs.TILERT_LAYERS,
    megabyte_bytes: int | None = None,
    goal_unit_ns: float = 1.0,
    eager_bytes: int = 65_535,
    hosts: Sequence[int] | None = None,
    dimensions: Sequence[int] | None = None,
) -> Imported:
    """Import the recorded communication of one job.

    Bytes are converted to those of :class:`~zcube.trace.comm_trace.CommTrace`; each format's module says how. Starts are the
    recorded ones, relative to the first; ``origin_us`` in the metadata is that first one. Formats without times, and calls
    whose times are too coarse, wait for the call before them on their rank's stream instead.

    Parameters
    ----------
    paths : sequence of Path
        The files of one job, plain or packed with gzip, usually one per rank; all of one format.
    format : str
        A name of :func:`format_names`, or ``auto`` to tell it from the content.
    ranks_per_node : int, optional
        GPUs of a node; as many as hosts in the files have unless given, and 8 where the files do not say.
    ranks : int, optional
        Ranks of the trace; as many as the files name unless given. Chakra's groups that are not described have so many.
    chain : bool
        Whether every call waits for the one before it on its rank's stream. Chakra: whether dependencies count beside starts.
    source_rank, target_rank : int
        Ends of KV transfers whose log names none; the target is the first GPU of the second node unless given.
    groups : mapping, optional
        Ranks of process groups by name, for execution traces that do not describe them.
    kernels : bool
        Keep the kernels of a profile that compute, as computations.
    tilert_layers : int
        Layers in TileRT's transfers, 79 for GLM-5.1.
    megabyte_bytes : int, optional
        What a log's "MB" is; by default 2^20 for vLLM and Mooncake, 10^6 for TileRT.
    goal_unit_ns : float
        Nanoseconds of a unit of GOAL's computations.
    eager_bytes : int
        GOAL: sends of so many bytes or fewer end for their sender as they start; LogGOPSim's default.
    hosts : sequence of int, optional
        ns-3: numbers of the topology's hosts, by rank.
    dimensions : sequence of int, optional
        Chakra: ranks of each dimension that ``involved_dim`` speaks of.

    Returns
    -------
    Imported
        The trace, what was read, used and left out, and where a file broke.

    Raises
    ------
    InputError
        If a file cannot be read, its format cannot be told, or nothing in the files can be used.
    """
    options = Options(
        ranks_per_node,
        ranks,
        chain,
        source_rank,
        target_rank,
        groups or {},
        kernels,
        tilert_layers,
        megabyte_bytes,
        goal_unit_ns,
        eager_bytes,
        hosts,
        dimensions,
    )
    return import_with(paths, format, options)[0]


def import_with(paths: Sequence[Path], format: str, options: Options) -> tuple[Imported, Gathered]:
    """Import as :func:`import_trace` does, and return the calls that the trace was made of too.

    Raises
    ------
    InputError
        As :func:`import_trace`.
    """
    _check(paths, format, options)
    sources = [Source(Path(path), index) for index, path in enumerate(paths)]
    if faults := [fault for source in sources if (fault := source.fault())]:
        raise InputError(faults)
    form = _told(sources) if format == AUTO else next(form for form in FORMATS if form.name == format)
    if faults := _copies(sources, form):
        raise InputError(faults)
    gathered = form.read(sources, options)
    used = {call.group for call in gathered.calls}
    if options.groups and not any(name in used or f"pg {name}" in used for name in options.groups):
        gathered.note("no process group of these files has a name that was given (--groups): the given ranks are not used")
    for value, reads in ((options.hosts, "ns3-"), (options.dimensions, "chakra-")):
        if value is not None and not form.name.startswith(reads):
            gathered.note("the topology that was given (--topology) says nothing that this format needs")
    reports = [source.report for source in sources]
    metadata = {"source": form.name, "files": [str(path) for path in paths], "chain": options.chain}
    trace = assemble(gathered, reports, options, metadata)
    report = ImportReport(form.name, tuple(reports), _totals(trace), tuple(gathered.notes))
    return Imported(trace, report, next((report.broken for report in reports if report.broken), None)), gathered


def formats_of(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each format.

    Raises
    ------
    InputError
        If a file cannot be read or its format cannot be told.
    """
    sources = [Source(Path(path), index) for index, path in enumerate(paths)]
    if faults := [fault for source in sources if (fault := source.fault())]:
        raise InputError(faults)
    return {name: [source.path for source in found] for name, found in _by_format(sources).items()}


def _check(paths: Sequence[Path], format: str, options: Options) -> None:
    faults = []
    ranks_per_node, ranks, groups = options.ranks_per_node, options.ranks, options.groups
    ends = (options.source_rank, options.target_rank)
    if not 1 <= len(paths) <= MAX_FILES:
        faults.append(Fault("files", str(len(paths)), f"1 to {MAX_FILES}"))
    if format != AUTO and format not in format_names():
        faults.append(Fault("format", repr(format), f"{AUTO} or one of " + ", ".join(format_names())))
    for name, value in (("ranks_per_node", ranks_per_node), ("ranks", ranks)):
        if value is not None and not 1 <= value <= MAX_RANKS:
            faults.append(Fault(name, str(value), f"1 to {MAX_RANKS}"))
    for name, rank in zip(("source_rank", "target_rank"), ends):
        if rank is not None and not 0 <= rank < MAX_RANKS:
            faults.append(Fault(name, str(rank), f"0 to {MAX_RANKS - 1}"))
    if ends[0] == (ends[1] if ends[1] is not None else ranks_per_node or GPUS_PER_NODE):
        faults.append(Fault("target_rank", str(ends[0]), "another rank than source_rank"))
    if not 0 < options.goal_unit_ns <= MAX_GOAL_UNIT_NS:
        faults.append(Fault("goal_unit_ns", str(options.goal_unit_ns), f"above 0 to {MAX_GOAL_UNIT_NS:g}"))
    if options.eager_bytes < 0:
        faults.append(Fault("eager_bytes", str(options.eager_bytes), "from 0"))
    faults += [
        Fault(f"groups.{name}", "ranks that are no set", f"different ranks of 0 to {MAX_RANKS - 1}")
        for name, members in groups.items()
        if not members or len(set(members)) != len(members) or min(members) < 0 or max(members) >= MAX_RANKS
    ]
    if faults:
        raise InputError(faults)


def _by_format(sources: Sequence[Source]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = {}
    for source in sources:
        head = source.head()
        if (fault := no_transfers.told(source.path, head)) is not None:
            raise InputError(fault)
        form = next((form.name for form in FORMATS if form.recognise(head, source.path.name)), "")
        found.setdefault(form, []).append(source)
    known = "one of " + "; ".join(f"{form.name}: {form.description}" for form in FORMATS)
    if faults := [Fault(str(source.path), "a format that cannot be told", known) for source in found.pop("", [])]:
        raise InputError(faults)
    return found


def _told(sources: Sequence[Source]) -> Format:
    """Return the one format of all files."""
    found = _by_format(sources)
    if len(found) > 1:
        text = ", ".join(f"{name} ({sources[0].path})" for name, sources in found.items())
        raise InputError(Fault("files", f"several formats: {text}", "files of one format"))
    name = next(iter(found))
    return next(form for form in FORMATS if form.name == name)


def _copies(sources: Sequence[Source], form: Format) -> list[Fault]:
    """Return a fault for each file that stands among the files twice, as what it says would count twice."""
    first: dict[object, list[Source]] = {}
    faults = []
    for source in sources:
        alike = first.setdefault(source.path.stat().st_size if form.log else source.path.resolve(), [])
        twin = next((other for other in alike if not form.log or cmp(other.path, source.path, shallow=False)), None)
        if twin is not None:
            faults.append(Fault(str(source.path), f"what {twin.path} says, byte for byte", "every file once"))
        alike.append(source)
    return faults


def _totals(trace: CommTrace) -> dict[str, OperationTotal]:
    counts = Counter(trace.name.tolist())
    # Sums of many large sizes are beyond what floats hold exactly; object sums are whole.
    sizes = {number: int(np.sum(trace.size_bytes[trace.name == number], dtype=object)) for number in counts}
    return {trace.names[number]: OperationTotal(count, sizes[number]) for number, count in sorted(counts.items())}
