"""Numbers that a compute model is asked with: pieces of prefill, contexts of decode; what is out of range is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.decode_steps import MAX_CONTEXT

#: One object wherever bytes are in the machine's order, so that it need not be compared.
INT64 = np.dtype(np.int64)

#: Numbers of the pieces of an iteration.
Pieces: TypeAlias = Sequence[int] | IntArray

#: Tokens a piece or a context may have, steps a call may ask for, nodes the experts may span.
MAX_TOKENS = MAX_CONTEXT
MAX_STEPS = 1 << 20
MAX_EP_NODES = 128
#: Tokens a request verifies in one decode step.
MAX_QUERY_TOKENS = 64


def checked_pieces(new_tokens: Pieces, prefix_tokens: Pieces) -> tuple[list[int], list[int]]:
    """Return new and cached tokens of an iteration's pieces as lists of whole numbers in range.

    Raises
    ------
    InputError
        If there is no piece, the shapes differ or a number is out of range.
    """
    if not (_are_whole(new_tokens, 1) and _are_whole(prefix_tokens, 0) and len(new_tokens) == len(prefix_tokens)):
        # Arrays, or something is wrong.
        return _arrays_checked(new_tokens, prefix_tokens)
    return new_tokens, prefix_tokens


def is_piece(new_tokens: int, prefix_tokens: int) -> bool:
    """Return whether two numbers are whole ones of Python, and in range as a piece's new and cached tokens."""
    if type(new_tokens) is not int or type(prefix_tokens) is not int:
        return False
    return 1 <= new_tokens <= MAX_TOKENS and 0 <= prefix_tokens <= MAX_TOKENS


def _are_whole(numbers: Pieces, least: int) -> TypeGuard[list[int]]:
    """Return whether some numbers are a list of whole ones in range, at least one of them."""
    if type(numbers) is not list or not numbers:
        return False
    return all([type(number) is int and least <= number <= MAX_TOKENS for number in numbers])


def _arrays_checked(new_tokens: Pieces, prefix_tokens: Pieces) -> tuple[list[int], list[int]]:
    new, prefix = np.atleast_1d(np.asarray(new_tokens)), np.atleast_1d(np.asarray(prefix_tokens))
    if new.shape != prefix.shape or new.ndim != 1 or not new.size:
        shapes = f"shapes {new.shape} and {prefix.shape}"
        raise InputError(Fault("new_tokens, prefix_tokens", shapes, "two lists of one length, at least 1"))
    faults = []
    for key, array, least in (("new_tokens", new, 1), ("prefix_tokens", prefix, 0)):
        if array.dtype.kind not in "iu":
            faults.append(Fault(key, f"numbers of type {array.dtype}", "whole numbers"))
        elif array.min() < least or array.max() > MAX_TOKENS:
            faults.append(Fault(key, f"{array.min()} .. {array.max()}", f"{least} .. {MAX_TOKENS}"))
    if faults:
        raise InputError(faults)
    return new.tolist(), prefix.tolist()


def checked_contexts(context_tokens: IntArray, steps: int) -> IntArray:
    """Return contexts as the kernels take them; whether they are in range is for :func:`check_range`."""
    # What a batch's table has passes all that is looked at below.
    if (
        type(context_tokens) is np.ndarray
        and context_tokens.dtype is INT64
        and context_tokens.ndim == 1
        and len(context_tokens)
        and context_tokens.flags.c_contiguous
        and 0 <= steps <= MAX_STEPS
    ):
        return context_tokens
    given = np.asarray(context_tokens)
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "iu":
        found = f"shape {given.shape} of type {given.dtype}"
        raise InputError(Fault("context_tokens", found, "a list of whole numbers, at least 1"))
    if not 0 <= steps <= MAX_STEPS:
        raise InputError(Fault("steps", str(steps), f"0 .. {MAX_STEPS}"))
    if given.dtype is not INT64 or not given.flags.c_contiguous:
        check_range(given)
        given = np.ascontiguousarray(given, dtype=np.int64)
    return given


def check_range(context_tokens: IntArray) -> None:
    """Refuse contexts out of range."""
    if context_tokens.min() < 0 or context_tokens.max() > MAX_TOKENS:
        found = f"{context_tokens.min()} .. {context_tokens.max()}"
        raise InputError(Fault("context_tokens", found, f"0 .. {MAX_TOKENS}"))
