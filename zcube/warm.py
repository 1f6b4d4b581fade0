"""Kernels compiled before they are needed, several at a time: what a verb is about to need, or all.

A kernel is compiled for the types that it is called with, so each group of kernels is compiled by using it on a small fabric. A
group done is marked by a file in the folder of compiled kernels.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from zcube import compile_cache
from zcube.as_written import kernels_as_written
from zcube.atomic_names import signals_held_back
from zcube.compilers import Compiler, started
from zcube.errors import OutputError
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import Fabric
from zcube.fabric.spec import SwitchSpec
from zcube.kernel_files import NotKeptWarning
from zcube.network import fluid, fluid_posting
from zcube.network.alone import alone_bps, alone_s
from zcube.network.flow_model import ideal_model
from zcube.network.fluid_state import LEAST_ROOM
from zcube.network.link_set import IdealRouting, LinkSet
from zcube.network.protocol import FlowTable
from zcube.progress import COMPILING, Progress
from zcube.routing.catalog import routing_for
from zcube.side_by_side import processors
from zcube.workplace import no_place

if TYPE_CHECKING:
    from zcube.llm.cards import ModelCard
    from zcube.llm.compute import ComputeModel
    from zcube.network.packet.settings import PacketSettings
    from zcube.network.packet.tables import Tables
    from zcube.serving.settings import ServingSettings
    from zcube.workload.requests import RequestTrace


#: How often it is looked whether a process that compiles has ended.
LOOK_EVERY_S = 0.02


def _fabric() -> Fabric:
    switch = SwitchSpec(model="any", ports=16, port_gbps=400)
    spec = SpineLeafSpec(gpus=64, gpus_per_server=8, nic_gbps=400, rail_optimised=True, switch=switch)
    return spec.build("a small one")


def _flows() -> FlowTable:
    return FlowTable(np.array([0, 8]), np.array([8, 17]), np.full(2, 1e5), np.zeros(2))


def routing_kernels() -> None:
    """Compile what gives transfers their paths, and their durations on these alone."""
    fabric, flows = _fabric(), _flows()
    routes = routing_for(fabric).routes(flows.source, flows.target)
    alone_s(routes, fabric.link_capacity_bps, flows.size_bytes * 8.0, None, True)
    alone_bps(routes, fabric.link_capacity_bps, True)


def posting_kernels() -> None:
    """Compile what transfers are posted to the fluid by, which runs as written: its own group is compiled beside this one."""
    with kernels_as_written(lambda module: module == fluid.__name__):
        model = ideal_model(_fabric())
        model.send(_flows())
        model.advance(float("inf"))
        # More than there is room for, so that what has ended gives way.
        ends = np.zeros(LEAST_ROOM, dtype=np.int64), np.full(LEAST_ROOM, 8)
        model.send(FlowTable(*ends, np.full(LEAST_ROOM, 1e5), np.ones(LEAST_ROOM)))


def flow_kernels() -> None:
    """Compile the fluid, on an ideal core, whose paths need no kernel."""
    with kernels_as_written(lambda module: module == fluid_posting.__name__):
        model = ideal_model(_fabric())
        model.send(_flows())
        model.advance(float("inf"))
        model.link_table()
        model.completions()


def packet_kernels() -> None:
    """Compile what engines of packets need beside them: what posts to and asks them, and the default congestion control."""
    from zcube.network.packet import engine
    from zcube.network.packet.control import place_handlers
    from zcube.network.packet.model import PacketModel
    from zcube.network.packet.settings import PacketSettings

    fabric, settings = _fabric(), PacketSettings()
    with kernels_as_written(lambda module: module == engine.__name__):
        model = PacketModel(LinkSet.of_ideal_core(fabric), IdealRouting(fabric), settings)
        model.send(_flows())
        model.next_event_s()
        model.advance(float("inf"))
    place_handlers(_idle_packets(), settings.control, False)


def plain_engine() -> None:
    """Compile the engine of packets for plain networks."""
    from zcube.network.packet.engine import advance_plain

    idle = _idle_packets()
    advance_plain(idle.net, 0, 1)


def full_engine() -> None:
    """Compile the engine of packets for any networks."""
    from zcube.network.packet.engine import advance

    idle = _idle_packets()
    advance(idle.net, 0, 1)


def _idle_packets() -> Tables:
    from zcube.network.packet.build import idle_network
    from zcube.network.packet.settings import PacketSettings

    # Held on to by who takes it, since a kernel is handed where its arrays lie and does not keep them.
    return idle_network(LinkSet.of_ideal_core(_fabric()), PacketSettings(), 0.0)


def deciding_kernels() -> None:
    """Compile what serving decides by, without a network: who computes a prompt, what is kept, how long steps take."""
    from zcube.serving.prefix_cache import PrefixCaches
    from zcube.serving.router import PrefillLoads, choose
    from zcube.workload.appearance import LEAST_PLACES, numbered

    trace, settings, _, compute = _prompts()
    caches = PrefixCaches(settings.prefill.nodes, 4, trace.are_chained)
    loads = PrefillLoads.idle(settings.prefill.nodes, settings.prefill.chunk_tokens, None)
    blocks = trace.blocks(0).astype(np.int64)
    choose(loads, caches, blocks, int(trace.input_tokens[0]), trace.block_tokens, 0.0)
    caches.hit(0, blocks)
    caches.insert(0, blocks)
    caches.use(0, blocks[:1], 1)
    caches.drop_idle(0, 1)
    trace.summary()
    compute.decode_steps_s(trace.input_tokens.copy(), 2)
    # More than there are places for at first.
    numbered(np.arange(LEAST_PLACES))


def serving_kernels() -> None:
    """Compile the rest of what serving needs, over the fluid, which runs as written."""
    from zcube.serving.run import serve

    fabric, (trace, settings, card, compute) = _fabric(), _prompts()
    with kernels_as_written(lambda module: module in (fluid.__name__, fluid_posting.__name__)):
        serve(fabric, ideal_model(fabric), trace, settings, card, compute)


def _prompts() -> tuple[RequestTrace, ServingSettings, ModelCard, ComputeModel]:
    """Return two prompts that begin alike, and what serves them."""
    # Verbs that serve nothing need not load this.
    from zcube.llm.cards import load_card
    from zcube.llm.compute import roofline
    from zcube.llm.devices import load_device
    from zcube.serving.settings import ServingSettings
    from zcube.workload.prefix_blocks import Lineage, prefix_blocks
    from zcube.workload.requests import RequestTrace

    card, pools = load_card("glm-5.1"), {"prefill": {"nodes": 2}, "decode": {"nodes": 2}}
    settings = ServingSettings.model_validate(pools)
    tokens, texts = np.array([96, 96]), np.arange(2)
    lineage = Lineage(shared_tokens=64, group_tokens=0, group=texts, trunk=texts, branch=texts, trunk_tokens=np.full(2, 64))
    first_block, blocks = prefix_blocks(tokens, lineage, 32, groups=2)
    trace = RequestTrace(
        name="two prompts", source="made to compile kernels", arrival_s=np.array([0.0, 1.0]), input_tokens=tokens,
        output_tokens=np.array([2, 3]), block_tokens=32, first_block=first_block, block_id=blocks, session=np.full(2, -1),
    )  # fmt: skip
    return trace, settings, card, roofline(card, load_device("h200"), settings.engine())


def other_kernels() -> None:
    """Compile what few verbs use: lists of equal paths, capacities that change, deadlocks, steady packets, every control."""
    from zcube.network.packet.control import place_handlers
    from zcube.network.packet.controls import BUILT_IN
    from zcube.network.packet.failure_schedule import schedule_failures
    from zcube.network.packet.model import PacketModel
    from zcube.network.packet.settings import PacketSettings
    from zcube.network.packet.skip_settings import Skip
    from zcube.network.packet.stuck import held
    from zcube.network.packet.switch_settings import LinkFailure

    fabric = _fabric()
    routing_for(fabric, "equal-paths").routes(_flows().source, _flows().target)
    model = ideal_model(fabric)
    with kernels_as_written(lambda module: module == fluid_posting.__name__):
        model.send(_flows())
    model.change_capacity(np.array([0]), np.array([1e11]), 1e-6)
    idle = _idle_packets()
    held(idle.net, np.array([0]))
    schedule_failures(idle, model.link_set, PacketSettings(link_failures=(LinkFailure(link="*", down_s=0.0),)))
    for name in BUILT_IN:
        place_handlers(idle, PacketSettings(congestion_control=name).control, False)
    skipping = PacketSettings(congestion_control="none", skip=Skip(mode="reuse"))
    packets = PacketModel(model.link_set, IdealRouting(fabric), skipping)
    packets.send(_flows())
    packets.advance(float("inf"))


#: What compiles each group.
GROUPS: dict[str, Callable[[], None]] = {
    "routing": routing_kernels,
    "posting": posting_kernels,
    "flow": flow_kernels,
    "packet": packet_kernels,
    "plain-engine": plain_engine,
    "full-engine": full_engine,
    "deciding": deciding_kernels,
    "serving": serving_kernels,
    "other": other_kernels,
}

#: Groups that a fidelity needs; a run of packets is set beside a fluid, and needs an engine.
_FLUID = ("routing", "posting", "flow")
_OF_FIDELITY = {"ideal": _FLUID, "flow": _FLUID, "lossless": _FLUID, "packet": (*_FLUID, "packet")}

#: Engines of packets, and groups of packets.
ENGINES = ("plain-engine", "full-engine")
OF_PACKETS = ("packet", *ENGINES)

#: Groups that one process compiles, since what follows another shares kernels with it, and about how long each takes as the
#: first of its process, in seconds on a processor of 2020.
_TOGETHER = (
    {"full-engine": 7.0, "other": 8.0},
    {"plain-engine": 4.5},
    {"flow": 3.2},
    {"routing": 1.6, "deciding": 3.0, "serving": 0.3},
    {"packet": 1.8},
    {"posting": 1.4},
)


#: Modules of the packet group.
_PACKETS = "zcube.network.packet."

#: Groups that serving needs beside those of its fidelity.
OF_SERVING = ("deciding", "serving")


def needed_groups(fidelity: str, *more: str, packets: Iterable[PacketSettings] | None = None) -> Sequence[str]:
    """Return the groups that runs of a fidelity need, and more; an unknown one is told of where it is asked for.

    Parameters
    ----------
    fidelity : str
        Of the runs.
    *more : str
        Other groups.
    packets : iterable of PacketSettings, optional
        Settings of the runs, where they are of packets; default: any.
    """
    engines: Collection[str] = ()
    if fidelity == "packet":
        engines = ENGINES
        if packets is not None:
            from zcube.network.packet.engine_choice import has_plain_engine

            engines = {engines[0] if has_plain_engine(settings) else engines[1]: None for settings in packets}
    return (*_OF_FIDELITY.get(fidelity, ()), *engines, *more)


def compile_groups(groups: Sequence[str]) -> None:
    """Compile groups of kernels in this process, mark them where kernels are kept, and await what another one compiles."""
    place = compile_cache.folder()
    for group in groups:
        if place is None:
            GROUPS[group]()
            continue
        with _claimed(place, group):
            if not _mark(place, group).exists() and _is_kept(GROUPS[group]):
                # A disk that is full just here costs the next run a look at what is kept.
                with suppress(OSError):
                    _mark(place, group).touch()


def _is_kept(compile_group: Callable[[], None]) -> bool:
    """Compile a group and return whether all of it could be kept; what could not is told once."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", NotKeptWarning)
        compile_group()
    lost = [one for one in said if issubclass(one.category, NotKeptWarning)]
    for one in [*(one for one in said if one not in lost), *lost[:1]]:
        warnings.warn(one.message, one.category, stacklevel=3)
    return not lost


