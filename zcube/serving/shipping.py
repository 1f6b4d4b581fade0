"""KV transfer of one request: pushes from its prefill node to its decode node, as the engine's plan has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.llm.schedules.kv_plans import KvPushes
from zcube.llm.schedules.kv_shards import UnitSend
from zcube.serving.clock import Clock
from zcube.serving.recording import Recorder
from zcube.serving.transfers import Transfers

#: Prefill nodes from which, and decode nodes to which, paths are found together.
SOURCES_AT_ONCE, TARGETS_AT_ONCE = 32, 32


class Found(NamedTuple):
    """Of every send between two blocks of nodes [sources, targets, sends]: GPUs and path; ``joined``: whether all have one."""

    source: IntArray
    target: IntArray
    path: IntArray
    joined: bool


class Lane(NamedTuple):
    """What joins a data-parallel rank of a prefill node to one of a decode node: a row per pair of GPUs that send.

    ``paths`` are their numbers in the network, ``units`` [parts, pairs] those of each part of the cache that a pair carries,
    ``joined`` is False where failures leave a pair without a path.
    """

    found: Found
    place: tuple[int, int, slice]
    paths: list[int]
    units: Sequence[Sequence[int]]
    joined: bool

    @property
    def source_gpus(self) -> IntArray:
        """Who sends [pairs]."""
        source: IntArray = self.found.source[self.place]
        return source

    @property
    def target_gpus(self) -> IntArray:
        """Who receives [pairs]."""
        target: IntArray = self.found.target[self.place]
        return target

    def size_bytes(self, unit_bytes: Sequence[int]) -> list[int]:
        """Return what each pair carries of units of some bytes, by part [pairs]."""
        # A lane has few pairs, most often one or eight, and most often one part.
        if len(unit_bytes) == len(self.paths) == 1:
            return [self.units[0][0] * unit_bytes[0]]
        sizes = [units * unit_bytes[0] for units in self.units[0]]
        for part in range(1, len(unit_bytes)):
            of_unit = unit_bytes[part]
            sizes = [size + units * of_unit for size, units in zip(sizes, self.units[part], strict=True)]
        return sizes

    def rows(self, size_bytes: list[list[int]], starts_s: list[float]) -> tuple[list[int], list[int], list[float]]:
        """Return paths, sizes and starts of some pushes, a row for each pair that carries something.

        Parameters
        ----------
        size_bytes : list of list of int [pushes, pairs]
            What pairs carry.
        starts_s : list of float [pushes]
            When each push reaches the network, ascending.
        """
        if len(starts_s) == 1 and 0 not in size_bytes[0]:
            return self.paths, size_bytes[0], starts_s * len(self.paths)
        paths: list[int] = []
        sizes: list[int] = []
        rows_s: list[float] = []
        for of_push, start_s in zip(size_bytes, starts_s, strict=True):
            for path, size in zip(self.paths, of_push, strict=True):
                # Some pairs carry only what goes with the last push, or nothing of it.
                if size:
                    paths.append(path)
                    sizes.append(size)
                    rows_s.append(start_s)
        return paths, sizes, rows_s


class Lanes:
    """Lanes from prefill to decode nodes, found for many of both at once when one of them is first used.

    Parameters
    ----------
    transfers : Transfers
        Network.
    plan : KvPushes
        Which GPUs send between two ranks.
    sources, targets : sequence of int
        First GPUs of the prefill and of the decode nodes.
    """

    def __init__(self, transfers: Transfers, plan: KvPushes, sources: Sequence[int], targets: Sequence[int]):
        self._transfers = transfers
        self._firsts = np.array(sources, dtype=np.int64), np.array(targets, dtype=np.int64)
        ranks = plan.ranks
        #: By the source's rank: who sends to whom; by the target's, which of these are its, and what they carry.
        self._sends = [
            _sends([plan.sends(source_rank, rank) for rank in range(ranks.decode_dp)])
            for source_rank in range(ranks.prefill_dp)
        ]
        self._found: dict[tuple[int, int, int], Found] = {}

    def lane(self, source_node: int, source_rank: int, target_node: int, target_rank: int) -> Lane:
        """Return the lane between a rank of a prefill node and one of a decode node."""
        (sources, source), (targets, target) = divmod(source_node, SOURCES_AT_ONCE), divmod(target_node, TARGETS_AT_ONCE)
        key = source_rank, sources, targets
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(*key)
        sends, units = self._sends[source_rank][2][target_rank]
        place = source, target, sends
        joined = found.joined or self._transfers.carries(found.source[place], found.target[place])
        return Lane(found, place, found.path[place].tolist(), units, joined)

    def _find(self, source_rank: int, sources: int, targets: int) -> Found:
        out, into, _ = self._sends[source_rank]
        source = self._firsts[0][sources * SOURCES_AT_ONCE : (sources + 1) * SOURCES_AT_ONCE, None, None] + out
        target = self._firsts[1][targets * TARGETS_AT_ONCE : (targets + 1) * TARGETS_AT_ONCE, None] + into
        source, target = (column.copy() for column in np.broadcast_arrays(source, target))
        pairs = source.ravel(), target.ravel()
        return Found(source, target, self._transfers.paths(*pairs).reshape(source.shape), self._transfers.carries(*pairs))


def _sends(by_rank: list[list[UnitSend]]) -> tuple[IntArray, IntArray, list[tuple[slice, list[list[int]]]]]:
    every = [send for sends in by_rank for send in sends]
    out, into = np.array([(send.source_rank, send.target_rank) for send in every], dtype=np.int64).T.copy()
    ends = accumulate([len(sends) for sends in by_rank], initial=0)
    units = [[list(part) for part in zip(*[send.units for send in sends], strict=True)] for sends in by_rank]
    return out, into, [(slice(*place), of_rank) for place, of_rank in zip(pairwise(ends), units, strict=True)]


@dataclass(slots=True, eq=False)
class Shipment:
    """State of one request's KV on its way.

    ``ready_tokens`` exist; ``foreseen`` are the ends of iterations under way and the tokens that then exist; ``shipped_tokens``
    have been pushed; ``last_posted`` once the push that completes the prompt is among them; ``failed`` once a push has no path.
    ``held_tokens`` lie at the decode node, so that whole pages of them are left out. ``starts_s`` and ``push_bytes`` are when
    each push reaches the network, and what it holds; ``under_way`` counts those that somebody waits for.
    """

    request: int
    input_tokens: int
    lane: Lane
    group: int = -1
    shipped_tokens: int = 0
    ready_tokens: int = 0
    foreseen: Sequence[tuple[float, int]] = ()
    granted: bool = False
    last_posted: bool = False
    failed: bool = False
    starts_s: list[float] = field(default_factory=list)
    push_bytes: list[int] = field(default_factory=list)
    under_way: int = 0
    held_tokens: int = 0

    @property
    def may_push(self) -> bool:
        """Whether anything of it may go now, or yet."""
        return self.granted and not (self.last_posted or self.failed)

    def bytes_before(self, end_s: float) -> int:
        """Return the bytes of pushes that reached the network before a time."""
        return sum(size for start_s, size in zip(self.starts_s, self.push_bytes, strict=True) if start_s < end_s)


class KvShipper:
    """Pushes KV as the engine does, once the decode node has made room.

    Parameters
    ----------
    env, transfers
        Clock and network.
    plan : KvPushes
        What may go out as tokens come to exist.
    setup_s : float
        Control-plane time before a push reaches the network.
    on_post, on_arrival : callable
        Called with a shipment when its last push is posted and when all of it has arrived.
    on_failure : callable
        Called with a shipment, once, when a push has no path; nothing of it is sent from then on.
    recorder : Recorder
        Told of every push.
    on_push : callable, optional
        ``on_push(shipment, begins)``: called when each push begins, its set-up included, and when it has arrived, for who waits
        for single pushes; then none may be foreseen.
    """

    def __init__(
        self, env: Clock, transfers: Transfers, plan: KvPushes, setup_s: float,
        on_post: Callable[[Shipment, float], None], on_arrival: Callable[[Shipment], None],
        on_failure: Callable[[Shipment], None], recorder: Recorder, on_push: Callable[[Shipment, bool], None] | None = None,
    ):  # fmt: skip
        self._env, self._transfers, self._plan, self._setup_s = env, transfers, plan, setup_s
        self._on_post, self._on_arrival, self._on_failure, self._recorder = on_post, on_arrival, on_failure, recorder
        self._on_push = on_push

    def prepare(self, request: int, input_tokens: int, lane: Lane) -> Shipment:
        """Return a shipment that starts pushing once the decode node has granted room."""
        shipment = Shipment(request, input_tokens, lane)
        if self._on_push is None:
            shipment.group = self._transfers.open_group(partial(self._on_arrival, shipment))
        return shipment

    def computed(self, shipment: Shipment, tokens: int) -> None:
        """Note that the KV of the first ``tokens`` of a prompt exists, and push what may go."""
        shipment.ready_tokens, shipment.foreseen = tokens, ()
        if shipment.may_push:
            self._push(shipment, [(self._env.now, tokens)])

    def foresee(self, shipment: Shipment, ends: Sequence[tuple[float, int]]) -> None:
        """Note when how many tokens are going to exist, and let the pushes wait for that."""
        shipment.foreseen = ends
        if shipment.may_push:
            self._push(shipment, ends)

    def grant(self, shipment: Shipment, held_tokens: int) -> None:
        """Note that the decode node has made room, and that it holds some tokens of the prompt; push what may go."""
        shipment.granted, shipment.held_tokens = True, held_tokens
        shipment.shipped_tokens = held_tokens // self._plan.page_tokens * self._plan.page_tokens
        if not (shipment.ready_tokens or shipment.foreseen):
            return
        now, existing, ahead = self._env.now, shipment.ready_tokens, []
        for end_s, tokens in shipment.foreseen:
            if end_s > now:
                ahead.append((end_s, tokens))
            else:
                existing = max(existing, tokens)
        if shipment.may_push:
            self._push(shipment, [(now, existing), *ahead])

    def _push(self, shipment: Shipment, ends: Sequence[tuple[float, int]]) -> None:
        """Push what may go at some moments, each with the tokens that exist then."""
        lane, plan = shipment.lane, self._plan
        starts_s: list[float] = []
        pushed_bytes: list[list[int]] = []
        for end_s, tokens in ends:
            push = plan.ready(shipment.shipped_tokens, tokens, shipment.input_tokens, shipment.held_tokens)
            if push is None:
                continue
            size_bytes = lane.size_bytes(plan.unit_bytes(push))
            shipment.shipped_tokens, shipment.last_posted = push.end, push.is_last
            if not (push.is_last or any(size_bytes)):
                # Windows and states go with the last push.
                continue
            starts_s.append(end_s + self._setup_s)
            pushed_bytes.append(size_bytes)
            if push.is_last:
                self._on_post(shipment, end_s)
            if not lane.joined:
                break
        if not starts_s:
            return
        # Whose GPUs send is found only for one who writes it down.
        prepared = None
        if self._recorder.keeps_order:
            prepared = self._recorder.prepares(shipment.request, lane.source_gpus, self._setup_s)
        if not lane.joined:
            self._env.at(starts_s[0], self._fail, shipment)
            return
        if prepared is not None:
            first = np.array(pushed_bytes[0], dtype=np.int64)
            full = first > 0
            told = shipment.request, lane.source_gpus[full], lane.target_gpus[full], first[full], prepared[full]
            self._env.at(starts_s[0], self._recorder.pushes, *told)
        paths, sizes, start_s = lane.rows(pushed_bytes, starts_s)
        shipment.starts_s += starts_s
        shipment.push_bytes += sizes if len(starts_s) == len(sizes) == 1 else map(sum, pushed_bytes)
        group, is_last = shipment.group, shipment.last_posted
        if self._on_push is not None:
            group, is_last = self._transfers.open_group(partial(self._push_ends, shipment)), True
            shipment.under_way += 1
            self._on_push(shipment, True)
        if self._setup_s > 0:
            self._transfers.post(group, paths, sizes, start_s, shipment.request, is_last)
        else:
            # After whatever else sends at this moment.
            self._env.after(0.0, self._transfers.post, group, paths, sizes, start_s, shipment.request, is_last)

    def _push_ends(self, shipment: Shipment) -> None:
        assert self._on_push is not None
        shipment.under_way -= 1
        if shipment.last_posted and not shipment.under_way:
            self._on_arrival(shipment)
        self._on_push(shipment, False)

    def _fail(self, shipment: Shipment) -> None:
        if not shipment.failed:
            shipment.failed = True
            self._on_failure(shipment)
