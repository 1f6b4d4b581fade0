"""KV transfer of one request: pushes from its prefill node to its decode node, as the engine's plan has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.schedules.kv_plans import KvPushes
from zcube.node import GPUS_PER_NODE
from zcube.serving.recording import Recorder
from zcube.serving.transfers import KV, Transfers


@dataclass(slots=True)
class Shipment:
    """State of one request's KV on its way.

    ``layers`` are those that each pair of GPUs carries; ``shipped_tokens`` have been pushed; ``open_pushes`` are on the network
    or in set-up; ``last_posted`` once the push that completes the prompt is among them; ``failed`` once a push has no path.
    """

    request: int
    input_tokens: int
    source_gpus: IntArray
    target_gpus: IntArray
    layers: IntArray
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

    def prepare(
        self, request: int, input_tokens: int, source_server: int, source_rank: int, target_server: int, target_rank: int,
        granted: simpy.Event,
    ) -> Shipment:  # fmt: skip
        """Return a shipment that starts pushing once the decode node has granted room."""
        source, target, layers = np.array(self._plan.sends(source_rank, target_rank), dtype=np.int64).T
        shipment = Shipment(
            request, input_tokens, source_server * GPUS_PER_NODE + source, target_server * GPUS_PER_NODE + target, layers
        )
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
        sizes = shipment.layers * self._plan.layer_bytes(push)
        shipment.shipped_tokens = push.latents[1]
        shipment.bytes_sent += int(sizes.sum())
        shipment.open_pushes += 1
        if push.is_last:
            shipment.last_posted = True
            self._on_post(shipment)
        prepared = self._recorder.prepares(shipment.request, shipment.source_gpus, self._setup_s)
        setup = self._env.timeout(self._setup_s)
        setup.callbacks.append(lambda _: self._post(shipment, sizes, prepared))

    def _post(self, shipment: Shipment, sizes: IntArray, prepared: IntArray | None) -> None:
        if shipment.failed:
            return
        if not self._transfers.carries(shipment.source_gpus, shipment.target_gpus):
            shipment.failed = True
            self._on_failure(shipment)
            return
        self._recorder.pushes(shipment.request, shipment.source_gpus, shipment.target_gpus, sizes, prepared)
        sent = self._transfers.send(shipment.source_gpus, shipment.target_gpus, sizes.astype(np.float64), KV)
        sent.callbacks.append(lambda _: self._arrived(shipment))

    def _arrived(self, shipment: Shipment) -> None:
        shipment.open_pushes -= 1
        if shipment.last_posted and not shipment.open_pushes:
            self._on_arrival(shipment)
