"""KV transfer of one request: pushes from its prefill node to its decode node, as the engine's plan has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.schedules.kv_plans import KvPushes
from zcube.node import GPUS_PER_NODE
from zcube.serving.recording import Recorder
from zcube.serving.transfers import KV, Transfers

#: Decode nodes to which paths are found together.
TARGETS_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """What joins a data-parallel rank of a prefill node to one of a decode node: a row per pair of GPUs that send.

    ``paths`` are their numbers in the network; ``layers`` those that each pair carries, together ``all_layers``; ``carried`` is
    False where failures leave a pair without a path.
    """

    source_gpus: IntArray
    target_gpus: IntArray
    layers: IntArray
    all_layers: int
    paths: IntArray
    carried: bool


class Lanes:
    """Lanes from prefill to decode nodes, found for many targets at once when a source first sends.

    Parameters
    ----------
    transfers : Transfers
        Network.
    plan : KvPushes
        Which GPUs send between two ranks.
    targets : sequence of int
        Servers of the decode nodes.
    """

    def __init__(self, transfers: Transfers, plan: KvPushes, targets: Sequence[int]):
        self._transfers, self._plan, self._targets = transfers, plan, targets
        self._lanes: dict[tuple[int, int, int, int], Lane] = {}

    def lane(self, source_server: int, source_rank: int, target_node: int, target_rank: int) -> Lane:
        """Return the lane between a rank of a server and one of a decode node."""
        key = source_server, source_rank, target_node, target_rank
        if key not in self._lanes:
            self._find(source_server, source_rank, target_node // TARGETS_AT_ONCE * TARGETS_AT_ONCE)
        return self._lanes[key]

    def _find(self, source_server: int, source_rank: int, first_node: int) -> None:
        nodes = range(first_node, min(first_node + TARGETS_AT_ONCE, len(self._targets)))
        keys = [(node, rank) for node in nodes for rank in range(self._plan.ranks.decode_dp)]
        sends = [np.array(self._plan.sends(source_rank, rank), dtype=np.int64).T for rank in range(self._plan.ranks.decode_dp)]
        source = [source_server * GPUS_PER_NODE + sends[rank][0] for _, rank in keys]
        target = [self._targets[node] * GPUS_PER_NODE + sends[rank][1] for node, rank in keys]
        paths = self._transfers.paths(np.concatenate(source), np.concatenate(target))
        first = 0
        for (node, rank), source_gpus, target_gpus in zip(keys, source, target, strict=True):
            layers = sends[rank][2]
            self._lanes[source_server, source_rank, node, rank] = Lane(
                source_gpus, target_gpus, layers, int(layers.sum()), paths[first : first + len(layers)],
                self._transfers.carries(source_gpus, target_gpus),
            )  # fmt: skip
            first += len(layers)


@dataclass(slots=True)
class Shipment:
    """State of one request's KV on its way.

    ``shipped_tokens`` have been pushed; ``open_pushes`` are on the network or in set-up; ``last_posted`` once the push that
    completes the prompt is among them; ``failed`` once a push has no path.
    """

    request: int
    input_tokens: int
    lane: Lane
    shipped_tokens: int = 0
    ready_tokens: int = 0
    open_pushes: int = 0
    granted: bool = False
    last_posted: bool = False
    failed: bool = False
    bytes_sent: int = 0


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
    """

    def __init__(
        self, env: simpy.Environment, transfers: Transfers, plan: KvPushes, setup_s: float,
        on_post: Callable[[Shipment], None], on_arrival: Callable[[Shipment], None], on_failure: Callable[[Shipment], None],
        recorder: Recorder,
    ):  # fmt: skip
        self._env, self._transfers, self._plan, self._setup_s = env, transfers, plan, setup_s
        self._on_post, self._on_arrival, self._on_failure, self._recorder = on_post, on_arrival, on_failure, recorder

    def prepare(self, request: int, input_tokens: int, lane: Lane, granted: simpy.Event) -> Shipment:
        """Return a shipment that starts pushing once the decode node has granted room."""
        shipment = Shipment(request, input_tokens, lane)
        granted.callbacks.append(lambda _: self._grant(shipment))
        return shipment

    def computed(self, shipment: Shipment, tokens: int) -> None:
        """Note that the KV of the first ``tokens`` of a prompt exists, and push what may go."""
        shipment.ready_tokens = tokens
        self._push(shipment)

    def _grant(self, shipment: Shipment) -> None:
        shipment.granted = True
        self._push(shipment)

    def _push(self, shipment: Shipment) -> None:
        if not shipment.granted or shipment.last_posted or shipment.failed:
            return
        push = self._plan.ready(shipment.shipped_tokens, shipment.ready_tokens, shipment.input_tokens)
        if push is None:
            return
        layer_bytes = self._plan.layer_bytes(push)
        shipment.shipped_tokens = push.latents[1]
        shipment.bytes_sent += shipment.lane.all_layers * layer_bytes
        shipment.open_pushes += 1
        if push.is_last:
            shipment.last_posted = True
            self._on_post(shipment)
        prepared = self._recorder.prepares(shipment.request, shipment.lane.source_gpus, self._setup_s)
        setup = self._env.timeout(self._setup_s)
        setup.callbacks.append(lambda _: self._post(shipment, layer_bytes, prepared))

    def _post(self, shipment: Shipment, layer_bytes: int, prepared: IntArray | None) -> None:
        if shipment.failed:
            return
        lane = shipment.lane
        if not lane.carried:
            shipment.failed = True
            self._on_failure(shipment)
            return
        sizes = lane.layers * layer_bytes
        self._recorder.pushes(shipment.request, lane.source_gpus, lane.target_gpus, sizes, prepared)
        self._transfers.post(lane.paths, sizes, KV, lambda _: self._arrived(shipment))

    def _arrived(self, shipment: Shipment) -> None:
        shipment.open_pushes -= 1
        if shipment.last_posted and not shipment.open_pushes:
            self._on_arrival(shipment)
