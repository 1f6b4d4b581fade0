"""Time of one decode step, where it goes on each worker, and what each of TileRT's ideas is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import CONVENTIONAL, TILERT, DecodeNode, Ideas
from zcube.llm.decode_node.pipeline import LEAD, PEERS, Setting, draft_projection, head, layer
from zcube.llm.decode_node.timeline import ACCOUNTS, NOTHING_SPENT, Spent, Stretch, length_s, spent
from zcube.node import GPUS_PER_NODE

#: Drafts a step may check; TileRT's forward pass takes 4 query tokens.
MAX_DRAFTS = 31


@dataclass(frozen=True, slots=True)
class WorkerTime:
    """Where one worker's time goes in one step; all but the overlapped communication add up to the step.

    Attributes
    ----------
    name : str
        ``GPU 0``, ``GPUs 1-7`` (each of them), or ``GPUs 0-7`` where workers are alike.
    gpus : tuple of int
        GPUs of the node.
    index_s, attention_s, experts_s, head_s : float
        Computation: indexer, attention with its projections, router and experts (or dense block), output head and draft
        projection.
    exposed_communication_s : float
        Communication during which the GPU computes nothing.
    waiting_s : float
        The other workers are not ready.
    overlapped_communication_s : float
        Communication during which the GPU computes.
    """

    name: str
    gpus: tuple[int, ...]
    index_s: float
    attention_s: float
    experts_s: float
    head_s: float
    exposed_communication_s: float
    waiting_s: float
    overlapped_communication_s: float

    @property
    def total_s(self) -> float:
        """The step's time."""
        return self.index_s + self.attention_s + self.experts_s + self.head_s + self.exposed_communication_s + self.waiting_s


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """One forward pass over ``query_tokens`` and the drafts that follow it.

    Attributes
    ----------
    total_s : float
        Time of the step.
    drafts_s : float
        Part of it spent on drafts.
    context_tokens, query_tokens, drafts : int
        Tokens in the cache before the step, tokens of the forward pass, drafts made.
    ideas : Ideas
        Which of the three ideas are used.
    workers : tuple of WorkerTime
        GPU 0 and GPUs 1-7, or one entry where workers are alike.
    all_reduces, broadcasts : int
        Number of each.
    all_reduce_bytes : int
        Sum over the all-reduces of the bytes one GPU puts in.
    broadcast_bytes : int
        Sum over broadcasts and peers of the bytes sent, flags included.
    """

    total_s: float
    drafts_s: float
    context_tokens: int
    query_tokens: int
    drafts: int
    ideas: Ideas
    workers: tuple[WorkerTime, ...]
    all_reduces: int
    broadcasts: int
    all_reduce_bytes: int
    broadcast_bytes: int

    def tokens_per_s(self, accepted_tokens: float = 1.0) -> float:
        """Return the speed when a step yields ``accepted_tokens`` on average, 1 .. ``drafts + 1``.

        Raises
        ------
        InputError
            If the number is out of range.
        """
        if not 1.0 <= accepted_tokens <= self.drafts + 1:
            raise InputError(Fault("accepted tokens", repr(accepted_tokens), f"1 .. {self.drafts + 1} (drafts + 1)"))
        return accepted_tokens / self.total_s

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per worker, times in milliseconds, for a table."""
        fields = (*(f"{account}_s" for account in ACCOUNTS), "exposed_communication_s", "waiting_s", "total_s")
        return [
            {"worker": worker.name}
            | {f"{name[:-2]}_ms": 1e3 * getattr(worker, name) for name in (*fields, "overlapped_communication_s")}
            for worker in self.workers
        ]


def step(
    card: ModelCard,
    node: DecodeNode,
    context_tokens: int,
    drafts: int = 0,
    *,
    query_tokens: int | None = None,
    ideas: Ideas = TILERT,
) -> DecodeStep:
    """Return one decode step at batch 1.

    Parameters
    ----------
    card : ModelCard
        The model.
    node : DecodeNode
        The node.
    context_tokens : int
        Tokens in the cache before the step.
    drafts : int
        Drafts made after the forward pass by the multi-token-prediction layer, one after the other, one query token each
        (inferred), 0 .. 31.
    query_tokens : int, optional
        Tokens of the forward pass; ``drafts + 1`` if left out.
    ideas : Ideas
        :data:`TILERT`, :data:`CONVENTIONAL` or a mix.

    Raises
    ------
    InputError
        If a number is out of range, the context leaves no room up to the model's ``max_positions``, or drafts are asked of
        a model without prediction layer.
    """
    total_s = drafts_s = 0.0
    used = {worker: NOTHING_SPENT for worker in worker_gpus(ideas)}
    sent = {"all-reduce": [0, 0], "broadcast": [0, 0]}
    for stretch, times, is_draft in stretches(card, node, context_tokens, drafts, query_tokens=query_tokens, ideas=ideas):
        seconds = times * length_s(stretch.parts)
        total_s += seconds
        drafts_s += seconds if is_draft else 0.0
        for worker in used:
            used[worker] = used[worker].plus(spent(stretch.parts, worker), times)
        for part in stretch.parts:
            if part.message is not None:
                sent[part.message][0] += times
                sent[part.message][1] += times * part.size_bytes
    return DecodeStep(
        total_s=total_s,
        drafts_s=drafts_s,
        context_tokens=context_tokens,
        query_tokens=drafts + 1 if query_tokens is None else query_tokens,
        drafts=drafts,
        ideas=ideas,
        workers=tuple(_worker_time(gpus, used[worker]) for worker, gpus in worker_gpus(ideas).items()),
        all_reduces=sent["all-reduce"][0],
        broadcasts=sent["broadcast"][0],
        all_reduce_bytes=sent["all-reduce"][1],
        broadcast_bytes=PEERS * sent["broadcast"][1],
    )


def step_s(card: ModelCard, node: DecodeNode, context_tokens: int, drafts: int = 0, *, ideas: Ideas = TILERT) -> float:
    """Return the time of a step alone, which takes a part of what the whole :func:`step` takes; parameters as there."""
    total_s = 0.0
    lengths: dict[int, tuple[Stretch, float]] = {}
    for stretch, times, _ in stretches(card, node, context_tokens, drafts, query_tokens=None, ideas=ideas):
        # Drafts repeat theirs.
        if id(stretch) not in lengths:
            lengths[id(stretch)] = stretch, length_s(stretch.parts)
        total_s += times * lengths[id(stretch)][1]
    return total_s


def speed(
    card: ModelCard,
    node: DecodeNode,
    context_tokens: int,
    drafts: int = 0,
    accepted_tokens: float = 1.0,
    *,
    ideas: Ideas = TILERT,
) -> float:
    """Return tokens per second of one request; see :func:`step` and :meth:`DecodeStep.tokens_per_s`."""
    return step(card, node, context_tokens, drafts, ideas=ideas).tokens_per_s(accepted_tokens)


#: From the conventional engine to TileRT, one idea at a time.
CHAIN: tuple[tuple[str, Ideas], ...] = (
    ("conventional", CONVENTIONAL),
    ("+ persistent tiles", Ideas(heterogeneous_workers=False, overlap=False)),
    ("+ heterogeneous workers", Ideas(overlap=False)),
    ("+ overlap", TILERT),
)


@dataclass(frozen=True, slots=True)
class IdeaEffect:
    """One variant of the chain: its step, and the seconds saved against the variant before (0 for the first)."""

    name: str
    step: DecodeStep
    saved_s: float


def ideas(card: ModelCard, node: DecodeNode, context_tokens: int, drafts: int = 0) -> tuple[IdeaEffect, ...]:
    """Return the chain of variants from the conventional engine to TileRT.

    What an idea saves depends on those before it; :func:`step` takes any mix.
    """
    effects: list[IdeaEffect] = []
    for name, used in CHAIN:
        made = step(card, node, context_tokens, drafts, ideas=used)
        effects.append(IdeaEffect(name, made, effects[-1].step.total_s - made.total_s if effects else 0.0))
    return tuple(effects)


def step_document(
    card: ModelCard, node: DecodeNode, context_tokens: int, drafts: int = 0, accepted_tokens: float = 1.0
) -> dict[str, Any]:
    """Return a step of TileRT as JSON values: its time and speed, where it goes by worker, and what each idea saves."""
    made = step(card, node, context_tokens, drafts)
    return {
        "context_tokens": context_tokens,
        "drafts": drafts,
        "accepted_tokens": accepted_tokens,
        "step_ms": 1e3 * made.total_s,
        "drafts_ms": 1e3 * made.drafts_s,
        "tokens_per_s": made.tokens_per_s(accepted_tokens),
        "workers": made.rows(),
        "ideas": [
            {"engine": effect.name, "step_ms": 1e3 * effect.step.total_s, "saved_ms": 1e3 * effect.saved_s}
            for effect in ideas(card, node, context_tokens, drafts)
        ],
    }


def stretches(
    card: ModelCard,
    node: DecodeNode,
    context_tokens: int,
    drafts: int,
    *,
    query_tokens: int | None,
    ideas: Ideas,
) -> Iterator[tuple[Stretch, int, bool]]:
    """Return the stretches of a step in order: each with how often it comes in a row, and whether it belongs to a draft.

    Raises
    ------
    InputError
        As :func:`step`.
    """
    queries = drafts + 1 if query_tokens is None else query_tokens
    _check(card, context_tokens, drafts, queries)
    return _stretches(Setting(card, node, ideas, context_tokens, queries), drafts)


def _stretches(setting: Setting, drafts: int) -> Iterator[tuple[Stretch, int, bool]]:
    card = setting.card
    has_dense = card.first_dense_layers > 0
    yield layer(setting, "dense-layer" if has_dense else "expert-layer", not has_dense, None), 1, False
    if card.first_dense_layers > 1:
        yield layer(setting, "dense-layer", False, "output-all-reduce"), card.first_dense_layers - 1, False
    rest = card.moe_layers - (0 if has_dense else 1)
    if rest:
        yield layer(setting, "expert-layer", True, "output-all-reduce"), rest, False
    yield head(setting, "head", "output-all-reduce"), 1, False
    if not drafts:
        return
    drafting = Setting(card, setting.node, setting.ideas, setting.context_tokens + setting.queries - 1, 1)
    made = (
        draft_projection(drafting),
        layer(drafting, "draft-layer", True, "draft-all-reduce"),
        head(drafting, "draft-head", "output-all-reduce"),
    )
    for _ in range(drafts):
        for stretch in made:
            yield stretch, 1, True


def _check(card: ModelCard, context_tokens: int, drafts: int, queries: int) -> None:
    faults = []
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (context_tokens, drafts, queries))
    if not whole:
        faults.append(
            Fault("context, drafts and query tokens", f"{context_tokens!r}, {drafts!r}, {queries!r}", "whole numbers")
        )
    else:
        if not 0 <= drafts <= MAX_DRAFTS:
            faults.append(Fault("drafts", str(drafts), f"0 .. {MAX_DRAFTS}"))
        elif drafts and not card.mtp_layers:
            faults.append(Fault("drafts", str(drafts), f"0: {card.name} has no multi-token-prediction layer"))
        if not 1 <= queries <= MAX_DRAFTS + 1:
            faults.append(Fault("query tokens", str(queries), f"1 .. {MAX_DRAFTS + 1}"))
        elif not 0 <= context_tokens <= card.max_positions - queries:
            faults.append(Fault("context tokens", str(context_tokens), f"0 .. {card.max_positions - queries} ({card.name})"))
    if faults:
        raise InputError(faults)


def worker_gpus(used: Ideas) -> dict[int, tuple[int, ...]]:
    """Return the GPUs of each kind of worker."""
    every = tuple(range(GPUS_PER_NODE))
    return {LEAD: every[:1], LEAD + 1: every[1:]} if used.heterogeneous_workers else {LEAD: every}


def _worker_time(gpus: tuple[int, ...], used: Spent) -> WorkerTime:
    name = f"GPU {gpus[0]}" if len(gpus) == 1 else f"GPUs {gpus[0]}-{gpus[-1]}"
    return WorkerTime(name, gpus, *used.busy_s, used.exposed_s, used.waiting_s, used.overlapped_s)
