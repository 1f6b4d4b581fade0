"""Pieces of prompts that one prefill iteration computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zcube.llm.layer_times import LayerTimes, PrefillLayer


class Piece(NamedTuple):
    """Tokens of one prompt: ``new_tokens`` are computed, ``cached_tokens`` before them are in the cache."""

    new_tokens: int
    cached_tokens: int = 0


def new_tokens(pieces: Sequence[Piece]) -> int:
    """Return the tokens computed."""
    return sum(piece.new_tokens for piece in pieces)


def context_tokens(pieces: Sequence[Piece]) -> int:
    """Return the tokens computed and cached."""
    return sum(piece.new_tokens + piece.cached_tokens for piece in pieces)


def chunks(new: int, cached: int, chunk_tokens: int) -> list[Piece]:
    """Cut a prompt into the pieces of successive iterations."""
    return [Piece(min(chunk_tokens, new - done), cached + done) for done in range(0, new, chunk_tokens)]


def first_half(tokens: Any) -> Any:
    """Return the tokens of the first of two microbatches, which takes the odd one; elementwise."""
    return -(-tokens // 2)


def halves(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Cut pieces into two microbatches of equal tokens; a piece across the cut continues in the second one.

    SGLang's two-batch overlap cuts prefill so.
    """
    room = first_half(new_tokens(pieces))
    first: list[Piece] = []
    second: list[Piece] = []
    for piece in pieces:
        here = min(room, piece.new_tokens)
        room -= here
        if here:
            first.append(Piece(here, piece.cached_tokens))
        if piece.new_tokens > here:
            second.append(Piece(piece.new_tokens - here, piece.cached_tokens + here))
    return first, second


def layer_times(times: LayerTimes, pieces: Sequence[Piece]) -> PrefillLayer:
    """Return the computation of one layer; nothing where there is no piece."""
    if not pieces:
        return PrefillLayer(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return times.prefill_layer(*np.array(pieces, dtype=np.int64).T)
