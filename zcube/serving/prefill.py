"""Prefill instances: queues, chunked prefill in iterations, expert traffic where an instance spans nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.llm.expert_traffic import prefill_expert_bytes
from zcube.node import GPUS_PER_NODE
from zcube.serving.settings import PrefillPool
from zcube.serving.transfers import EXPERT, Transfers


@dataclass(slots=True)
class PrefillJob:
    """A prompt at a prefill node. ``done_tokens`` counts cached and computed tokens; -1 before it has started."""

    request: int
    input_tokens: int
    estimated_new_tokens: int
    done_tokens: int = -1


@dataclass(frozen=True)
class PrefillHooks:
    """What an instance tells the cluster.

    Attributes
    ----------
    start : callable
        ``start(node, job)`` returns the cached tokens a job begins with.
    progress : callable
        ``progress(node, job)`` after every iteration that advanced a job.
    """

    start: Callable[[int, PrefillJob], int]
    progress: Callable[[int, PrefillJob], None]


class PrefillInstance:
    """Nodes that iterate in step, each on its own queue.

    Parameters
    ----------
    env, transfers
        Clock and network.
    nodes : sequence of int
        Numbers of its nodes in the pool.
    servers : sequence of int
        Their servers.
    card, compute, pool
        Model, iteration times, limits.
    hooks : PrefillHooks
        What it reports.
    """

    def __init__(
        self,
        env: simpy.Environment,
        transfers: Transfers,
        nodes: Sequence[int],
        servers: Sequence[int],
        card: ModelCard,
        compute: ComputeModel,
        pool: PrefillPool,
        hooks: PrefillHooks,
    ):
        self._env, self._transfers, self._card, self._compute, self._pool = env, transfers, card, compute, pool
        self._hooks = hooks
        self._queues: dict[int, deque[PrefillJob]] = {node: deque() for node in nodes}
        self._backlog = dict.fromkeys(nodes, 0)
        self._servers = np.asarray(servers, dtype=np.int64)
        self._wake = env.event()
        env.process(self._run())

    def backlog_tokens(self, node: int) -> int:
        """Return the tokens a node has still to compute, cached ones left out as far as they were known on arrival."""
        return self._backlog[node]

    def held(self, node: int) -> int:
        """Return the requests queued or under way at a node."""
        return len(self._queues[node])

    def submit(self, node: int, job: PrefillJob) -> None:
        """Queue a prompt at a node."""
        self._queues[node].append(job)
        self._backlog[node] += job.estimated_new_tokens
        if not self._wake.triggered:
            self._wake.succeed()

    def _run(self) -> simpy.events.ProcessGenerator:
        while True:
            if not any(self._queues.values()):
                self._wake = self._env.event()
                yield self._wake
            pieces = {node: self._take(node) for node in self._queues}
            compute_s = max(
                self._compute.prefill_iteration_s(
                    np.array([tokens for _, tokens in taken]), np.array([job.done_tokens for job, _ in taken])
                )
                for taken in pieces.values()
                if taken
            )
            tokens = np.array([sum(count for _, count in taken) for taken in pieces.values()], dtype=float)
            yield from self._iterate(compute_s, tokens)
            for node, taken in pieces.items():
                for job, count in taken:
                    self._advance(node, job, count)

    def _take(self, node: int) -> list[tuple[PrefillJob, int]]:
        """Fill one iteration of a node from the head of its queue."""
        room = self._pool.chunk_tokens
        taken = []
        for job in self._queues[node]:
            if room <= 0:
                break
            if job.done_tokens < 0:
                job.done_tokens = self._hooks.start(node, job)
                self._backlog[node] += job.input_tokens - job.done_tokens - job.estimated_new_tokens
            count = min(room, job.input_tokens - job.done_tokens)
            taken.append((job, count))
            room -= count
        return taken

    def _advance(self, node: int, job: PrefillJob, count: int) -> None:
        job.done_tokens += count
        self._backlog[node] -= count
        if job.done_tokens == job.input_tokens:
            self._queues[node].popleft()
        self._hooks.progress(node, job)

    def _iterate(self, compute_s: float, tokens: np.ndarray) -> simpy.events.ProcessGenerator:
        """Let one iteration pass: computation, and the expert all-to-all between nodes where there are several."""
        if len(self._servers) == 1:
            yield self._env.timeout(compute_s)
            return
        bursts = self._pool.expert_bursts
        source, target, size_bytes = self._expert_flows(tokens)
        for _ in range(bursts):
            sent = self._transfers.send(source, target, size_bytes / bursts, EXPERT)
            if self._pool.expert_overlap:
                yield self._env.timeout(compute_s / bursts) & sent
            else:
                yield sent
                yield self._env.timeout(compute_s / bursts)

    def _expert_flows(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rail-aligned flows of one iteration: each GPU index carries an eighth."""
        between = prefill_expert_bytes(self._card, tokens, len(tokens))
        i, j = np.nonzero(between)
        rail = np.arange(GPUS_PER_NODE)
        source = (self._servers[i][:, None] * GPUS_PER_NODE + rail).ravel()
        target = (self._servers[j][:, None] * GPUS_PER_NODE + rail).ravel()
        return source, target, np.repeat(between[i, j] / GPUS_PER_NODE, GPUS_PER_NODE)
