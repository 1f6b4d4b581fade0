"""Data-parallel attention with experts spread over nodes: what runs beside what.

Every GPU computes one thing at a time; communication runs beside it. A microbatch's step in a layer is attention, dispatch,
experts, combine; shared experts need no dispatch and run beside it. The orders of computation, per layer:

* ``none``: one microbatch, communication exposed but for the shared experts.
* ``two-batch`` (DeepSeek's prefill): attention 0, attention 1, experts 0, experts 1. Dispatch 0 runs beside attention 1,
  dispatch 1 beside experts 0, combine 0 beside experts 1, combine 1 beside the next attention 0.
* ``five-stage`` (DeepSeek's decode): attention is cut in two, and microbatch 1 runs half a layer behind: first half 0,
  experts 1 of the layer before, second half 0, first half 1, experts 0, second half 1. Every dispatch and combine runs beside
  one half of the other microbatch's attention.

The order inside a layer and the cut of attention in equal halves are inferred from DeepSeek's published profiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import FloatArray, IntArray
from zcube.trace.builder import TraceBuilder

Overlap: TypeAlias = Literal["none", "two-batch", "five-stage"]
Stage: TypeAlias = Literal["attention", "first-half", "second-half", "feed-forward"]


class Exchange(Protocol):
    """Dispatch and combine of a layer; returns what each GPU then waits for."""

    def dispatch(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a dispatch."""

    def combine(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a combine."""


@dataclass(frozen=True)
class BatchTimes:
    """Computation of one microbatch in one layer, float arrays [ranks] in seconds."""

    attention_s: FloatArray
    experts_s: FloatArray
    shared_s: FloatArray
    dense_s: FloatArray


class Turn(NamedTuple):
    """One thing the GPUs compute."""

    layer: int
    batch: int
    stage: Stage


def batches(overlap: Overlap) -> int:
    """Return the microbatches of an overlap."""
    return 1 if overlap == "none" else 2


def order(layers: int, overlap: Overlap) -> list[Turn]:
    """Return the order in which the GPUs compute."""
    turns: list[Turn] = []
    for layer in range(layers):
        if overlap == "none":
            turns += [Turn(layer, 0, "attention"), Turn(layer, 0, "feed-forward")]
        elif overlap == "two-batch":
            turns += [Turn(layer, batch, "attention") for batch in (0, 1)]
            turns += [Turn(layer, batch, "feed-forward") for batch in (0, 1)]
        else:
            turns.append(Turn(layer, 0, "first-half"))
            if layer:
                turns.append(Turn(layer - 1, 1, "feed-forward"))
            turns += [Turn(layer, 0, "second-half"), Turn(layer, 1, "first-half")]
            turns += [Turn(layer, 0, "feed-forward"), Turn(layer, 1, "second-half")]
    if overlap == "five-stage" and layers:
        turns.append(Turn(layers - 1, 1, "feed-forward"))
    return turns


@dataclass
class ExpertPipeline:
    """One pass through the layers.

    Attributes
    ----------
    builder : TraceBuilder
        Appended to.
    exchange : Exchange
        Sends the tokens.
    times : sequence of BatchTimes
        Per microbatch.
    first_rank, dense_layers : int
        The group's first GPU; leading layers without experts.
    phase : str
        Of the computations.
    """

    builder: TraceBuilder
    exchange: Exchange
    times: Sequence[BatchTimes]
    first_rank: int
    dense_layers: int
    phase: str

    def append(self, layers: int, overlap: Overlap, after: ArrayLike = -1) -> list[IntArray]:
        """Append a pass.

        Parameters
        ----------
        layers : int
            How many.
        overlap : {"none", "two-batch", "five-stage"}
            Order of computation.
        after : int or int array [ranks]
            What each GPU waits for.

        Returns
        -------
        list of int arrays [ranks]
            Operations after which each GPU has finished, -1 for none.
        """
        ranks = len(self.times[0].attention_s)
        start = np.broadcast_to(np.asarray(after, dtype=np.int64), ranks)
        self._computed: IntArray = start
        # What each microbatch's next computation waits for besides the GPU.
        self._arrived: list[list[IntArray]] = [[] for _ in self.times]
        for turn in order(layers, overlap):
            if turn.stage == "feed-forward":
                self._feed_forward(turn)
            else:
                self._attention(turn)
        return [self._computed, *(wait for arrived in self._arrived for wait in arrived)]

    def _attention(self, turn: Turn) -> None:
        times, has_experts = self.times[turn.batch], turn.layer >= self.dense_layers
        whole = turn.stage == "attention"
        self._compute("attention", times.attention_s if whole else times.attention_s / 2, turn)
        self._arrived[turn.batch] = []
        if turn.stage == "first-half" or not has_experts:
            return
        self._arrived[turn.batch] = self.exchange.dispatch(turn.layer, turn.batch, self._computed)
        if times.shared_s.any():
            self._compute("shared-experts", times.shared_s, turn, waits=False)

    def _feed_forward(self, turn: Turn) -> None:
        times, has_experts = self.times[turn.batch], turn.layer >= self.dense_layers
        self._compute("experts" if has_experts else "dense", times.experts_s if has_experts else times.dense_s, turn)
        self._arrived[turn.batch] = self.exchange.combine(turn.layer, turn.batch, self._computed) if has_experts else []

    def _compute(self, name: str, duration_s: FloatArray, turn: Turn, waits: bool = True) -> None:
        gpus = self.first_rank + np.arange(len(duration_s))
        after = [self._computed, *(self._arrived[turn.batch] if waits else [])]
        self._computed = self.builder.compute(name, gpus, duration_s, phase=self.phase, layer=turn.layer, after=after)
