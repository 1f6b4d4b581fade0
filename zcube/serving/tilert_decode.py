"""TileRT's decode nodes in a run: one request each, whose cache is converted and injected before its first step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.llm.cards import ModelCard
from zcube.serving.clock import Clock
from zcube.serving.recording import Recorder
from zcube.serving.settings import ServingSettings

if TYPE_CHECKING:
    from zcube.llm.decode_node.request import RequestTimes


def request_times(settings: ServingSettings, card: ModelCard) -> RequestTimes:
    """Return the times of one request on the nodes that settings name.

    Raises
    ------
    InputError
        If the node cannot be read, or the model has no prediction layer for drafts.
    """
    # Only runs on such nodes take the time to load their model.
    from zcube.llm.decode_node.figures import load_node
    from zcube.llm.decode_node.request import RequestTimes

    asked = settings.decode.tilert
    node = load_node(asked.node, figures=asked.figures)
    return RequestTimes(
        card, node, settings.kv.dtype, asked.drafts, asked.accepted_tokens, asked.convert_gbytes_per_s, asked.inject_efficiency
    )


def node_step_s(settings: ServingSettings, card: ModelCard, context_tokens: int) -> float:
    """Return the time of a step of the nodes that settings name, at a context."""
    from zcube.llm.decode_node.figures import load_node
    from zcube.llm.decode_node.step import step

    asked = settings.decode.tilert
    longest = card.max_positions - asked.drafts - 1
    return step(card, load_node(asked.node, figures=asked.figures), min(context_tokens, longest), asked.drafts).total_s


def step_error(settings: ServingSettings) -> dict[str, Any] | None:
    """Return how far the node's steps are from what they were fitted to, left out of the fit if that is stated; JSON-ready.

    None with other figures than the file's, of which nothing is stated.
    """
    from zcube.llm.decode_node.figures import load_node

    if settings.decode.tilert.figures.given:
        return None
    stated = load_node(settings.decode.tilert.node).stated_error
    error = stated.get("leave-one-out") or next(iter(stated.values()), None)
    return None if error is None else error.model_dump(mode="json")


class Desk:
    """Where requests wait for a node, first come first served: the router gives a node one request at a time.

    Parameters
    ----------
    nodes : int
        Decode nodes.
    queues : bool
        Whether a request may wait; else it is to be rejected.
    """

    def __init__(self, nodes: int, queues: bool):
        self.queues = queues
        self._free = nodes
        self._waiting: deque[int] = deque()

    def take(self) -> bool:
        """Take one of the nodes, if one is free, and return whether it was."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def wait(self, request: int) -> None:
        """Let a request wait for a node."""
        self._waiting.append(request)

    def give_back(self) -> int | None:
        """Return the request that takes the node of one that has ended; None if none waits, so that the node is free."""
        if self._waiting:
            return self._waiting.popleft()
        self._free += 1
        return None


class TileRtNode:
    """A node with one receive slot, to the cluster what :class:`zcube.serving.decode.DecodeNode` is.

    Parameters
    ----------
    env : Clock
        Clock.
    times : RequestTimes
        Of one request.
    on_taken_in : callable
        ``on_taken_in(request, injected)``: called when a request's cache has been converted, and when it has been injected.
    on_finish : callable
        Called with a request's number when its last token is out, and the tokens that the node has made.
    on_step : callable
        Called with the number of a request whose first step begins, the time at which it will have ended, and the tokens that
        the node made before it.
    server : int
        Where it is placed.
    recorder : Recorder
        Told of what it does.
    """

    def __init__(
        self, env: Clock, times: RequestTimes, on_taken_in: Callable[[int, bool], None],
        on_finish: Callable[[int, int], None], on_step: Callable[[list[int], float, int], None],
        server: int, recorder: Recorder,
    ):  # fmt: skip
        self._server, self._recorder = server, recorder
        self._env, self._times = env, times
        self._on_taken_in, self._on_finish, self._on_step = on_taken_in, on_finish, on_step
        #: Tokens made for requests before the last one; of that, when steps end, and its tokens that are out then.
        self._made = 0
        self._ends_s: FloatArray = np.zeros(0)
        self._out: IntArray = np.zeros(1, dtype=np.int64)

    @property
    def instance(self) -> TileRtNode:
        """The node itself, which runs alone."""
        return self

    @property
    def carries(self) -> bool:
        """True: no exchange with other nodes could be cut off."""
        return True

    def take_rank(self) -> int:
        """Return the rank that receives: GPU 0."""
        return 0

    def reserve(self, request: int, tokens: int, granted: Callable[[], None]) -> bool:
        """Return True: the router sends a request only to a node that has none."""
        return True

    def release(self, request: int, rank: int, tokens: int) -> None:
        """Note that a request is done; the router knows that the node is free."""

    def take_in(self, request: int, tokens: int) -> None:
        """Convert and inject a request's cache, which has come."""

        def then(injected: bool) -> None:
            if injected:
                self._recorder.taken_in(self._server, request, self._times.convert_s(tokens), self._times.inject_s(tokens))
            self._on_taken_in(request, injected)
            if not injected:
                self._env.after(self._times.inject_s(tokens), then, True)

        self._env.after(self._times.convert_s(tokens), then, False)

    def join(self, request: int, context_tokens: int, tokens_left: int) -> None:
        """Make a request's tokens, from now on."""
        now = float(self._env.now)
        self._made += int(self._out[-1])
        seconds, out = self._times.steps(context_tokens, tokens_left)
        self._ends_s, self._out = now + seconds.cumsum(), np.concatenate([[0], out])
        self._on_step([request], float(self._ends_s[0]), self._made)
        end_s = float(self._ends_s[-1])

        def finish() -> None:
            self._recorder.decodes(self._server, now, end_s, [request], [request])
            self._on_finish(request, self._made + tokens_left)

        self._env.at(end_s, finish)

    def steps_before(self, time_s: float) -> int:
        """Return how many tokens came out before a time, the present or barely later."""
        return self._made + int(self._out[self._ends_s.searchsorted(time_s)])
