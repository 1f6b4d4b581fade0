"""KV transfer of one request: pushes from its prefill node to its decode node, by the rank map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import simpy

from zcube.llm.cards import ModelCard
from zcube.llm.kv import PAGE_TOKENS, KvLayout, kv_bytes
from zcube.llm.rankmap import RankMap
from zcube.node import GPUS_PER_NODE
from zcube.serving.settings import KvTransfer
from zcube.serving.transfers import KV, Transfers


@dataclass(slots=True)
class Shipment:
    """State of one request's KV on its way.

    ``shipped_tokens`` have been pushed; ``open_pushes`` are on the network or in set-up; ``last_posted`` once the push that
    completes the prompt is among them.
    """

    request: int
    input_tokens: int
    source_gpus: np.ndarray
    target_gpus: np.ndarray
    fractions: np.ndarray
    shipped_tokens: int = 0
    ready_tokens: int = 0
    open_pushes: int = 0
    granted: bool = False
    last_posted: bool = False
    bytes_sent: float = field(default=0.0)


class KvShipper:
    """Pushes KV as the engine does: whole pages after every chunk, or everything after the last.

    Parameters
    ----------
    env, transfers
        Clock and network.
    card, settings, ranks
        Model, transfer settings, rank map.
    on_post, on_arrival : callable
        Called with a shipment when its last push is posted and when all of it has arrived.
    """

    def __init__(
        self,
        env: simpy.Environment,
        transfers: Transfers,
        card: ModelCard,
        settings: KvTransfer,
        ranks: RankMap,
        on_post: Callable[[Shipment], None],
        on_arrival: Callable[[Shipment], None],
    ):
        self._env, self._transfers, self._card, self._settings, self._ranks = env, transfers, card, settings, ranks
        self._layout = KvLayout(settings.dtype, settings.with_mtp_layer)
        self._on_post, self._on_arrival = on_post, on_arrival

    def prepare(
        self, request: int, input_tokens: int, source_server: int, source_rank: int, target_server: int, target_rank: int,
        granted: simpy.Event,
    ) -> Shipment:  # fmt: skip
        """Return a shipment that starts pushing once the decode node has granted room."""
        sends = self._ranks.sends(source_rank, target_rank)
        source = np.array([source_server * GPUS_PER_NODE + send.source_rank for send in sends], dtype=np.int64)
        target = np.array([target_server * GPUS_PER_NODE + send.target_rank for send in sends], dtype=np.int64)
        fractions = np.array([send.fraction for send in sends])
        shipment = Shipment(request, input_tokens, source, target, fractions)
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
        last = shipment.ready_tokens == shipment.input_tokens
        if not shipment.granted or shipment.last_posted or (self._settings.push == "after-prefill" and not last):
            return
        # A page that is not full waits for the next push, except at the end of the prompt.
        tokens = shipment.ready_tokens if last else shipment.ready_tokens // PAGE_TOKENS * PAGE_TOKENS
        before, after = kv_bytes(self._card, np.array([shipment.shipped_tokens, tokens]), self._layout)
        if after <= before:
            return
        sizes = shipment.fractions * float(after - before)
        shipment.shipped_tokens = tokens
        shipment.bytes_sent += float(sizes.sum())
        shipment.open_pushes += 1
        if last:
            shipment.last_posted = True
            self._on_post(shipment)
        setup = self._env.timeout(self._settings.setup_s)
        setup.callbacks.append(lambda _: self._post(shipment, sizes))

    def _post(self, shipment: Shipment, sizes: np.ndarray) -> None:
        sent = self._transfers.send(shipment.source_gpus, shipment.target_gpus, sizes, KV)
        sent.callbacks.append(lambda _: self._arrived(shipment))

    def _arrived(self, shipment: Shipment) -> None:
        shipment.open_pushes -= 1
        if shipment.last_posted and not shipment.open_pushes:
            self._on_arrival(shipment)
