"""Exchanges of experts over nodes while a run goes on: bytes on the fabric's links, DeepEP's own time, and computation.

An exchange ends when the last of its bytes has arrived, not before its device's figures say for an idle fabric
(:mod:`zcube.llm.exchanges`); what these take whatever is sent comes on top of either. Exchanges of several layers, or of
several steps, are sent together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.devices import Exchanges
from zcube.llm.exchanges import NO_PARTS, ExchangeParts, low_latency_parts
from zcube.llm.expert_traffic import (
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.layer_times import LayerTimes, PrefillLayer
from zcube.llm.schedules.low_latency_plan import LowLatencyPlan
from zcube.node import GPUS_PER_NODE
from zcube.serving.clock import seconds_between
from zcube.serving.overlap import Stages, stages_of
from zcube.serving.pools import DecodePool, PrefillPool
from zcube.serving.prefill_bursts import PrefillBursts
from zcube.serving.recording import Recorder
from zcube.serving.transfers import Transfers


class ExpertGroup:
    """GPUs of an instance that sends experts' tokens between its nodes.

    Parameters
    ----------
    env, transfers, recorder
        Clock, network, and who is told.
    servers : sequence of int
        First GPUs of its nodes, in order.
    gpus_per_node : int
        GPUs of each.
    source, target : int array [pairs]
        Who sends to whom, GPUs numbered within the group.
    """

    def __init__(
        self, env: simpy.Environment, transfers: Transfers, recorder: Recorder, servers: Sequence[int],
        gpus_per_node: int, source: IntArray, target: IntArray,
    ):  # fmt: skip
        self._env, self._transfers, self._recorder = env, transfers, recorder
        self.servers = list(servers)
        self._source, self._target = (_on_nodes(self.servers, gpus_per_node, gpus) for gpus in (source, target))
        #: Whether its nodes reach each other.
        self.carried = transfers.carries(self._source, self._target)
        self._paths = transfers.paths(self._source, self._target) if self.carried else self._source
        #: Pairs of the last burst, who sends to whom in it and over which paths: those of the next are mostly the same.
        self._last = (self._paths, self._source, self._target, self._paths)

    def burst(
        self,
        pair: IntArray,
        size_bytes: IntArray,
        alone: ExchangeParts,
        compute_s: float,
        overlap: bool,
        stages: Stages | None = None,
    ) -> simpy.events.ProcessGenerator:
        """Let exchanges that are sent together pass, and what is computed with them.

        Parameters
        ----------
        pair, size_bytes : int array [transfers]
            Pairs of GPUs by number, and what they send; pairs in the same array are known again.
        alone : ExchangeParts
            What the exchanges take on an idle fabric.
        compute_s : float
            Computation.
        overlap : bool
            Whether it runs beside exchanges, or after them.
        stages : Stages, optional
            What of it the exchanges run beside; default: of all, or of nothing.
        """
        env, recorder, start_s = self._env, self._recorder, self._env.now
        if self._last[0] is not pair:
            self._last = pair, self._source[pair], self._target[pair], self._paths[pair]
        _, source, target, paths = self._last
        recorder.exchanges(self.servers, source, target, size_bytes, alone)
        if overlap:
            recorder.computes(self.servers, compute_s)
        recorder.meets(self.servers)
        if not overlap:
            recorder.computes(self.servers, compute_s)
        if len(pair):
            yield self._transfers.send(paths, size_bytes)
        end_s = max(env.now, start_s + alone.data_s) + alone.latency_s
        if stages is not None:
            end_s = start_s + stages.seconds(end_s - start_s)
        else:
            end_s = max(end_s, start_s + compute_s) if overlap else end_s + compute_s
        yield env.timeout(seconds_between(env.now, end_s))


class PrefillExchange:
    """DeepEP's normal mode: an iteration's exchanges, in bursts of whole layers.

    Parameters
    ----------
    group : ExpertGroup
        Over the plan's rail pairs.
    bursts : PrefillBursts
        What iterations send.
    pool : PrefillPool
        Says what overlaps.
    """

    def __init__(self, group: ExpertGroup, bursts: PrefillBursts, pool: PrefillPool):
        self._group, self._bursts = group, bursts
        self._overlap, self._in_stages, self._sm_share = pool.expert_overlap, pool.expert_stages, pool.expert_sm_share

    @property
    def carried(self) -> bool:
        """Whether its nodes reach each other."""
        return self._group.carried

    def iteration(
        self, node_tokens: tuple[int, ...], compute_s: float, layer: Callable[[], PrefillLayer]
    ) -> simpy.events.ProcessGenerator:
        """Let an iteration pass in which nodes compute so many tokens; ``layer`` has the computation of the slowest node."""
        stages, layers = self._stages(layer(), compute_s) if self._in_stages else None, self._bursts.layers
        for burst in self._bursts.of(node_tokens):
            yield from self._group.burst(
                burst.pair, burst.size_bytes, burst.alone, compute_s * burst.layers / layers, self._overlap,
                None if stages is None else stages.part(burst.layers / layers),
            )  # fmt: skip

    def _stages(self, layer: PrefillLayer, compute_s: float) -> Stages:
        """Return what of an iteration's computation its exchanges run beside."""
        card, of_layer = self._bursts.plan.routing.card, (layer.attention_s, layer.experts_s, layer.shared_s)
        sent = normal_dispatch_bytes(card.hidden, card.experts_per_token)
        share = sent / (sent + normal_combine_bytes(card.hidden, card.experts_per_token))
        return stages_of("prefill", self._bursts.layers, of_layer, compute_s, share, self._sm_share)