@contextmanager
def _claimed(place: Path, group: str) -> Iterator[None]:
    """Let one process at a time compile a group; the claim ends with the process, however that ends."""
    with ExitStack() as held:
        # Without locks, or room for one, processes may do the same work twice.
        with suppress(ImportError, OSError):
            from fcntl import LOCK_EX, flock

            claim = held.enter_context((place / f"compiling-{group}-{compile_cache.INSTALLATION}").open("w"))
            flock(claim, LOCK_EX)
        yield


def _mark(place: Path, group: str) -> Path:
    return place / f"compiled-{group}-{compile_cache.INSTALLATION}"


def missing_groups(groups: Sequence[str]) -> list[list[str]]:
    """Return which of some groups are not known to be kept, together what is best compiled by one process.

    There are no more processes than processors; whatever takes longest of what is left goes to that which is done first.
    """
    place = compile_cache.folder()
    if place is not None and (place / compile_cache.COMPLETE).exists():
        return []
    kept = {group for group in GROUPS if place is not None and _mark(place, group).exists()}
    missing = [{group: many_s[group] for group in many_s if group in groups and group not in kept} for many_s in _TOGETHER]
    found = sorted((sum(many_s.values()), list(many_s)) for many_s in missing if many_s)
    busy_s, of_process = [0.0] * processors(), [list[str]() for _ in range(processors())]
    for taken_s, several in reversed(found):
        process = busy_s.index(min(busy_s))
        busy_s[process] += taken_s
        of_process[process] += several
    return [several for several in of_process if several]


