"""A request trace: when requests arrive, how long they are, and which prompt prefixes they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.quantiles import spread
from zcube.workload.block_runs import BlockRuns, KeptBlocks, kept_blocks
from zcube.workload.prefix_hits import prefix_hits

#: Bounds on what a trace may hold, so that a hostile file or an absurd option is refused before memory is taken.
MAX_REQUESTS = 10_000_000
MAX_TOKENS = 10_000_000
MAX_BLOCKS = 100_000_000


@dataclass(frozen=True)
class RequestSummary:
    """What a request trace amounts to.

    Attributes
    ----------
    requests : int
        Number of requests.
    duration_s : float
        Time from the first arrival to the last.
    input_tokens_mean, input_tokens_p50, input_tokens_p99 : float
        Whole prompt length; quantiles as :func:`zcube.quantiles.spread` defines them.
    output_tokens_mean, output_tokens_p50, output_tokens_p99 : float
        Generated tokens.
    waiting_requests : int
        Requests that wait for another one to end.
    prefix_hit_bound : float or None
        Largest part of all prompt tokens that any prefix cache can save, one of unlimited size included: the whole blocks of
        each prompt that an earlier request's prompt began with, at most all tokens but the last, which is always computed.
        None where the trace has no prefix information.
    ideal_prefix_hit_fraction : float or None
        Fraction of all prefix blocks that a cache of unlimited size would hold when their request arrives: a block
        counts where it and every block before it in its prompt occurred in an earlier request. None where the trace
        has no prefix information.
    """

    requests: int
    duration_s: float
    input_tokens_mean: float
    input_tokens_p50: float
    input_tokens_p99: float
    output_tokens_mean: float
    output_tokens_p50: float
    output_tokens_p99: float
    waiting_requests: int
    prefix_hit_bound: float | None
    ideal_prefix_hit_fraction: float | None


@dataclass(frozen=True, eq=False)
class RequestTrace:
    """Requests in order of arrival. The arrays are read-only.

    A request may wait for an earlier one, as a session's next turn does: it arrives when that one has ended and
    ``delay_s`` more has passed, and no earlier than its own ``arrival_s``.

    Attributes
    ----------
    name : str
        File name or generator name.
    source : str
        One sentence for a human reader: where the trace is from, and its licence where known.
    arrival_s : array of float [N]
        Arrival times, sorted, starting at 0; the earliest possible for a request that waits.
    input_tokens : array of int [N]
        Whole prompt length, >= 1.
    output_tokens : array of int [N]
        Tokens generated, >= 1.
    block_tokens : int
        Tokens per prefix block; 0 where the trace has no prefix information (then there are no blocks).
    first_block : array of int [N + 1]
        Blocks of request ``i`` are ``block_id[first_block[i]:first_block[i + 1]]``.
    block_id : array of int [B]
        Prefix blocks in prompt order, >= 0; equal id means that the whole prompt up to and including it is equal. Of 32 bits
        where these do, else of 64. Given as :class:`~zcube.workload.block_runs.BlockRuns` they are kept so, and made into an
        array whenever they are asked for.
    session : array of int [N]
        Session number, -1 where unknown.
    after : array of int [N]
        Number of the earlier request each one waits for, -1 for none. Empty, as by default: none waits.
    delay_s : array of float [N]
        Time between the end of that request and the arrival. Empty, as by default: none.
    notes : tuple of str
        What was left out of the trace or filled in on reading it.

    Raises
    ------
    InputError
        With every rule above that does not hold.
    """

    name: str
    source: str
    arrival_s: FloatArray
    input_tokens: IntArray
    output_tokens: IntArray
    block_tokens: int
    first_block: IntArray
    block_id: KeptBlocks = KeptBlocks()  # noqa: RUF009
    session: IntArray  # type: ignore[misc]  # a field that is a descriptor has no default
    after: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    delay_s: FloatArray = field(default_factory=lambda: np.empty(0))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, nothing in (("after", -1), ("delay_s", 0.0)):
            if not np.size(getattr(self, key)):
                object.__setattr__(self, key, np.full(np.size(self.arrival_s), nothing))
        for key in ("arrival_s", "delay_s"):
            _freeze_array(self, key, np.float64)
        for key in ("input_tokens", "output_tokens", "first_block", "session", "after"):
            _freeze_array(self, key, np.int64)
        if not isinstance(kept_blocks(self), BlockRuns):
            _freeze_array(self, "block_id", _least_width(self.block_id))
        # The rules on values presuppose the shapes.
        faults = list(_shape_faults(self)) or list(_value_faults(self))
        if faults:
            raise InputError(faults)

    def __len__(self) -> int:
        return self.arrival_s.size

    @property
    def duration_s(self) -> float:
        """Time from the first arrival to the last."""
        return float(self.arrival_s[-1])

    def blocks(self, i: int) -> IntArray:
        """Return the prefix blocks of request ``i`` (0 to N - 1), in prompt order."""
        if not 0 <= i < len(self):
            raise IndexError(f"request {i} of {len(self)}")
        kept = kept_blocks(self)
        return kept.of(i) if isinstance(kept, BlockRuns) else kept[self.first_block[i] : self.first_block[i + 1]]

    def head(self, n: int) -> RequestTrace:
        """Return the first ``n`` requests (all where there are fewer).

        Raises
        ------
        InputError
            If ``n`` is less than 1.
        """
        if n < 1:
            raise InputError(Fault(f"{self.name}: number of requests", str(n), "at least 1"))
        if n >= len(self):
            return self
        kept = kept_blocks(self)
        return replace(
            self,
            arrival_s=self.arrival_s[:n],
            input_tokens=self.input_tokens[:n],
            output_tokens=self.output_tokens[:n],
            first_block=self.first_block[: n + 1],
            block_id=kept.head(n) if isinstance(kept, BlockRuns) else kept[: self.first_block[n]],
            session=self.session[:n],
            after=self.after[:n],
            delay_s=self.delay_s[:n],
        )

    def at_rate(self, requests_per_s: float) -> RequestTrace:
        """Stretch or squeeze time so that the mean rate becomes ``requests_per_s``.

        Every arrival time is multiplied by ``(N / requests_per_s) / duration_s``, so that afterwards
        ``N / duration_s`` equals the rate. Bursts keep their shape. Pauses between requests of a session that have
        times of their own stretch as well; ``delay_s``, the user's time to think, stays. Where requests wait for others
        and all times are the same, as in data sets that leave the start of sessions to the load driver, sessions start
        evenly spaced.

        Raises
        ------
        InputError
            If the rate is not finite and positive, or all requests arrive at once and none waits.
        """
        if not (np.isfinite(requests_per_s) and requests_per_s > 0):
            raise InputError(Fault(f"{self.name}: requests_per_s", repr(requests_per_s), "a finite rate above 0"))
        span_s = len(self) / requests_per_s
        if self.duration_s == 0:
            starts = np.cumsum(self.after < 0) - 1
            if starts[-1] == 0 or starts[-1] == len(self) - 1:
                raise InputError(Fault(f"{self.name}: arrival_s", "one arrival time only", "at least two, to set a rate"))
            return self._spaced(span_s / starts[-1])
        # Dividing first makes the last arrival exactly N / rate, without intermediate overflow.
        return replace(self, arrival_s=self.arrival_s / self.duration_s * span_s, block_id=kept_blocks(self))

    def _spaced(self, gap_s: float) -> RequestTrace:
        """Start the first requests of chains one after the other; those that wait may come as soon as theirs."""
        start, begun = np.empty(len(self), dtype=np.int64), 0
        for request, before in enumerate(self.after.tolist()):
            if before < 0:
                start[request], begun = begun, begun + 1
            else:
                start[request] = start[before]
        order = np.argsort(start, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        after = self.after[order]
        first_block, block_id = reorder_blocks(self.first_block, self.block_id, order)
        return replace(
            self,
            arrival_s=np.asarray(start[order] * gap_s, dtype=np.float64),
            input_tokens=self.input_tokens[order],
            output_tokens=self.output_tokens[order],
            first_block=first_block,
            block_id=block_id,
            session=self.session[order],
            after=np.where(after >= 0, place[after], -1),
            delay_s=self.delay_s[order],
        )

    def summary(self) -> RequestSummary:
        """Return counts, means, percentiles and the ideal prefix hit fraction."""
        inputs, outputs = spread(self.input_tokens), spread(self.output_tokens)
        return RequestSummary(
            requests=len(self),
            duration_s=self.duration_s,
            input_tokens_mean=inputs["mean"],
            input_tokens_p50=inputs["p50"],
            input_tokens_p99=inputs["p99"],
            output_tokens_mean=outputs["mean"],
            output_tokens_p50=outputs["p50"],
            output_tokens_p99=outputs["p99"],
            waiting_requests=int((self.after >= 0).sum()),
            prefix_hit_bound=self._prefix_hit_bound(),
            ideal_prefix_hit_fraction=self._ideal_prefix_hit_fraction(),
        )

    @property
    def are_chained(self) -> bool:
        """Whether a block always follows the same one, or begins its prompts, so that its id stands for a whole prefix."""
        return self._prefix_hits[1]

    def ideal_hits(self) -> IntArray:
        """Return the blocks of each prompt that a cache of unlimited size would hold when it arrives [requests]."""
        return self._prefix_hits[0]

    @cached_property
    def _prefix_hits(self) -> tuple[IntArray, bool]:
        return prefix_hits(self.first_block, kept_blocks(self))

    def _ideal_prefix_hit_fraction(self) -> float | None:
        blocks = kept_blocks(self).size
        return float(self.ideal_hits().sum() / blocks) if blocks else None

    def _prefix_hit_bound(self) -> float | None:
        if not kept_blocks(self).size:
            return None
        # A block that the prompt does not fill cannot be found again.
        held = np.minimum(self.ideal_hits(), self.input_tokens // self.block_tokens) * self.block_tokens
        return float(np.minimum(held, self.input_tokens - 1).sum() / self.input_tokens.sum())


def followers(after: IntArray) -> dict[int, list[int]]:
    """Return by request the requests that wait for it; requests nobody waits for are left out."""
    waiting: dict[int, list[int]] = {}
    for request in np.flatnonzero(after >= 0).tolist():
        waiting.setdefault(int(after[request]), []).append(request)
    return waiting


def reorder_blocks(first_block: IntArray, block_id: IntArray, order: IntArray) -> tuple[IntArray, IntArray]:
    """Put the blocks of requests into another order of the requests; return their offsets and them."""
    count = np.diff(first_block)[order]
    moved = np.concatenate(([0], np.cumsum(count)))
    place = np.repeat(first_block[:-1][order] - moved[:-1], count) + np.arange(block_id.size)
    return moved, block_id[place]


def _least_width(ids: npt.ArrayLike) -> type:
    """Return the type that ids of blocks are kept in: they are most of a trace, and seldom need 64 bits."""
    given, widest = np.asarray(ids), np.iinfo(np.int32)
    fits = given.dtype.kind in "iu" and given.min(initial=0) >= widest.min and given.max(initial=0) <= widest.max
    return np.int32 if fits else np.int64


def _freeze_array(trace: RequestTrace, key: str, dtype: type) -> None:
    given = np.asarray(getattr(trace, key))
    if given.size and given.dtype.kind not in ("iuf" if dtype is np.float64 else "iu"):
        kind = "numbers" if dtype is np.float64 else "integers"
        raise InputError(Fault(f"{trace.name}: {key}", f"an array of {given.dtype}", f"an array of {kind}"))
    # A view carries the read-only flag, so that the caller's own array stays writable.
    array: npt.NDArray[Any] = np.ascontiguousarray(given, dtype=dtype).view()
    array.setflags(write=False)
    object.__setattr__(trace, key, array)


def _shape_faults(trace: RequestTrace) -> Iterator[Fault]:
    count = trace.arrival_s.size
    if trace.arrival_s.ndim != 1 or count == 0:
        yield Fault(f"{trace.name}: arrival_s", f"shape {trace.arrival_s.shape}", "at least one request")
    sizes = {"input_tokens": count, "output_tokens": count, "session": count, "first_block": count + 1, "after": count}
    sizes["delay_s"] = count
    for key, size in sizes.items():
        shape = getattr(trace, key).shape
        if shape != (size,):
            yield Fault(f"{trace.name}: {key}", f"shape {shape}", f"shape ({size},)")
    blocks = kept_blocks(trace)
    if not isinstance(blocks, BlockRuns) and blocks.ndim != 1:
        yield Fault(f"{trace.name}: block_id", f"shape {blocks.shape}", "one dimension")


def _value_faults(trace: RequestTrace) -> Iterator[Fault]:
    arrival_s, first_block, block_id = trace.arrival_s, trace.first_block, kept_blocks(trace)
    if not np.isfinite(arrival_s).all() or arrival_s[0] != 0 or (np.diff(arrival_s) < 0).any():
        yield Fault(f"{trace.name}: arrival_s", "other times", "finite times, sorted, starting at 0")
    for key in ("input_tokens", "output_tokens"):
        tokens = getattr(trace, key)
        if tokens.min() < 1 or tokens.max() > MAX_TOKENS:
            found = f"values from {tokens.min()} to {tokens.max()}"
            yield Fault(f"{trace.name}: {key}", found, f"1 to {MAX_TOKENS} tokens")
    if trace.block_tokens < 0 or (trace.block_tokens == 0 and block_id.size):
        found = f"{trace.block_tokens} with {block_id.size} blocks"
        yield Fault(f"{trace.name}: block_tokens", found, "a positive size, or 0 and no blocks")
    if first_block[0] != 0 or first_block[-1] != block_id.size or (np.diff(first_block) < 0).any():
        yield Fault(f"{trace.name}: first_block", "other offsets", f"offsets that rise from 0 to {block_id.size}")
    if block_id.min(initial=0) < 0:
        yield Fault(f"{trace.name}: block_id", str(block_id.min(initial=0)), "ids of at least 0")
    if trace.after.min() < -1 or (trace.after >= np.arange(trace.after.size)).any():
        yield Fault(f"{trace.name}: after", "other numbers", "-1, or the number of an earlier request")
    if not np.isfinite(trace.delay_s).all() or trace.delay_s.min() < 0:
        yield Fault(f"{trace.name}: delay_s", "other times", "finite times of at least 0")
    if trace.session.min() < -1:
        yield Fault(f"{trace.name}: session", str(trace.session.min()), "session numbers, or -1 where unknown")