class DecodeExchange:
    """DeepEP's low-latency mode: a batch's exchanges, in bursts of whole steps.

    Parameters
    ----------
    group : ExpertGroup
        Over the plan's pairs, turn by turn.
    plan : LowLatencyPlan
        What is sent in a step.
    exchanges, nic_gbps
        As :class:`~zcube.serving.prefill_bursts.PrefillBursts`.
    pool : DecodePool
        Says what overlaps, how many steps a burst has, and whether all pairs of GPUs send in each.
    domains : int, optional
        As :class:`~zcube.serving.prefill_bursts.PrefillBursts`.
    """

    def __init__(
        self, group: ExpertGroup, plan: LowLatencyPlan, exchanges: Exchanges | None, nic_gbps: float, pool: DecodePool,
        domains: int | None = None,
    ):  # fmt: skip
        self._domains = domains or plan.routing.nodes
        self._group, self._plan, self._exchanges, self._nic_gbps, self._pool = group, plan, exchanges, nic_gbps, pool
        self.burst_steps, self.whole_bursts = pool.expert_burst_steps, pool.expert_whole_bursts
        self.in_stages = pool.expert_stages
        self._turn = 0
        #: Of the batch of the last burst: its requests, what a step sends, and takes on an idle fabric.
        self._known: tuple[int, IntArray, ExchangeParts] = (0, np.zeros((0, 0), dtype=np.int64), NO_PARTS)
        #: Of such a step the pairs that send, and how much, by turn.
        self._sent: dict[int, tuple[IntArray, IntArray]] = {}

    @property
    def carried(self) -> bool:
        """Whether its nodes reach each other."""
        return self._group.carried

    def halved(self, requests: int) -> bool:
        """Return whether a batch is cut in two, of which one computes while the other exchanges: on every GPU, or on none."""
        return self._pool.expert_overlap and requests >= 2 * self._plan.routing.ranks

    def microbatches(self, requests: int) -> list[IntArray]:
        """Return which requests of a batch run one after the other: all, or every other round of the deal."""
        everyone = np.arange(requests)
        if not self.halved(requests):
            return [everyone]
        rounds = everyone // self._plan.routing.ranks
        return [everyone[rounds % 2 == 0], everyone[rounds % 2 == 1]]

    def stages(
        self, contexts: list[IntArray], compute: LayerTimes, steps: int, compute_s: float, faster: float
    ) -> Stages | None:
        """Return what of the computation of some steps exchanges run beside; None where a batch is too small to be cut in two.

        Parameters
        ----------
        contexts : list of int array
            Of the microbatches.
        compute : LayerTimes
            Times of single layers.
        steps : int
            Steps.
        compute_s : float
            All their computation.
        faster : float
            By which a step is faster than one without speculative decoding.
        """
        if len(contexts) == 1:
            return None
        routing = self._plan.routing
        card, of_layer = routing.card, np.zeros(3)
        for batch in contexts:
            # The first node's requests, in the order of the deal.
            layer = compute.decode_layer(
                batch[np.arange(len(batch)) % routing.ranks < routing.gpus_per_node], ep_nodes=routing.nodes
            )
            of_layer += np.array([layer.attention_s, layer.experts_s, layer.shared_s]) * steps / faster
        sent = low_latency_dispatch_bytes(card.hidden)
        share = sent / (sent + low_latency_combine_bytes(card.hidden))
        attention_s, experts_s, shared_s = of_layer.tolist()
        return stages_of("decode", card.moe_layers, (attention_s, experts_s, shared_s), compute_s, share)

    def steps(self, requests: int, steps: int, compute_s: float, stages: Stages | None = None) -> simpy.events.ProcessGenerator:
        """Let steps of a batch pass that compute so long together."""
        if self._known[0] != requests:
            self._known = requests, *self._step(requests)
            self._sent.clear()
        turn = self._turn
        if self._pool.expert_pairs != "all":
            self._turn = (turn + 1) % self._plan.routing.gpus_per_node
        sent = self._sent.get(turn)
        if sent is None:
            sent = self._sent[turn] = self._in_turn(turn)
        pair, size_bytes = sent
        overlap, times = self.halved(requests), self._known[2].times(steps)
        yield from self._group.burst(pair, size_bytes * steps, times, compute_s, overlap, stages)

    def _in_turn(self, turn: int) -> tuple[IntArray, IntArray]:
        """Return the pairs that send in a step of the batch of the last burst, and how much."""
        sent = self._known[1]
        if self._pool.expert_pairs == "all":
            pair, size_bytes = np.arange(sent.size), sent.ravel()
        else:
            # Every GPU sends to one of each other node, in turn to all, what is for that node.
            pair, size_bytes = np.arange(sent.shape[1]) + turn * sent.shape[1], sent.sum(axis=0)
        full = size_bytes > 0
        return pair[full], size_bytes[full]

    def _step(self, requests: int) -> tuple[IntArray, ExchangeParts]:
        routing, alone = self._plan.routing, NO_PARTS
        batches = [dealt_to_gpus(len(rows), routing.nodes, routing.gpus_per_node) for rows in self.microbatches(requests)]
        if self._exchanges is not None:
            for tokens in batches:
                size = routing.ranks // self._domains
                alone = alone.then(
                    low_latency_parts(routing.card, self._exchanges, self._domains, float(tokens.max()), self._nic_gbps, size)
                )
        return self._plan.step_bytes(batches), alone.times(routing.card.moe_layers)


def dealt_to_gpus(requests: int, nodes: int, gpus_per_node: int = GPUS_PER_NODE) -> IntArray:
    """Return the requests of each GPU of a group [ranks] when a batch is dealt out node by node."""
    share, rest = divmod(requests, nodes * gpus_per_node)
    node, gpu = np.divmod(np.arange(nodes * gpus_per_node), gpus_per_node)
    tokens: IntArray = share + (gpu * nodes + node < rest)
    return tokens


def _on_nodes(firsts: Sequence[int], gpus_per_node: int, gpus: IntArray) -> IntArray:
    """Return the fabric's numbers of GPUs that are numbered within an instance."""
    node, rail = np.divmod(gpus.ravel(), gpus_per_node)
    return np.asarray(firsts, dtype=np.int64)[node] + rail
