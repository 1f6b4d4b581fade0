"""Plans of a request's KV transfer: which GPU sends which bytes to which, in how many descriptors and slices, and when.

* ``mooncake-push`` (SGLang): after every prefill chunk the whole pages finished so far go out, all layers in one batch, one
  descriptor per layer buffer and run of contiguous pages; a page that is not full waits. The last chunk carries the rest, and
  the indexer's pages as state. SGLang sends by page number, so that the last page goes out whole.
* ``nixl-pull`` (vLLM): after the prefill the decode GPU reads everything, one descriptor per layer buffer and page.
* ``after-prefill`` (vLLM's Mooncake connector): everything is pushed after the last chunk, descriptors as SGLang's.
* ``tilert``: prefill GPU 0 writes one contiguous plane each of latents, rotary parts and indexer keys per layer (237
  descriptors for GLM-5.1) to decode GPU 0, which copies latents to its seven peers over NVLink.

With grouped queries rows are keys and values of heads, sliced under tensor parallelism (:mod:`zcube.llm.schedules.kv_shards`).
What layers of a window keep, and the state of linear ones, goes with the last push, as SGLang sends the state of hybrid models.

Who sends to whom is the rank map's (:mod:`zcube.llm.rankmap`). :class:`KvPushes` says what may go out once tokens exist, for
a serving run that learns the ends of its chunks as they come; :func:`kv_plan` plans a request whose chunks are known.
Sources: SGLang disaggregation, vLLM KV connectors, TileRT 0.1.5 ``pd_vllm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.kv import PAGE_TOKENS, CachePart, KvLayout, cache_parts, latent_row_bytes, tilert_descriptors
from zcube.llm.rankmap import RankMap
from zcube.llm.schedules.kv_shards import UnitSend, unit_sends
from zcube.llm.schedules.slices import Slicing

Connector: TypeAlias = Literal["mooncake-push", "after-prefill", "nixl-pull", "tilert"]
CONNECTORS: tuple[Connector, ...] = get_args(Connector)

#: Page sizes an engine may be run with, in tokens, and runs a chunk's pages may fall into.
MAX_PAGE_TOKENS = 4096
#: Tokens and pages of a request.
MAX_TOKENS = 1 << 22
MAX_PAGES = 1 << 18


@dataclass(frozen=True)
class KvTransfer:
    """What one GPU sends to another after one chunk.

    Attributes
    ----------
    chunk : int
        Prefill chunk it follows, 0 for the first.
    source_rank, target_rank : int
        GPU in the prefill and in the decode node, 0 .. 7.
    descriptor_bytes : int array
        Size of every descriptor.
    slicing : Slicing, optional
        How descriptors are cut; None where the transport does not cut (NIXL).
    """

    chunk: int
    source_rank: int
    target_rank: int
    descriptor_bytes: IntArray
    slicing: Slicing | None

    @property
    def size_bytes(self) -> int:
        """Bytes of all descriptors."""
        return int(self.descriptor_bytes.sum())

    @property
    def descriptors(self) -> int:
        """Number of descriptors."""
        return len(self.descriptor_bytes)

    @property
    def slices(self) -> int:
        """RDMA operations: slices, or descriptors where nothing is cut."""
        return int(self.slicing.counts(self.descriptor_bytes).sum()) if self.slicing else self.descriptors

    def per_queue_pair(self) -> tuple[IntArray, IntArray]:
        """Return bytes and RDMA operations over each queue pair."""
        if self.slicing:
            return self.slicing.per_queue_pair(self.descriptor_bytes)
        return np.array([self.size_bytes]), np.array([self.descriptors])


@dataclass(frozen=True)
class KvPlan:
    """The transfers of one request.

    Attributes
    ----------
    connector : str
        One of :data:`CONNECTORS`.
    transfers : tuple of KvTransfer
        In order of chunks.
    inject_bytes : int
        Bytes decode GPU 0 then copies to each of its seven peers (TileRT), else 0.
    """

    connector: Connector
    transfers: tuple[KvTransfer, ...]
    inject_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes between nodes."""
        return sum(transfer.size_bytes for transfer in self.transfers)


class Push(NamedTuple):
    """What goes out of a request at once, the same of every layer that keeps every token.

    Attributes
    ----------
    first_row, first_key : int
        First token of the latents' rows and of the indexer's keys; ``end`` where none go.
    end : int
        Token behind the last of both.
    is_last : bool
        Whether it completes the prompt.
    """

    first_row: int
    first_key: int
    end: int
    is_last: bool


