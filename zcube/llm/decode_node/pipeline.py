"""The order in which the parts of a layer, of the output head and of a draft run on a node's GPUs.

A stretch starts when all GPUs have computed what the previous all-reduce sums, so that this all-reduce is its first part and
weights may stream in beneath it. Attention with heterogeneous workers::

    GPU 0     query latent > index projection > logits > select > broadcast of the ids
    GPUs 1-7  query latent > query up > absorb ..................................... > attention > value up > output projection

then all-reduce, router, experts (gate and up, down) on all GPUs. Without them every GPU runs the upper row before the lower.
While a context has at most ``index_topk`` tokens all are selected: logits and top-k fall away, the ids are known
from the start, only index projections remain (the keys must be stored). Sources: the open Python of TileRT 0.1.5
(``tilert/models/glm_5/modules``) for who computes what and what is sent; the order inside a layer is inferred from the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zcube.llm.cards import ModelCard
from zcube.llm.decode_node import work
from zcube.llm.decode_node.figures import DecodeNode, Ideas
from zcube.llm.decode_node.timeline import Account, Part, Stretch
from zcube.llm.decode_node.work import Work
from zcube.node import GPUS_PER_NODE

PEERS = GPUS_PER_NODE - 1
#: Kind of worker: GPU 0 alone, or all where workers are alike; then GPUs 1-7.
LEAD, OTHERS = 0, 1


@dataclass(frozen=True, slots=True)
class Setting:
    """What a stretch is built for: model, node, ideas, tokens in the cache and query tokens of the forward pass."""

    card: ModelCard
    node: DecodeNode
    ideas: Ideas
    context_tokens: int
    queries: int

    @property
    def workers(self) -> tuple[int, ...]:
        """Kinds of workers."""
        return (LEAD, OTHERS) if self.ideas.heterogeneous_workers else (LEAD,)

    @property
    def heads(self) -> int:
        """Attention heads of a GPU that has any; the last of seven may have padding."""
        return -(-self.card.heads // (PEERS if self.ideas.heterogeneous_workers else GPUS_PER_NODE))

    @property
    def overlap(self) -> float:
        """Share of the weights that may stream in early."""
        return self.node.overlap if self.ideas.overlap else 0.0

    def memory_s(self, done: Work) -> float:
        """Return the roofline time of some work."""
        peak = self.node.device.peak
        moved_s = done.memory_bytes / (self.node.memory_share * peak.memory_gbytes_per_s * 1e9)
        return max(moved_s, done.fp8_flops / (peak.fp8_tflops * 1e12) + done.bf16_flops / (peak.bf16_tflops * 1e12))

    def fixed_s(self, kernels: int) -> float:
        """Return a part's time beyond its roofline: one stage of the persistent kernel, or its kernels."""
        return (self.node.stage_us if self.ideas.persistent_tiles else kernels * self.node.kernel_us) * 1e-6

    def all_reduce_s(self) -> float:
        """Return the time of one all-reduce: every GPU puts its part into seven peers' memory, or the measured kernel."""
        size = work.all_reduce_bytes(self.card, self.queries)
        if not self.ideas.persistent_tiles:
            return self.node.device.links.decode_all_reduce.seconds(size)
        start_us = self.node.all_reduce_us
        return self.put_s(size, self.node.signal_us if start_us is None else start_us)

    def broadcast_s(self) -> float:
        """Return the time of the broadcast of selected ids; a kernel of its own without the persistent kernel."""
        kernel_s = 0.0 if self.ideas.persistent_tiles else self.node.kernel_us * 1e-6
        return kernel_s + self.put_s(self.broadcast_bytes(), self.node.signal_us)

    def broadcast_bytes(self) -> int:
        """Return the bytes each peer is sent, flags included."""
        return self.node.id_flag_factor * work.selected_id_bytes(self.card, self.queries)

    def put_s(self, size_bytes: int, start_us: float) -> float:
        """Return the time of stores of ``size_bytes`` into each of seven peers, ``start_us`` beyond their bytes."""
        return start_us * 1e-6 + PEERS * size_bytes / (self.node.device.peak.nvlink_gbytes_per_s * 1e9)


@dataclass
class _Parts:
    """Parts of a stretch while it is put together."""

    setting: Setting
    done: list[Part] = field(default_factory=list)

    def compute(self, name: str, worker: int, account: Account, seconds: float, after: tuple[int, ...] = ()) -> int:
        self.done.append(Part(name, seconds, after, worker, account))
        return len(self.done) - 1

    def all_reduce(self, name: str, after: tuple[int, ...] = ()) -> int:
        size = work.all_reduce_bytes(self.setting.card, self.setting.queries)
        self.done.append(Part(name, self.setting.all_reduce_s(), after, message="all-reduce", size_bytes=size))
        return len(self.done) - 1

    def stream(self, worker: int, account: Account, early: Work) -> None:
        """Append the streaming of weights that need not wait, where there is any."""
        seconds = self.setting.overlap * self.setting.memory_s(early)
        if seconds:
            self.compute("stream-weights", worker, account, seconds)


