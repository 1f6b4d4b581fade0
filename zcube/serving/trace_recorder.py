"""A run written down as a communication trace: what was computed and sent, and what each operation waited for.

The waits are what let an operation start in the run, so that a replay on another fabric shows how the engine would react. What
was decided stays decided: which nodes serve a request, which prompts share an iteration, which requests a batch, who got room
without waiting for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray, distinct
from zcube.errors import RunError
from zcube.fabric.model import Fabric
from zcube.llm.exchanges import ExchangeParts
from zcube.memory import check_memory
from zcube.node import GPUS_PER_NODE
from zcube.serving.clock import seconds_between
from zcube.serving.placement import Seated, place
from zcube.serving.recording import Recorder
from zcube.serving.settings import ServingSettings
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import NONE, CommTrace

#: Operations that are kept at most, and the memory of one while the trace is put together.
MOST_OPERATIONS, BYTES_PER_OPERATION = 1 << 24, 400
_CHECKED_EVERY = 1 << 20


@dataclass(slots=True)
class _Request:
    """What a request's next operations wait for."""

    arrival_s: float
    arrival: list[int]
    first: int = NONE
    computed: IntArray | None = None
    memory: list[int] = field(default_factory=list)
    room: int = NONE
    sent: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Stretch:
    """Decode steps of one batch that have not been written down yet."""

    start_s: float
    end_s: float
    joined: list[int]


@dataclass(slots=True)
class _Room:
    """Of a decode node since something waited there: the last room given, and what has been freed after it."""

    given: int = NONE
    freed: list[int] = field(default_factory=list)