class KernelsAhead:
    """Compiles what is missing of some groups, in several processes where there are processors for them; a context manager.

    What could not be compiled ahead is compiled where it is needed.

    Parameters
    ----------
    groups : sequence of str
        Of :data:`GROUPS`.
    at_once : bool
        Whether to begin now; else :meth:`ready` begins, when it is known what has little to do.
    """

    def __init__(self, groups: Sequence[str], at_once: bool = True):
        self._groups = list(groups)
        self._missing, self._here, self._beside = missing_groups(groups), list[list[str]](), list[Compiler]()
        if at_once:
            self._start()

    def _start(self) -> None:
        self._missing, missing = [], self._missing
        if compile_cache.folder() is not None and processors() > 1 and sys.executable:
            # All of them, for in a process that compiles an interrupt may go unheard.
            try:
                for several in missing:
                    self._beside.append(started(compile_groups, several))
            except BaseException as error:
                # Who is interrupted here may not have come to its `with`.
                self.__exit__(type(error), error, None)
                raise
        else:
            self._here += missing

    def __enter__(self) -> KernelsAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._beside:
            process.kill()
            process.wait()

    def wait(self, progress: Progress, meanwhile: Sequence[str] = ()) -> None:
        """Return when all is compiled; import modules that come next while other processes compile."""
        if self._here or self._beside:
            progress(COMPILING, 0, 0, "")
        for module in meanwhile if self._beside else ():
            import_module(module)
        for several in self._here:
            compile_groups(several)
        for process in self._beside:
            while process.poll() is None:
                time.sleep(LOOK_EVERY_S)
                progress(COMPILING, 0, 0, "")

    def load(self) -> None:
        """Load the kernels into this process, for the copies that are about to be made of it."""
        for group in self._groups:
            # LLVM tells of each module in a callback, from which an interrupt does not come back (llvmlite 0.50).
            with signals_held_back():
                GROUPS[group]()

    @contextmanager
    def ready(self, progress: Progress, little: Collection[str]) -> Iterator[None]:
        """Hold a run: groups that have little to do run as they are written, unless they are kept; all others are compiled."""
        written = {group for several in self._missing for group in several if group in little}
        self._missing = [left for several in self._missing if (left := [group for group in several if group not in written])]
        self._start()
        self.wait(progress)
        packets, others = bool(written & {*OF_PACKETS}), bool(written - {*OF_PACKETS})

        def where(module: str) -> bool:
            return packets if module.startswith(_PACKETS) else others and module.startswith("zcube.")

        with kernels_as_written(where):
            yield


