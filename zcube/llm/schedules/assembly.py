"""Putting an engine's phases into one trace: iterations of prefill, KV transfers request by request, steps of decode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import load_node
from zcube.llm.decode_node.schedule import decode_trace
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.layer_times import LayerTimes
from zcube.llm.schedules.decode import append_expert_step, append_tensor_parallel_step
from zcube.llm.schedules.expert_pipeline import batches
from zcube.llm.schedules.expert_prefill import append_expert_prefill
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.kv_plans import kv_plan
from zcube.llm.schedules.kv_push import append_kv
from zcube.llm.schedules.node_prefill import LayerSplit, append_context_parallel, append_tensor_parallel
from zcube.llm.schedules.options import DecodeSchedule, EngineOptions, PrefillSchedule
from zcube.llm.schedules.pieces import Piece
from zcube.trace.builder import TraceBuilder
from zcube.trace.merging import extend, last_of_ranks

#: An iteration of a node: which request gets which piece.
_Iteration = list[tuple[int, Piece]]


class Assembly:
    """One trace in the making; ``append`` fills ``builder``.

    Parameters
    ----------
    card, options, times
        Model, workload and layouts, compute times of the layers.
    prefill, decode
        Schedules chosen.
    engine : EngineLayout
        Layouts, KV cache and connector.
    """

    def __init__(
        self, card: ModelCard, options: EngineOptions, times: LayerTimes, prefill: PrefillSchedule, decode: DecodeSchedule,
        engine: EngineLayout,
    ):  # fmt: skip
        self.card, self.options, self.times = card, options, times
        self.prefill, self.decode, self.engine, self.ranks = prefill, decode, engine, engine.ranks(card)
        self._size = options.gpus_per_node
        self.builder = TraceBuilder((options.prefill_nodes + options.decode_nodes) * self._size, self._size)
        self._iterations = [self._filled(node) for node in range(options.prefill_nodes)]
        self._layers = card.layers if options.layers is None else min(options.layers, card.layers)
        # Per request: tokens that exist after each chunk, and what each GPU of its node waits for to have them.
        self._chunk_ends: list[list[int]] = [[] for _ in range(options.requests)]
        self._ready: list[list[list[IntArray]]] = [[] for _ in range(options.requests)]

    def append(self) -> None:
        """Append all phases."""
        if self.prefill.startswith("dp") and self.options.prefill_nodes:
            self._prefill_group()
        else:
            for node in range(self.options.prefill_nodes):
                self._prefill_node(node)
        if self.options.decode_nodes:
            if self.decode == "tilert":
                self._decode_tilert()
            else:
                self._decode_conventional()

    def estimated_operations(self) -> float:
        """Return about how many operations it will be, before any is made."""
        options, card = self.options, self.card
        ranks = options.prefill_nodes * self._size
        rounds = max((len(node) for node in self._iterations), default=0)
        if self.prefill.startswith("dp"):
            sends = 2 * ranks * (options.prefill_nodes + self._size - 2) * options.exchange_chunks
            rows = float(rounds * self._layers * batches(options.prefill_overlap) * (3 * ranks + sends))
        else:
            rows = float(sum(len(node) for node in self._iterations) * self._layers * 5 * (self._size + 1))
        ranks = options.decode_nodes * self._size
        if options.prefill_nodes and options.decode_nodes:
            chunks = 2 + options.prompt_tokens // options.chunk_tokens
            rows += options.requests * chunks * self._size * (2 + options.slicing.queue_pairs)
        if self.decode.startswith("dp"):
            return rows + options.decode_steps * self._layers * batches(options.decode_overlap) * ranks * (4 + 2.0 * ranks)
        served = options.requests if self.decode == "tilert" else options.decode_nodes
        return rows + served * options.decode_steps * (card.layers + options.drafts) * 100.0

    def _requests(self, node: int, nodes: int) -> range:
        return range(node, self.options.requests, nodes)

    def _filled(self, node: int) -> list[_Iteration]:
        """Cut a node's prompts into iterations of at most ``chunk_tokens``, first come first served."""
        options = self.options
        iterations: list[_Iteration] = []
        room = 0
        for request in self._requests(node, options.prefill_nodes):
            done = 0
            while done < options.new_tokens:
                if not room:
                    iterations.append([])
                    room = options.chunk_tokens
                here = min(room, options.new_tokens - done)
                iterations[-1].append((request, Piece(here, options.cached_tokens + done)))
                done, room = done + here, room - here
        return iterations

    def _note(self, iteration: _Iteration, ends: IntArray) -> None:
        for request, piece in iteration:
            self._chunk_ends[request].append(piece.cached_tokens + piece.new_tokens)
            self._ready[request].append([ends])

    def _prefill_node(self, node: int) -> None:
        split = None
        if self.prefill.endswith("-layersplit"):
            rows, tokens = self.options.layer_split_rows, self.options.layer_split_buffer_tokens
            split = LayerSplit(rows, tokens, self.options.layer_split_beside, self.engine.kv)
        ends: IntArray = np.full(self._size, -1, dtype=np.int64)
        for iteration in self._iterations[node]:
            pieces = [piece for _, piece in iteration]
            if self.prefill.startswith("tp"):
                ends = append_tensor_parallel(
                    self.builder, self.card, self.times, pieces, node=node, after=ends, layers=self._layers, gpus=self._size
                )
            else:
                ends = append_context_parallel(
                    self.builder, self.card, self.times, pieces, node=node, after=ends, layers=self._layers, split=split,
                    gpus=self._size,
                )  # fmt: skip
            self._note(iteration, ends)

    def _prefill_group(self) -> None:
        options = self.options
        routing = self._routing(options.prefill_nodes)
        ends: IntArray = np.full(routing.ranks, -1, dtype=np.int64)
        for number in range(max(len(node) for node in self._iterations)):
            iterations = [node[number] if number < len(node) else [] for node in self._iterations]
            pieces = [[piece for _, piece in iteration] for iteration in iterations]
            ends = append_expert_prefill(
                self.builder, self.card, self.times, pieces, routing, after=ends, layers=self._layers,
                overlap=options.prefill_overlap, chunks=options.exchange_chunks,
            )  # fmt: skip
            for node, iteration in enumerate(iterations):
                self._note(iteration, ends[node * self._size : (node + 1) * self._size])

    def _routing(self, nodes: int) -> ExpertRouting:
        options = self.options
        return ExpertRouting(
            self.card, nodes, options.expert_counts, options.moe_balance, options.seed, gpus_per_node=self._size
        )

    def _transfer(self, request: int, after: Sequence[int] = ()) -> list[IntArray]:
        """Append a request's KV transfer; returns what each GPU of its decode node waits for."""
        options = self.options
        if not options.prefill_nodes:
            return []
        node, target = request % options.prefill_nodes, request % options.decode_nodes
        plan = kv_plan(
            self.card, self.engine.connector, self.ranks, self._chunk_ends[request], self.engine.kv,
            source_rank=request // options.prefill_nodes % self.ranks.prefill_dp,
            target_rank=request // options.decode_nodes % self.ranks.decode_dp,
            decode_prefix_tokens=options.decode_prefix_tokens, page_tokens=options.page_tokens, page_runs=options.page_runs,
            whole_last_page=options.whole_last_page, slicing=options.slicing,
        )  # fmt: skip
        place = options.prefill_nodes + target
        return append_kv(self.builder, plan, self._ready[request], node, place, options.kv_timing, after, self._size)

    def _decode_tilert(self) -> None:
        options = self.options
        figures = load_node(options.tilert_node, load_device(options.device), options.tilert_figures)
        step = decode_trace(
            self.card, figures, options.decode_context, options.drafts, steps=options.decode_steps,
            accepted_tokens=options.accepted_tokens,
        )  # fmt: skip
        last = last_of_ranks(step)
        for node in range(options.decode_nodes):
            offset = (options.prefill_nodes + node) * self._size
            # One request at a time: the receive buffer is free again when its decode has ended.
            free: list[int] = []
            for request in self._requests(node, options.decode_nodes):
                arrived = self._transfer(request, free)
                waits = arrived[0] if arrived else np.full(self._size, free[0] if free else -1, dtype=np.int64)
                rows = extend(self.builder, step, rank_offset=offset, after=waits)
                free = rows[last].tolist()

    def _decode_conventional(self) -> None:
        arrived: IntArray = np.full(self.options.decode_nodes * self._size, -1, dtype=np.int64)
        for node in range(self.options.decode_nodes):
            waits = [wait for request in self._requests(node, self.options.decode_nodes) for wait in self._transfer(request)]
            if waits:
                here = slice(node * self._size, (node + 1) * self._size)
                gpus = self.options.prefill_nodes * self._size + np.arange(here.start, here.stop)
                arrived[here] = self.builder.compute("kv-ready", gpus, 0.0, phase="kv", after=waits)
        if self.decode.startswith("dp"):
            if (arrived >= 0).any():
                # The group's step takes all requests along: every GPU waits for the last cache.
                gpus = self.options.prefill_nodes * self._size + np.arange(len(arrived))
                arrived = self.builder.compute("decode-start", gpus, 0.0, phase="kv", after=arrived[arrived >= 0].tolist())
            self._decode_group(arrived)
        else:
            for node in range(self.options.decode_nodes):
                self._decode_node(node, arrived[node * self._size : (node + 1) * self._size])

    def _context(self, step: int) -> int:
        return self.options.decode_context + int(step * self.options.accepted_tokens)

    def _decode_node(self, node: int, ends: IntArray) -> None:
        options = self.options
        batch = options.decode_batch or max(1, len(self._requests(node, options.decode_nodes)))
        for step in range(options.decode_steps):
            ends = append_tensor_parallel_step(
                self.builder, self.card, self.times, [self._context(step)] * batch, query_tokens=options.drafts + 1,
                node=options.prefill_nodes + node, after=ends, layers=self._layers, size=self._size,
            )  # fmt: skip

    def _decode_group(self, ends: IntArray) -> None:
        options = self.options
        routing = self._routing(options.decode_nodes)
        batch = options.decode_batch or -(-options.requests // routing.ranks)
        for step in range(options.decode_steps):
            ends = append_expert_step(
                self.builder, self.card, self.times, batch, self._context(step), routing, query_tokens=options.drafts + 1,
                first_node=options.prefill_nodes, after=ends, layers=self._layers, overlap=options.decode_overlap,
            )  # fmt: skip
