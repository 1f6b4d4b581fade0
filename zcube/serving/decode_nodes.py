"""The decode nodes of a cluster: which one a request goes to, what it holds there, and prompts that they compute themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.serving.clock import seconds_between
from zcube.serving.decode import DecodeInstance, DecodeNode, least_of
from zcube.serving.expert_exchange import DecodeExchange
from zcube.serving.pipeline import Pipeline
from zcube.serving.prefix_cache import PrefixCaches
from zcube.serving.site import Assigned, Site
from zcube.serving.tilert_decode import Desk, TileRtNode, request_times

#: In place of the requests at a decode node that takes none: more than any has.
TAKES_NONE = 1 << 60


@dataclass(frozen=True)
class DecodeHooks:
    """What nodes tell the cluster.

    Attributes
    ----------
    ready : callable
        ``ready(request)``: a TileRT node has taken its cache in, or a node has computed its prompt.
    step : callable
        ``step(requests, end_s, steps)``: their first steps begin, or have passed, and end at a time, after so many others.
    finish : callable
        ``finish(request, steps)``: its last token is out, with so many steps ended.
    """

    ready: Callable[[int], None]
    step: Callable[[list[int], float, int], None]
    finish: Callable[[int, int], None]


class DecodeNodes:
    """Decode nodes, TileRT's or conventional ones, with the prefixes that they keep.

    Parameters
    ----------
    site : Site
        Where they stand.
    hooks : DecodeHooks
        What they report.
    ranks : int
        Data-parallel attention ranks of a conventional node.
    """

    def __init__(self, site: Site, hooks: DecodeHooks, ranks: int):
        self._site, self._hooks = site, hooks
        settings, trace = site.settings, site.journeys.trace
        kept_blocks = settings.decode.prefix_cache_tokens // (trace.block_tokens or 1)
        self._caches = PrefixCaches(settings.decode.nodes, kept_blocks, trace.are_chained) if kept_blocks else None
        #: Where requests wait for a node that takes one at a time.
        self.desk: Desk | None = None
        self._nodes: list[DecodeNode | TileRtNode] = []
        if settings.decode.engine == "tilert":
            times = request_times(settings, site.card)
            self.desk = Desk(settings.decode.nodes, settings.decode.tilert.when_busy == "queue")
            self._nodes += [
                TileRtNode(site.env, times, self._on_taken_in, hooks.finish, hooks.step, server, site.recorder)
                for server in site.placed.decode
            ]
        else:
            self._nodes += self._batching_nodes(ranks)
        #: Requests of each node that have neither ended nor failed.
        self._outstanding = [0 if node.instance.carries else TAKES_NONE for node in self._nodes]
        #: The node that comes first where several are equal.
        self._turn = 0

    def _batching_nodes(self, ranks: int) -> list[DecodeNode]:
        site, pool, span = self._site, self._site.settings.decode, self._site.settings.decode.nodes_per_instance
        plan = site.settings.engine().decode_exchange(site.card) if span > 1 and site.card.moe_layers else None
        nodes = []
        for first in range(0, pool.nodes, span):
            servers = site.placed.decode[first : first + span]
            exchange: DecodeExchange | Pipeline | None = None
            if pool.pipeline_stages > 1:
                exchange = site.pipeline(servers[0], pool, pool.expert_burst_steps, pool.expert_whole_bursts)
            if plan is not None:
                group = site.expert_group(servers, pool.gpus_per_node, plan.source, plan.target)
                domains = site.placed.domains(servers)
                exchange = DecodeExchange(group, plan, site.compute.exchanges, site.nic_gbps, pool, domains)
            instance = DecodeInstance(
                site.env, site.compute, self._hooks.finish, self._hooks.step, servers, site.recorder, self._on_local_prompt,
                exchange, pool.tokens_per_step, ranks * span if pool.attention_balance == "kv" else None,
            )  # fmt: skip
            nodes += [DecodeNode(site.env, pool, ranks, server, instance, site.recorder) for server in servers]
        return nodes

    def __getitem__(self, node: int) -> DecodeNode | TileRtNode:
        return self._nodes[node]

    @property
    def carries(self) -> bool:
        """Whether any instance's nodes reach each other."""
        return min(self._outstanding) < TAKES_NONE

    def fit(self, tokens: IntArray) -> BoolArray:
        """Return whether requests of so many tokens could ever be held [requests]."""
        return np.asarray(tokens <= self._site.settings.decode.kv_tokens)

    def idlest(self) -> int:
        """Return the node with the fewest requests, of equals the one that comes first from whose turn it is on."""
        return least_of(self._outstanding, self._turn)

    def computes(self, blocks: IntArray, input_tokens: int, queued: int) -> int | None:
        """Return the node that is to compute a prompt itself; None if it is to come from a prefill node."""
        asked, caches = self._site.settings.router, self._caches
        if asked.policy != "conditional" or caches is None:
            return None
        hits = [caches.hit(node, blocks) for node in range(len(self._nodes))]
        best = min(range(len(hits)), key=lambda node: (-hits[node], self._outstanding[node]))
        new_tokens = input_tokens - hits[best] * self._site.journeys.trace.block_tokens
        is_full = asked.max_prefill_queue is not None and queued >= asked.max_prefill_queue
        return best if is_full or new_tokens <= asked.max_local_prefill_tokens else None

    def takes(self, node: int, in_turn: bool) -> int:
        """Return the rank of a node that takes the next request; where equals take turns, the next node comes first then."""
        self._outstanding[node] += 1
        if in_turn:
            self._turn = node + 1
        return self._nodes[node].take_rank()

    def reserve(self, assigned: Assigned, granted: Callable[[], None]) -> bool:
        """Return whether room for a request is held for it; else something is called when it is."""
        return self._nodes[assigned.decode_node].reserve(assigned.request, assigned.reserved_tokens, granted)

    def release(self, assigned: Assigned) -> int | None:
        """Give back what a request holds; returns the request that takes its node over, if one waits for it."""
        self._outstanding[assigned.decode_node] -= 1
        self._nodes[assigned.decode_node].release(assigned.request, assigned.target_rank, assigned.reserved_tokens)
        return None if self.desk is None else self.desk.give_back()

    def held_tokens(self, assigned: Assigned) -> int:
        """Return how many tokens of a prompt its node holds, the last one left out."""
        if self._caches is None:
            return 0
        trace = self._site.journeys.trace
        hit = self._caches.hit(assigned.decode_node, assigned.blocks)
        return min(hit * trace.block_tokens, int(trace.input_tokens[assigned.request]) - 1)

    def keep(self, assigned: Assigned) -> None:
        """Keep the blocks of a prompt whose KV has come."""
        if self._caches is not None:
            self._caches.insert(assigned.decode_node, assigned.blocks)

    def compute_prompt(self, assigned: Assigned) -> None:
        """Let a node that has room for a request compute its prompt, in chunks as a prefill node does."""
        site, request = self._site, assigned.request
        journeys, chunk = site.journeys, site.settings.prefill.chunk_tokens
        journeys.granted_s[request] = site.env.now
        held, tokens = self.held_tokens(assigned), int(journeys.trace.input_tokens[request])
        journeys.cached_tokens[request] = journeys.decode_cached_tokens[request] = held
        site.work.reach(request, held, computed=False)
        starts = range(held, tokens, chunk)
        seconds = sum(site.compute.prefill_iteration_s([min(chunk, tokens - at)], [at]) for at in starts)
        node = self._nodes[assigned.decode_node]
        assert isinstance(node, DecodeNode)
        node.instance.compute_prompt(request, seconds)

    def _on_local_prompt(self, request: int, ended: bool) -> None:
        site, journeys = self._site, self._site.journeys
        if not ended:
            journeys.prefill_start_s[request] = site.env.now
            return
        server = site.placed.decode[int(journeys.decode_node[request])]
        seconds = seconds_between(float(journeys.prefill_start_s[request]), site.env.now)
        site.recorder.prompt_at_decode(server, request, seconds)
        journeys.prefill_end_s[request] = site.env.now
        site.work.reach(request, int(journeys.trace.input_tokens[request]))
        self._hooks.ready(request)

    def _on_taken_in(self, request: int, injected: bool) -> None:
        if injected:
            self._site.journeys.injected_s[request] = self._site.env.now
            self._hooks.ready(request)
        else:
            self._site.journeys.converted_s[request] = self._site.env.now

    def steps_before(self, time_s: float) -> IntArray:
        """Return how many steps of each node end before a time, the present or barely later [nodes]."""
        return np.array([node.instance.steps_before(time_s) for node in self._nodes])

    def let_go(self) -> None:
        """Empty what only a run under way needs."""
        if self._caches is not None:
            vars(self._caches).clear()
        vars(self).clear()
