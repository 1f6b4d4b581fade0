"""Plans of a request's KV transfer: which GPU sends which bytes to which, in how many descriptors and slices, and when.

* ``mooncake-push`` (SGLang): after every prefill chunk the whole pages finished so far go out, all layers in one batch, one
  descriptor per layer buffer and run of contiguous pages; a page that is not full waits. The last chunk carries the rest, and
  the indexer's pages as state. SGLang sends by page number, so that the last page goes out whole.
* ``nixl-pull`` (vLLM): after the prefill the decode GPU reads everything, one descriptor per layer buffer and page.
* ``after-prefill`` (vLLM's Mooncake connector): everything is pushed after the last chunk, descriptors as SGLang's.
* ``tilert``: prefill GPU 0 writes one contiguous plane each of latents, rotary parts and indexer keys per layer (237
  descriptors for GLM-5.1) to decode GPU 0, which copies latents to its seven peers over NVLink.

Who sends to whom is the rank map's (:mod:`zcube.llm.rankmap`). Sources: SGLang disaggregation, vLLM KV connectors, TileRT 0.1.5
``pd_vllm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.kv import PAGE_TOKENS, KvLayout, index_row_bytes, latent_row_bytes, tilert_descriptors
from zcube.llm.rankmap import RankMap
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
    layout = layout or KvLayout(with_mtp_layer=True)
    faults = _faults(connector, ranks, chunk_ends, decode_prefix_tokens, page_tokens, page_runs)
    if ranks.layer_split and ranks.layers != layout.layers(card):
        faults.append(Fault(f"rank map {ranks.name}: layers", str(ranks.layers), f"{layout.layers(card)}, those shipped"))
    if faults:
        raise InputError(faults)
    slicing = slicing or Slicing()
    if connector == "tilert":
        return _tilert_plan(card, layout, int(chunk_ends[-1]), slicing)
    pages = _Pages(card, layout, page_tokens, page_runs, connector == "nixl-pull", whole_last_page)
    ends = list(chunk_ends) if connector == "mooncake-push" else [chunk_ends[-1]]
    transfers, sent = [], decode_prefix_tokens // page_tokens * page_tokens
    for number, end in enumerate(ends):
        last = number == len(ends) - 1
        ready = end if last else end // page_tokens * page_tokens
        buffers = pages.latents(sent, ready)
        if last:
            buffers += pages.indexer(decode_prefix_tokens // page_tokens * page_tokens, ready)
        sent = max(sent, ready)
        if not buffers:
            continue
        for send, layers in _shares(ranks, layout.layers(card), source_rank, target_rank):
            descriptors = np.tile(np.array(buffers, dtype=np.int64), layers)
            chunk = number if connector == "mooncake-push" else len(chunk_ends) - 1
            cut = None if connector == "nixl-pull" else slicing
            transfers.append(KvTransfer(chunk, send[0], send[1], descriptors, cut))
    return KvPlan(connector, tuple(transfers))


@dataclass(frozen=True)
class _Pages:
    """Descriptors of one layer."""

    card: ModelCard
    layout: KvLayout
    page_tokens: int
    runs: int
    single: bool
    whole_last_page: bool

    def latents(self, start: int, end: int) -> list[int]:
        return self._descriptors(latent_row_bytes(self.card, self.layout), start, end, self.whole_last_page)

    def indexer(self, start: int, end: int) -> list[int]:
        # fp8 keys and scales of a page lie together, so that only whole pages exist.
        whole = self.whole_last_page or self.layout.dtype != "bf16"
        return self._descriptors(index_row_bytes(self.card, self.layout), start, end, whole)

    def _descriptors(self, row_bytes: int, start: int, end: int, whole: bool) -> list[int]:
        if end <= start:
            return []
        count = -(-(end - start) // self.page_tokens)
        missing = 0 if whole else count * self.page_tokens - (end - start)
        runs = count if self.single else min(self.runs, count)
        share, rest = divmod(count, runs)
        sizes = [(share + (run < rest)) * self.page_tokens * row_bytes for run in range(runs)]
        sizes[-1] -= missing * row_bytes
        return sizes


def _shares(ranks: RankMap, layers: int, source: int, target: int) -> list[tuple[tuple[int, int], int]]:
    """Return the pairs of the rank map with the layers each carries."""
    sends = ranks.sends(source if ranks.prefill_dp > 1 else 0, target if ranks.decode_dp > 1 else 0)
    return [((send.source_rank, send.target_rank), round(send.fraction * layers)) for send in sends]


def _tilert_plan(card: ModelCard, layout: KvLayout, tokens: int, slicing: Slicing) -> KvPlan:
    planes = tilert_descriptors(card, tokens, "fp8" if layout.dtype == "fp8" else "bf16")
    row = latent_row_bytes(card, KvLayout("bf16"))
    transfer = KvTransfer(0, 0, 0, planes.ravel(), slicing)
    return KvPlan("tilert", (transfer,), inject_bytes=row * tokens * len(planes))


def _faults(
    connector: str, ranks: RankMap, chunk_ends: Sequence[int], prefix: int, page_tokens: int, page_runs: int
) -> list[Fault]:
    faults = []
    if connector not in CONNECTORS:
        faults.append(Fault("connector", repr(connector), "one of " + ", ".join(CONNECTORS)))
    if (connector == "tilert") != ranks.single_pair:
        faults.append(Fault("rank map", ranks.name, "tp8-tilert for the connector tilert, and for no other"))
    ends = list(chunk_ends)
    if not ends or ends[0] < 1 or ends[-1] > MAX_TOKENS or any(late <= early for early, late in pairwise(ends)):
        faults.append(Fault("chunk_ends", str(ends[:8]), f"rising whole numbers, 1 .. {MAX_TOKENS}"))
    elif not 0 <= prefix <= ends[-1]:
        faults.append(Fault("decode_prefix_tokens", str(prefix), f"0 .. {ends[-1]}"))
    elif 1 <= page_tokens <= MAX_PAGE_TOKENS and ends[-1] > page_tokens * MAX_PAGES:
        faults.append(Fault("page_tokens", str(page_tokens), f"pages large enough for at most {MAX_PAGES} of them"))
    for key, value in (("page_tokens", page_tokens), ("page_runs", page_runs)):
        if not 1 <= value <= MAX_PAGE_TOKENS:
            faults.append(Fault(key, str(value), f"1 .. {MAX_PAGE_TOKENS}"))
    return faults