def layer(setting: Setting, name: str, has_experts: bool, incoming: str | None) -> Stretch:
    """Return one transformer layer.

    Parameters
    ----------
    setting : Setting
        What it is built for.
    name : str
        The stretch's name.
    has_experts : bool
        Whether this is a mixture-of-experts layer.
    incoming : str or None
        Name of the all-reduce that brings the hidden state; None for the first layer.
    """
    parts = _Parts(setting)
    ready = () if incoming is None else (parts.all_reduce(incoming),)
    ends = _attention(parts, ready)
    reduced = parts.all_reduce("attention-all-reduce", ends)
    for worker in setting.workers:
        _feed_forward(parts, worker, reduced, has_experts)
    return Stretch(name, tuple(parts.done))


def head(setting: Setting, name: str, incoming: str) -> Stretch:
    """Return the output head: an eighth of the vocabulary on each GPU, then sampling."""
    parts = _Parts(setting)
    reduced = parts.all_reduce(incoming)
    projection = work.bf16_weights(setting.card.embedding_parameters / GPUS_PER_NODE, setting.queries)
    for worker in setting.workers:
        parts.stream(worker, "head", projection)
        # Sampling is a second stage of the persistent kernel; its exchange of candidates is not public.
        stages_s = setting.fixed_s(setting.node.kernels.head) * (2 if setting.ideas.persistent_tiles else 1)
        rest_s = (1 - setting.overlap) * setting.memory_s(projection)
        parts.compute("output-head", worker, "head", stages_s + rest_s, (reduced,))
    return Stretch(name, tuple(parts.done))


def draft_projection(setting: Setting) -> Stretch:
    """Return a draft's projection of embedding and hidden state, split over the GPUs along the sum."""
    parts = _Parts(setting)
    seconds = setting.memory_s(work.weights(2 * setting.card.hidden**2 / GPUS_PER_NODE, setting.queries))
    for worker in setting.workers:
        parts.compute("draft-projection", worker, "head", setting.fixed_s(setting.node.kernels.draft_projection) + seconds)
    return Stretch("draft-projection", tuple(parts.done))


def _attention(parts: _Parts, ready: tuple[int, ...]) -> tuple[int, ...]:
    """Append the attention block and return the parts its all-reduce waits for."""
    setting = parts.setting
    if not setting.ideas.heterogeneous_workers:
        _query_latent(parts, LEAD, ready, has_heads=True, has_index=True)
        _index(parts)
        _query(parts, LEAD)
        return (_attend(parts, LEAD, ()),)
    _query_latent(parts, LEAD, ready, has_heads=False, has_index=True)
    selected = _index(parts)
    _query_latent(parts, OTHERS, ready, has_heads=True, has_index=False)
    query = _query(parts, OTHERS)
    known = (selected,) if work.is_sparse(setting.card, setting.context_tokens, setting.queries) else ready
    # Without overlap the broadcast is a meeting: it waits for the receivers too.
    after = known if setting.ideas.overlap else (*known, query)
    parts.done.append(
        Part("id-broadcast", setting.broadcast_s(), after, message="broadcast", size_bytes=setting.broadcast_bytes())
    )
    attended = _attend(parts, OTHERS, (len(parts.done) - 1,))
    return (selected, attended)


def _query_latent(parts: _Parts, worker: int, ready: tuple[int, ...], *, has_heads: bool, has_index: bool) -> None:
    setting, card = parts.setting, parts.setting.card
    account: Account = "attention" if has_heads else "index"
    parameters = work.query_latent_parameters(card)
    parameters += work.kv_latent_parameters(card) if has_heads else 0
    parameters += card.hidden * (card.index_head_dim + card.index_heads) if has_index else 0
    projection = work.weights(parameters, setting.queries)
    # Without an all-reduce under way there is nothing to stream beneath.
    early = setting.overlap if ready else 0.0
    if ready:
        parts.stream(worker, account, projection)
    rest_s = (1 - early) * setting.memory_s(projection)
    parts.compute("query-latent", worker, account, setting.fixed_s(setting.node.kernels.query_latent) + rest_s, ready)