class KvPushes:
    """What one engine may push of any request, as its tokens come to exist.

    Parameters
    ----------
    card, connector, ranks, layout
        As :func:`kv_plan`.
    page_tokens, page_runs, whole_last_page
        As :func:`kv_plan`.

    Raises
    ------
    InputError
        With every argument that is out of range.
    """

    def __init__(
        self, card: ModelCard, connector: Connector, ranks: RankMap, layout: KvLayout | None = None, *,
        page_tokens: int = PAGE_TOKENS, page_runs: int = 1, whole_last_page: bool = True,
    ):  # fmt: skip
        layout = layout or KvLayout(with_mtp_layer=True)
        if connector == "tilert":
            # One plane each over all tokens, no pages of latents; index keys are never bf16, and the draft layer's go along.
            layout = KvLayout("fp8" if layout.dtype == "fp8" else "bf16+fp8-index", with_mtp_layer=True)
            page_tokens, whole_last_page = PAGE_TOKENS, False
        if faults := [*_engine_faults(card, connector, ranks, layout), *_page_faults(page_tokens, page_runs)]:
            raise InputError(faults)
        self._card, self._layout = card, layout
        self.connector, self.ranks, self.parts = connector, ranks, cache_parts(card, layout)
        self.page_tokens = page_tokens
        self._single, self._runs = connector == "nixl-pull", page_runs
        # fp8 keys and scales of a page lie together, so that only whole pages exist.
        self._whole = whole_last_page, whole_last_page or layout.dtype != "bf16"
        self._inject_bytes = latent_row_bytes(card, KvLayout("bf16")) * layout.layers(card) if connector == "tilert" else 0

    def sends(self, source_rank: int = 0, target_rank: int = 0) -> list[UnitSend]:
        """Return who sends for a request held by two data-parallel ranks, and the units of each part of the cache."""
        return unit_sends(self.ranks, self.parts, source_rank, target_rank)

    def ready(self, sent_tokens: int, existing_tokens: int, prompt_tokens: int, decode_prefix_tokens: int = 0) -> Push | None:
        """Return what may go out, None if nothing may.

        Parameters
        ----------
        sent_tokens : int
            Tokens whose latents are out or cached at the decode side, whole pages.
        existing_tokens : int
            Tokens computed or cached at the prefill side.
        prompt_tokens : int
            Tokens of the prompt.
        decode_prefix_tokens : int
            Tokens the decode side has cached; the whole pages of them stay out.
        """
        page, is_last = self.page_tokens, existing_tokens == prompt_tokens
        if not is_last and self.connector != "mooncake-push":
            return None
        end = existing_tokens if is_last else existing_tokens // page * page
        first_key = decode_prefix_tokens // page * page if is_last else end
        if end <= sent_tokens and end <= first_key:
            return None
        return Push(min(sent_tokens, end), first_key, end, is_last)

    def unit_bytes(self, push: Push) -> list[int]:
        """Return the bytes of one unit of each part of the cache."""
        page, end, (whole_rows, whole_keys) = self.page_tokens, push.end, self._whole
        keys = -(-(end - push.first_key) // page) * page if whole_keys else end - push.first_key
        sizes = []
        for part in self.parts:
            first = _first_row(part, push) if part.window_tokens else push.first_row
            if not whole_rows:
                tokens = end - first
            elif part.window_tokens:
                # Whole pages from the one in which a window begins.
                tokens = (-(-end // page) - first // page) * page
            else:
                tokens = -(-(end - first) // page) * page
            sizes.append(tokens * part.row_bytes + keys * part.index_bytes + part.state_bytes * push.is_last)
        return sizes

    def descriptors(self, push: Push, part: int = 0) -> list[int]:
        """Return the sizes of the descriptors of one unit of a part of the cache."""
        if self.connector == "tilert":
            dtype: Literal["fp8", "bf16"] = "fp8" if self._layout.dtype == "fp8" else "bf16"
            return list(tilert_descriptors(self._card, push.end, dtype)[0].tolist())
        return [size for buffer in self._buffers(self.parts[part], push) for size in self._cut(*buffer)]

    def inject_bytes(self, prompt_tokens: int) -> int:
        """Return the bytes decode GPU 0 copies to each of its peers (TileRT), else 0."""
        return self._inject_bytes * prompt_tokens

    def _buffers(self, part: CachePart, push: Push) -> list[tuple[int, int, int]]:
        """Return pages, rows missing in them, and bytes of a row, of rows and of index keys if there are any."""
        if part.state_bytes:
            # One buffer, whatever the tokens; a page of one row.
            return [(1, self.page_tokens - 1, part.state_bytes)] if push.is_last else []
        buffers, page, end = [], self.page_tokens, push.end
        for first, whole, row_bytes in zip(
            (_first_row(part, push), push.first_key), self._whole, (part.row_bytes, part.index_bytes), strict=True
        ):
            if not row_bytes:
                continue
            pages = -(-end // page) - first // page if part.window_tokens else -(-(end - first) // page)
            buffers.append((pages, 0 if whole else pages * page - (end - first), row_bytes))
        return buffers

    def _cut(self, pages: int, missing: int, row_bytes: int) -> list[int]:
        """Cut a buffer into descriptors, a page each or runs of pages."""
        if not pages:
            return []
        runs = pages if self._single else min(self._runs, pages)
        share, rest = divmod(pages, runs)
        sizes = [(share + (run < rest)) * self.page_tokens * row_bytes for run in range(runs)]
        sizes[-1] -= missing * row_bytes
        return sizes


def kv_plan(
    card: ModelCard, connector: Connector, ranks: RankMap, chunk_ends: Sequence[int], layout: KvLayout | None = None, *,
    source_rank: int = 0, target_rank: int = 0, decode_prefix_tokens: int = 0, page_tokens: int = PAGE_TOKENS,
    page_runs: int = 1, whole_last_page: bool = True, slicing: Slicing | None = None,
) -> KvPlan:  # fmt: skip
    """Plan the transfer of one request.

    Parameters
    ----------
    card, connector
        Model; one of :data:`CONNECTORS`.
    ranks : RankMap
        Who sends to whom.
    chunk_ends : sequence of int
        Tokens of the prompt that exist after each prefill chunk, cached ones included, rising.
    layout : KvLayout, optional
        Bytes of a row; fp8 with the MTP layer if left out. TileRT always ships that layer.
    source_rank, target_rank : int
        Data-parallel ranks in the prefill and the decode node.
    decode_prefix_tokens : int
        Tokens the decode side has cached, left out (whole pages of them; TileRT sends everything).
    page_tokens : int
        Page size, the same on both sides; a sparse-attention cache has 64.
    page_runs : int
        Runs of contiguous pages a chunk's pages fall into; 1 in a fresh pool (inferred, depends on fragmentation).
    whole_last_page : bool
        Whether the last, partly filled page of latents goes out whole.
    slicing : Slicing, optional
        Mooncake's cutting; not for ``nixl-pull``.

    Raises
    ------
    InputError
        With every argument that is out of range.
    """
    faults = _chunk_faults(chunk_ends, decode_prefix_tokens, page_tokens)
    if faults:
        shipped = layout or KvLayout(with_mtp_layer=True)
        raise InputError([*_engine_faults(card, connector, ranks, shipped), *faults, *_page_faults(page_tokens, page_runs)])
    pushes = KvPushes(
        card, connector, ranks, layout, page_tokens=page_tokens, page_runs=page_runs, whole_last_page=whole_last_page
    )
    slicing = None if connector == "nixl-pull" else slicing or Slicing()
    prefix = 0 if connector == "tilert" else decode_prefix_tokens
    transfers, sent = [], prefix // page_tokens * page_tokens
    for chunk, end in enumerate(chunk_ends):
        push = pushes.ready(sent, int(end), int(chunk_ends[-1]), prefix)
        if push is None:
            continue
        sent = max(sent, push.end)
        of_unit = [np.array(pushes.descriptors(push, part), dtype=np.int64) for part in range(len(pushes.parts))]
        transfers += [
            KvTransfer(chunk, source, target, np.concatenate([np.tile(*both) for both in zip(of_unit, units)]), slicing)
            for source, target, units in pushes.sends(source_rank, target_rank)
            if any(sizes.any() and count for sizes, count in zip(of_unit, units, strict=True))
        ]
    return KvPlan(connector, tuple(transfers), pushes.inject_bytes(int(chunk_ends[-1])))


def _first_row(part: CachePart, push: Push) -> int:
    """Return the first of the rows that go out of a part: a window's tokens go with the push that ends the prompt."""
    if not part.window_tokens:
        return push.first_row
    return max(0, push.end - part.window_tokens) if push.is_last else push.end


def _engine_faults(card: ModelCard, connector: str, ranks: RankMap, layout: KvLayout) -> list[Fault]:
    faults = []
    if connector not in CONNECTORS:
        faults.append(Fault("connector", repr(connector), "one of " + ", ".join(CONNECTORS)))
    if connector == "tilert" and not (card.index_heads and card.indexed_layers == card.layers):
        faults.append(Fault("connector", f"tilert with {card.name}", "another, or a model with an indexer in every layer"))
    if (connector == "tilert") != ranks.single_pair:
        faults.append(Fault("rank map", ranks.name, "tp8-tilert for the connector tilert, and for no other"))
    if ranks.layer_split and ranks.layers != layout.layers(card):
        faults.append(Fault(f"rank map {ranks.name}: layers", str(ranks.layers), f"{layout.layers(card)}, those shipped"))
    return faults


def _page_faults(page_tokens: int, page_runs: int) -> list[Fault]:
    given = (("page_tokens", page_tokens), ("page_runs", page_runs))
    return [Fault(key, str(value), f"1 .. {MAX_PAGE_TOKENS}") for key, value in given if not 1 <= value <= MAX_PAGE_TOKENS]


def _chunk_faults(chunk_ends: Sequence[int], prefix: int, page_tokens: int) -> list[Fault]:
    ends = list(chunk_ends)
    if not ends or ends[0] < 1 or ends[-1] > MAX_TOKENS or any(late <= early for early, late in pairwise(ends)):
        return [Fault("chunk_ends", str(ends[:8]), f"rising whole numbers, 1 .. {MAX_TOKENS}")]
    if not 0 <= prefix <= ends[-1]:
        return [Fault("decode_prefix_tokens", str(prefix), f"0 .. {ends[-1]}")]
    if 1 <= page_tokens <= MAX_PAGE_TOKENS and ends[-1] > page_tokens * MAX_PAGES:
        return [Fault("page_tokens", str(page_tokens), f"pages large enough for at most {MAX_PAGES} of them")]
    return []