class TraceRecorder(Recorder):
    """Keeps a run as a trace whose ranks are the fabric's GPUs.

    Parameters
    ----------
    gpus : int
        GPUs of the fabric.
    blocks : bool
        Whether an instance's iterations wait for its pushes.
    asks_first : bool
        Whether prompts wait for room at decode before they start.
    seated : Seated, optional
        Where nodes are, which are told of by their first GPUs; default: nodes of eight.
    """

    keeps_order = True

    def __init__(self, gpus: int, blocks: bool = False, asks_first: bool = False, seated: Seated | None = None):
        self._blocks, self._asks_first = blocks, asks_first
        self._sizes = {} if seated is None else seated.sizes()
        self._builder = TraceBuilder(gpus, GPUS_PER_NODE if seated is None else seated.server_gpus)
        self._checked = 0
        #: The operation after which each GPU goes on.
        self._last: IntArray = np.full(gpus, NONE, dtype=np.int64)
        self._requests: dict[int, _Request] = {}
        # By the first server of an instance: earliest start and waits of an iteration begun, and transfers under way.
        self._begun: dict[int, tuple[float, list[int]]] = {}
        #: First servers of decode instances of several nodes.
        self._decoding: set[int] = set()
        self._exchanged: dict[int, list[int]] = {}
        self._stretches: dict[int, _Stretch] = {}
        self._rooms: dict[int, _Room] = {}
        #: Of a prefill server: transfers of what has freed memory since some was short, and pushes no iteration has waited for.
        self._freeing: dict[int, list[int]] = {}
        self._pushed: dict[int, list[int]] = {}

    @classmethod
    def of(cls, fabric: Fabric, settings: ServingSettings) -> TraceRecorder:
        """Return the recorder of a run with some settings."""
        return cls(fabric.gpus, settings.kv.blocking == "step", settings.decode.asked_first, place(fabric, settings))

    def trace(self, metadata: Mapping[str, Any]) -> CommTrace:
        """Return what has been recorded."""
        for server in list(self._stretches):
            self._write_stretch(server)
        return self._builder.build(metadata)

    def arrived(
        self, request: int, at_s: float, after: Sequence[int] = (), follows: int | None = None, delay_s: float = 0.0
    ) -> None:
        """Keep what a prompt's computation waits for: the time of its arrival, and the requests that ended.

        The delay after the one that it follows is written as a computation of GPU 0: no GPU waits for it.
        """
        waits = [operation for ended in after for operation in self._requests[ended].ended]
        if follows is not None:
            before = self._requests[follows]
            start_s = 0.0 if before.ended else before.arrival_s
            waits += self._builder.compute("next-turn", 0, delay_s, phase="wait", start_s=start_s, after=before.ended).tolist()
        self._requests[request] = _Request(at_s, waits)

    def ended(self, request: int) -> None:
        """Keep what ended a request: the arrival of its cache, or, as it was rejected, what let it arrive."""
        state = self._requests[request]
        state.ended = state.sent or state.arrival

    def iteration(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Keep what an iteration waits for beside the one before it: its new prompts."""
        states = [self._requests[request] for request in requests]
        earliest_s = max((state.arrival_s for state in states), default=0.0)
        waits = [wait for state in states for wait in (*state.arrival, *state.memory)]
        if self._asks_first:
            waits += [state.room for state in states if state.room != NONE]
        for server in servers:
            waits += self._pushed.pop(server, [])
        self._begun[servers[0]] = earliest_s, waits

    def joins(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Keep what the next steps wait for beside those before them: what has come for the requests that join."""
        self._decoding.add(servers[0])
        self._begun[servers[0]] = 0.0, [wait for request in requests for wait in self._requests[request].sent]

    def leaves(self, servers: Sequence[int], requests: Sequence[int]) -> None:
        """Keep what ended requests."""
        for request in requests:
            self._requests[request].ended = distinct(self._last[self._gpus(servers)]).tolist()

    def _phase(self, servers: Sequence[int]) -> str:
        return "decode" if servers[0] in self._decoding else "prefill"

    def exchanges(
        self, servers: Sequence[int], source: IntArray, target: IntArray, size_bytes: IntArray, alone: ExchangeParts
    ) -> None:
        """Write transfers that wait for their sender; beside and after them, what DeepEP takes of its own."""
        self._check_room()
        phase, gpus = self._phase(servers), self._gpus(servers)
        start_s, waits = self._begun.get(servers[0], (0.0, []))
        rows = self._builder.transfer(
            "expert-exchange", source, target, size_bytes, phase=phase, start_s=start_s, after=[self._last[source], *waits]
        ).tolist()
        if alone.data_s or alone.latency_s:
            before = [*distinct(self._last[gpus]).tolist(), *waits]
            rows += self._builder.compute(
                "exchange-alone", gpus[0], alone.data_s, phase=phase, start_s=start_s, after=before
            ).tolist()
            rows = self._builder.compute("exchange-latency", gpus[0], alone.latency_s, phase=phase, after=rows).tolist()
        self._exchanged[servers[0]] = rows

    def computes(self, servers: Sequence[int], seconds: float) -> None:
        """Write a computation per GPU, which waits for that GPU."""
        self._check_room()
        gpus = self._gpus(servers)
        start_s, waits = self._begun.pop(servers[0], (0.0, []))
        phase = self._phase(servers)
        name = "decode-steps" if phase == "decode" else "prefill-chunk"
        self._last[gpus] = self._builder.compute(
            name, gpus, seconds, phase=phase, start_s=start_s, after=[self._last[gpus], *waits]
        )

    def meets(self, servers: Sequence[int]) -> None:
        """Write a computation without length that waits for an exchange and for all GPUs of the instance."""
        gpus = self._gpus(servers)
        waits = [*self._exchanged.pop(servers[0]), *distinct(self._last[gpus]).tolist()]
        self._last[gpus] = self._builder.compute("nodes-in-step", gpus[0], 0.0, phase=self._phase(servers), after=waits)

    def computed(self, request: int, server: int) -> None:
        """Keep what the next push of a prompt waits for."""
        self._requests[request].first = server
        self._requests[request].computed = self._last[self._gpus([server])]

    def lacks_memory(self, server: int) -> None:
        """Keep from now on whose transfers free memory."""
        self._freeing.setdefault(server, [])

    def frees_memory(self, server: int, request: int) -> None:
        """Keep the transfers that freed memory which a prompt waits for."""
        if server in self._freeing:
            self._freeing[server] += self._requests[request].sent

    def has_memory(self, server: int, request: int) -> None:
        """Let a prompt wait for what made room for it."""
        self._requests[request].memory = self._freeing.pop(server, [])

    def prompt_at_decode(self, server: int, request: int, seconds: float) -> None:
        """Write a computation per GPU, which waits for the steps before it, for the prompt and for its room."""
        self._check_room()
        if server in self._stretches:
            self._write_stretch(server)
        state, gpus = self._requests[request], self._gpus([server])
        waits = [*state.arrival, *([state.room] if state.room != NONE else [])]
        self._last[gpus] = self._builder.compute(
            "prefill-chunk", gpus, seconds, phase="prefill", start_s=state.arrival_s, after=[self._last[gpus], *waits]
        )
        state.sent = [int(self._last[gpus[0]])]

    def takes_over(self, request: int, ended: int) -> None:
        """Let a prompt wait for the end of the request whose node it gets."""
        state = self._requests[request]
        state.arrival = [*state.arrival, *self._requests[ended].ended]

    def taken_in(self, server: int, request: int, convert_s: float, inject_s: float) -> None:
        """Write a computation of GPU 0, which waits for the cache, and one of all GPUs after it."""
        state, gpus = self._requests[request], self._gpus([server])
        after: list[ArrayLike] = [self._last[gpus[:1]], *state.sent]
        converted = self._builder.compute("kv-convert", gpus[:1], convert_s, phase="decode", after=after)
        self._last[gpus] = self._builder.compute(
            "kv-inject", gpus, inject_s, phase="decode", after=[self._last[gpus], *converted]
        )
        state.sent = [int(self._last[gpus[0]])]

    def reserves(self, server: int, is_first: bool) -> None:
        """Forget what was freed before anything waited for it."""
        if is_first:
            self._rooms[server] = _Room()

    def released(self, server: int, request: int) -> None:
        """Keep whose end made room."""
        self._rooms[server].freed += self._requests[request].ended

    def granted(self, server: int, request: int) -> None:
        """Write, where a request had to wait, a computation without length after what made room and the room given before."""
        room = self._rooms[server]
        if room.freed or room.given != NONE:
            waits = [room.given, *room.freed]
            room.given = int(self._builder.compute("kv-room", server, 0.0, phase="kv", after=waits)[0])
            room.freed = []
        self._requests[request].room = room.given

    def prepares(self, request: int, source: IntArray, seconds: float) -> IntArray:
        """Write the set-up per sender, which waits for its chunk and for room."""
        self._check_room()
        state = self._requests[request]
        assert state.computed is not None
        waits: list[ArrayLike] = [state.computed[source - state.first], state.room]
        return self._builder.compute("kv-setup", source, seconds, phase="kv", after=waits)

    def pushes(self, request: int, source: IntArray, target: IntArray, size_bytes: IntArray, prepared: IntArray | None) -> None:
        """Write transfers that wait for their set-up."""
        assert prepared is not None
        rows = self._builder.transfer("kv-write", source, target, size_bytes, phase="kv", after=[prepared])
        self._requests[request].sent += rows.tolist()
        if self._blocks:
            self._pushed.setdefault(self._requests[request].first, []).extend(rows.tolist())

    def decodes(self, server: int, start_s: float, end_s: float, joined: Sequence[int], finished: Sequence[int]) -> None:
        """Write, once a batch changes, its steps as a computation per GPU, which waits for the last one and for what joined."""
        stretch = self._stretches.get(server)
        if stretch is not None and not joined:
            stretch.end_s = end_s
        else:
            if stretch is not None:
                self._write_stretch(server)
            self._stretches[server] = _Stretch(start_s, end_s, list(joined))
        if finished:
            number = self._write_stretch(server)
            for request in finished:
                self._requests[request].ended = [number]

    def _write_stretch(self, server: int) -> int:
        self._check_room()
        stretch, gpus = self._stretches.pop(server), self._gpus([server])
        waits = [wait for request in stretch.joined for wait in self._requests[request].sent]
        seconds = seconds_between(stretch.start_s, stretch.end_s)
        self._last[gpus] = self._builder.compute(
            "decode-steps", gpus, seconds, phase="decode", after=[self._last[gpus], *waits]
        )
        return int(self._last[gpus[0]])

    def _check_room(self) -> None:
        count = len(self._builder)
        if count > MOST_OPERATIONS:
            most = f"at most {MOST_OPERATIONS} operations are recorded"
            raise RunError(f"{most}, which are not all of this run: take fewer requests or a horizon")
        if count >= self._checked + _CHECKED_EVERY:
            self._checked = count
            check_memory(count * BYTES_PER_OPERATION, None, f"a trace of {count} operations")

    def _gpus(self, firsts: Sequence[int]) -> IntArray:
        """Return the GPUs of nodes, of one instance, by their first ones."""
        size = self._sizes.get(firsts[0], GPUS_PER_NODE)
        return (np.asarray(firsts, dtype=np.int64)[:, None] + np.arange(size)).ravel()