@dataclass(frozen=True)
class Warmed:
    """What :func:`warm` did.

    Attributes
    ----------
    folder : Path or None
        Where kernels are kept; None where no place for them can be written.
    is_borrowed : bool
        Whether that folder cannot be written, and holds all kernels.
    compiled : bool
        Whether anything had to be compiled.
    taken_s : float
        Wall-clock time.
    """

    folder: Path | None
    is_borrowed: bool
    compiled: bool
    taken_s: float


def warm(progress: Progress) -> Warmed:
    """Compile every kernel that is not yet kept, and mark the folder complete; without a place to keep them, compile none.

    Raises
    ------
    OutputError
        If the folder does not take them.
    """
    began_s, place, original = time.monotonic(), compile_cache.folder(), compile_cache.borrowed()
    if place is None or original is not None:
        return Warmed(original, original is not None, False, time.monotonic() - began_s)
    compiled = bool(missing_groups(list(GROUPS)))
    if compiled and (why := no_place(place)):
        raise OutputError(f"{place} {why}")
    with KernelsAhead(list(GROUPS)) as ahead:
        ahead.wait(progress)
    # What a process beside this one could not do.
    for several in missing_groups(list(GROUPS)):
        compile_groups(several)
    if left := missing_groups(list(GROUPS)):
        raise OutputError(
            f"{place} does not keep compiled kernels: {', '.join(group for several in left for group in several)}"
        )
    try:
        (place / compile_cache.COMPLETE).touch()
    except OSError as error:
        raise OutputError(f"{place} cannot be marked: {error.strerror or error}") from error
    return Warmed(place, False, compiled, time.monotonic() - began_s)