def _index(parts: _Parts) -> int:
    """Append the indexer after the query latent and return its last part."""
    setting, card, kernels = parts.setting, parts.setting.card, parts.setting.node.kernels
    projection = work.weights(card.q_lora_rank * card.index_heads * card.index_head_dim, setting.queries)
    seconds = setting.fixed_s(kernels.index_projection) + setting.memory_s(projection)
    last = parts.compute("index-projection", LEAD, "index", seconds)
    if not work.is_sparse(card, setting.context_tokens, setting.queries):
        return last
    scan_s = index_scan_s(setting)
    parts.compute("index-logits", LEAD, "index", setting.fixed_s(kernels.logits) + scan_s)
    select_s = setting.node.select_us * 1e-6 if setting.ideas.persistent_tiles else 0.0
    return parts.compute("select", LEAD, "index", setting.fixed_s(kernels.select) + select_s)


def index_scan_s(setting: Setting) -> float:
    """Return the indexer's time that grows with the context: logits and the scan for the top-k.

    The persistent kernel reads every key once at the achieved memory rate and computes at the achieved bf16 rate. The
    conventional kernels take the device's measured time per 1,024 tokens: one for the request, and one for each query token.
    """
    done = work.logits_work(setting.card, setting.context_tokens, setting.queries)
    if setting.ideas.persistent_tiles:
        rate = setting.node.index_share * setting.node.device.peak.bf16_tflops * 1e12
        return setting.memory_s(Work(done.memory_bytes)) + done.bf16_flops / rate
    figures = setting.node.device.decode["fp8"]
    per_ktoken_us = figures.longest_us_per_ktoken + setting.queries * figures.context_us_per_ktoken
    return per_ktoken_us * 1e-6 * (setting.context_tokens + setting.queries) / 1024


def _query(parts: _Parts, worker: int) -> int:
    setting, card, kernels = parts.setting, parts.setting.card, parts.setting.node.kernels
    up = work.weights(work.query_up_parameters(card, setting.heads), setting.queries)
    parts.compute("query-up", worker, "attention", setting.fixed_s(kernels.query_up) + setting.memory_s(up))
    absorb = work.weights(work.absorb_parameters(card, setting.heads), setting.queries)
    return parts.compute("absorb", worker, "attention", setting.fixed_s(kernels.absorb) + setting.memory_s(absorb))


def _attend(parts: _Parts, worker: int, after: tuple[int, ...]) -> int:
    setting, card, kernels = parts.setting, parts.setting.card, parts.setting.node.kernels
    heads, queries = setting.heads, setting.queries
    attend = work.attention_work(card, heads, setting.context_tokens, queries)
    parts.compute("attention", worker, "attention", setting.fixed_s(kernels.attention) + setting.memory_s(attend), after)
    value = work.weights(work.value_up_parameters(card, heads), queries)
    parts.compute("value-up", worker, "attention", setting.fixed_s(kernels.value_up) + setting.memory_s(value))
    output = work.weights(work.output_parameters(card, heads), queries)
    seconds = setting.fixed_s(kernels.output_projection) + setting.memory_s(output)
    return parts.compute("output-projection", worker, "attention", seconds)


def _feed_forward(parts: _Parts, worker: int, reduced: int, has_experts: bool) -> None:
    """Append router and experts, or the dense block, all split over the GPUs along the inner dimension."""
    setting, card, kernels = parts.setting, parts.setting.card, parts.setting.node.kernels
    eighth, queries = 1 / GPUS_PER_NODE, setting.queries
    if has_experts:
        router = work.bf16_weights(card.hidden * card.routed_experts, queries)
        shared = work.weights(card.shared_experts * card.expert_parameters * eighth, queries)
        routed_bytes = work.distinct_experts(card, queries) * card.expert_parameters * eighth
        flops = 2.0 * queries * card.experts_per_token * card.expert_parameters * eighth
        routed = Work(routed_bytes, fp8_flops=flops)
    else:
        router, routed = Work(0.0), Work(0.0)
        shared = work.weights(card.dense_parameters * eighth, queries)
    router_s, shared_s, routed_s = (setting.memory_s(done) for done in (router, shared, routed))
    late = 1 - setting.overlap
    # Gate and up are two thirds of a block's weights. Only those of the chosen experts wait for the router.
    parts.stream(worker, "experts", Work(router.memory_bytes + shared.memory_bytes * 2 / 3))
    first: tuple[int, ...] = (reduced,)
    if has_experts:
        parts.compute("router", worker, "experts", setting.fixed_s(kernels.router) + late * router_s, first)
        first = ()
    gate_up_s = (late * shared_s + routed_s) * 2 / 3
    parts.compute("gate-up", worker, "experts", setting.fixed_s(kernels.gate_up) + gate_up_s, first)
    parts.compute("down", worker, "experts", setting.fixed_s(kernels.down) + (shared_s + routed_s) / 3, ())
