"""What is asked of every kind of layer: the time of one layer's attention block on one GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from zcube.arrays import FloatArray, IntArray
from zcube.llm.decode_steps import DecodeRates, attention_steps_s
from zcube.llm.kinds.projections import Projections


class AttentionTime(NamedTuple):
    """One layer's attention block in prefill; projections and indexer are parts of the whole."""

    total_s: float
    projection_s: float
    indexer_s: float


class LayerKind(Protocol):
    """Layers of a model that attend alike, on one GPU under one layout.

    Attributes
    ----------
    name : str
        ``sparse``, ``shared``, ``latent``, ``grouped``, ``window`` or ``linear``.
    layers : int
        How many.
    attended_tokens : int
        Tokens that a query attends to at most.
    rates : DecodeRates
        What a decode step takes a token of context.
    """

    @property
    def name(self) -> str:
        """Kind of attention."""

    @property
    def layers(self) -> int:
        """How many layers."""

    @property
    def attended_tokens(self) -> int:
        """Tokens that a query attends to at most."""

    @property
    def rates(self) -> DecodeRates:
        """Time a token of context."""

    @property
    def is_kernel(self) -> bool:
        """Whether its kernels were measured alone, so that its projections are beside."""

    def projection_s(self, tokens: float) -> float:
        """Return the time of projections that are beside what was measured, 0 of a block measured whole."""

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""

    def piece_s(self, new_tokens: int, prefix_tokens: int) -> float:
        """Return the whole of one layer's time in an iteration of one piece, as :meth:`prefill` does."""

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts."""

    def steps_s(self, contexts: IntArray, fixed_s: tuple[float, float], ranks: int, steps: int) -> FloatArray:
        """Return one layer's time in each of the next steps, on the slowest GPU; the first is -1 for a context out of range."""

    def step_s(self, contexts: Sequence[int], query_tokens: int) -> float:
        """Return one layer's time in one step of a GPU's requests, each with some tokens at once."""


class Roofline(ABC):
    """Steps of a kind whose time is a line in the contexts; the base of all of them."""

    attended_tokens: int
    rates: DecodeRates
    #: Of kinds whose kernels were measured alone.
    projections: Projections | None = None

    @property
    def is_kernel(self) -> bool:
        """Whether its kernels were measured alone, so that its projections are beside."""
        return self.projections is not None

    def projection_s(self, tokens: float) -> float:
        """Return the time of projections that are beside what was measured, 0 of a block measured whole."""
        return 0.0 if self.projections is None else self.projections.seconds(tokens)

    @abstractmethod
    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""

    def piece_s(self, new_tokens: int, prefix_tokens: int) -> float:
        """Return the whole of one layer's time in an iteration of one piece, as :meth:`prefill` does."""
        return self.prefill([new_tokens], [prefix_tokens]).total_s

    @abstractmethod
    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts."""

    def steps_s(self, contexts: IntArray, fixed_s: tuple[float, float], ranks: int, steps: int) -> FloatArray:
        """Return one layer's time in each of the next steps, on the slowest GPU."""
        return attention_steps_s(self.rates, self.attended_tokens, contexts, fixed_s, ranks, steps)

    def step_s(self, contexts: Sequence[int], query_tokens: int) -> float:
        """Return one layer's time in one step; tokens at once multiply the attended tokens, not what is looked through."""
        rates, longest = self.rates, max(contexts)
        attended = query_tokens * sum(min(context + 1, self.attended_tokens) for context in contexts)
        seconds = float(self.fixed_s(len(contexts) * query_tokens))
        seconds += rates.sparse_s * (longest >= self.attended_tokens) + rates.selected_s * attended
        return seconds + (rates.longest_s * longest + rates.context_s * sum(contexts))


def mean_s(kinds: Sequence[LayerKind], seconds: Sequence[float]) -> float:
    """Return the mean over a model's layers of a time by kind."""
    if len(kinds) == 1:
        return seconds[0]
    layers = sum(kind.layers for kind in kinds)
    return sum(kind.layers * time_s for kind, time_s in zip(kinds, seconds, strict=True)) / layers


def mean_piece_s(kinds: Sequence[LayerKind], new_tokens: int, prefix_tokens: int) -> float:
    """Return the mean over a model's layers of the whole of their time in an iteration of one piece."""
    if len(kinds) == 1:
        return kinds[0].piece_s(new_tokens, prefix_tokens)
    return mean_s(kinds, [kind.piece_s(new_tokens, prefix_tokens) for kind in kinds])


def mean_time(kinds: Sequence[LayerKind], new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
    """Return the mean over a model's layers of their time in an iteration."""
    times = [kind.prefill(new_tokens, prefix_tokens) for kind in kinds]
    if len(times) == 1:
        return times[0]
    total_s, projection_s, indexer_s = (mean_s(kinds, part) for part in zip(*times, strict=True))
    return AttentionTime(total_s, projection_s, indexer_s)
