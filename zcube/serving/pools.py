"""What a serving run declares of its nodes: the pools of prefill and decode, and TileRT's nodes."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zcube.inputs import Declared
from zcube.llm.decode_node.figures import NodeFigures
from zcube.llm.layout import LAYOUT_PATTERN, MAX_STAGE_GPUS, layout_of
from zcube.llm.rankmap import MAX_STAGES
from zcube.node import GPUS_PER_NODE

Pool = TypeVar("Pool", "PrefillPool", "DecodePool")

#: Tokens of KV that decode holds for each of its GPUs where nothing is named; inferred.
USUAL_KV_TOKENS = 500_000


def _whole_instances(span: int, info: ValidationInfo) -> int:
    nodes = info.data.get("nodes", span)
    if nodes % span:
        raise ValueError(f"nodes_per_instance that divides nodes = {nodes}, so that instances are whole")
    return span


def _with_overlap(pool: Pool) -> Pool:
    if pool.expert_stages and not pool.expert_overlap:
        raise ValueError("expert_overlap with expert_stages")
    return pool


def _layout_spans(layout: str, info: ValidationInfo) -> str:
    gpus, stages = info.data.get("gpus_per_node"), info.data.get("pipeline_stages")
    if gpus is None or stages is None:
        return layout
    layout_of(layout, gpus // stages)
    if info.data.get("nodes_per_instance", 1) > 1 and not layout.startswith("dp"):
        raise ValueError(f"dp, as dp{gpus}, where nodes_per_instance > 1: DeepEP goes with data-parallel attention")
    if stages > 1 and layout.startswith("dp"):
        raise ValueError("tp or cp where pipeline_stages > 1: exchanges of experts within stages have no model")
    return layout


def _whole_stages(stages: int, info: ValidationInfo) -> int:
    gpus, span = info.data.get("gpus_per_node", stages), info.data.get("nodes_per_instance", 1)
    if gpus % stages:
        raise ValueError(f"pipeline_stages that divides gpus_per_node = {gpus}, so that stages are alike")
    if stages > 1 and span > 1:
        raise ValueError(
            "1 with nodes_per_instance > 1: a pipeline is one node, whose gpus_per_node are those of all its stages"
        )
    return stages


class Nodes(Declared):
    """What both pools say of their nodes.

    A node is what shares a queue: some GPUs that the scale-up link joins, as many of a server as fit, or a pipeline of
    ``pipeline_stages`` such groups. An iteration or step goes through p stages in m parts, ``microbatches``. Prefill's takes
    ``(m + p - 1) / (m p)`` of what one stage with all layers would, a bubble of ``(p - 1) / (m + p - 1)``; decode's next step
    of a part begins when the part's token is out, so that ``max(m, p)`` takes the place of the numerator. Activations, two
    bytes a hidden value and token, go from every GPU of a stage to its like in the next, an equal share each; what of a part's
    transfers nothing hides comes on top (:mod:`zcube.serving.pipeline`).
    """

    gpus_per_node: int = Field(
        default=GPUS_PER_NODE, ge=1, le=MAX_STAGE_GPUS * MAX_STAGES, description="GPUs of a node, of all its stages"
    )
    nodes: int = Field(ge=1, le=100_000, description="nodes in the pool")
    nodes_per_instance: int = Field(default=1, ge=1, le=128, description="nodes that share one expert-parallel group")
    pipeline_stages: int = Field(default=1, ge=1, le=MAX_STAGES, description="groups of GPUs a node's layers are dealt to")
    microbatches: int | None = Field(
        default=None, ge=1, le=1024, description="parts of an iteration or step in a pipeline; default: as many as stages"
    )
    redundant_experts: int | None = Field(
        default=None,
        ge=0,
        le=65_536,
        description="copies of busy experts, placed with the rest by load as DeepSeek's EPLB does; default: experts in order",
    )

    _whole_instances = field_validator("nodes_per_instance")(_whole_instances)
    _whole_stages = field_validator("pipeline_stages")(_whole_stages)

    @model_validator(mode="after")
    def _parts_of_a_pipeline(self) -> Nodes:
        if self.microbatches is not None and self.pipeline_stages == 1:
            raise ValueError("pipeline_stages above 1 with microbatches")
        return self

    @property
    def stage_gpus(self) -> int:
        """GPUs of a stage."""
        return self.gpus_per_node // self.pipeline_stages

    @property
    def parts(self) -> int:
        """Parts of an iteration or step."""
        return self.microbatches or self.pipeline_stages


class PrefillPool(Nodes):
    """Nodes that compute prompts, in instances of one node or, with expert parallelism across nodes, several.

    ``expert_overlap``: two microbatches hide exchanges behind computation, an iteration takes the longer of the two; without it
    their sum. The default is DeepSeek's engine; SGLang and vLLM do so when asked (``--enable-two-batch-overlap``,
    ``--enable-dbo``). ``expert_bursts``: parts in which an iteration's exchanges are sent, each of as many whole layers as any
    other or one more, computed meanwhile; the engine exchanges twice a layer, fewer bursts keep runs short. docs/models.md has
    the error of that. ``expert_stages``: with overlap, what runs beside what is as DeepSeek's profile shows it, and
    ``expert_sm_share`` of the SMs are missing to computation beside an exchange: 24 of 132 there, 20 SMs as DeepEP is measured.

    ``kv_capacity_tokens``: one pool of memory, as SGLang has it. A prompt claims room for all of its tokens when it starts and
    gives it back when its transfer has ended; cached blocks that it reuses are held once. Where the cache that nobody needs
    does not make enough room, least recently used first, the queue waits behind the prompt at its head. A prompt that can never
    have room is rejected.
    """

    layout: str = Field(
        default="cp8", pattern=LAYOUT_PATTERN, description="attention layout inside a stage: tp, cp or dp, and a size"
    )
    chunk_tokens: int = Field(default=8192, ge=64, le=1 << 20, description="tokens a node computes in one iteration at most")
    prefix_cache_tokens: int = Field(default=2_000_000, ge=0, le=10**10, description="KV a node keeps for reuse; inferred")
    kv_capacity_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10**10,
        description="KV a node holds in all: cache, running and unshipped prompts; default: no limit but the cache's",
    )
    max_queue: int | None = Field(
        default=None, ge=1, description="requests queued or under way at a node beyond which it takes no more; open loop only"
    )
    expert_overlap: bool = True
    expert_stages: bool = False
    expert_sm_share: float = Field(default=0.0, ge=0, lt=1, description="with expert_stages only")
    expert_bursts: int = Field(default=8, ge=1, le=1000)

    _layout_spans = field_validator("layout")(_layout_spans)

    @model_validator(mode="after")
    def _stages_overlap(self) -> PrefillPool:
        if self.expert_sm_share and not self.expert_stages:
            raise ValueError("expert_stages with expert_sm_share")
        return _with_overlap(self)


Engine: TypeAlias = Literal["batched", "tilert"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


class TileRt(Declared):
    """Nodes of ``decode.engine = "tilert"``; docs/tilert.md has their model and what is inferred.

    A node has one receive slot and answers 429 while it has a request; the router keeps one request a node, from before its
    prefill to its last token (TileRT 0.1.5). What the router does with a request for which no node is free is not published:
    ``when_busy`` says whether it waits there, first come first served, for any node, or is rejected.

    A step yields ``accepted_tokens`` on average: 3.2 with 3 drafts on TileRT's chart. Once a cache has come, GPU 0 turns it
    into bf16 and copies latents to its seven peers. Neither rate is published: conversion at the rate of memory that the node's
    steps reach, copies at 0.8 of NVLink, as DeepEP reaches 726 of 900 GB/s within a B200 node.
    """

    node: str = Field(default="tilert-b200", min_length=1, max_length=4096, description="bundled node, or a node file")
    drafts: int = Field(default=3, ge=0, le=31, description="tokens drafted a step")
    accepted_tokens: float = Field(default=3.2, ge=1, le=32, description="tokens a step yields on average, at most drafts + 1")
    when_busy: Literal["queue", "reject"] = Field(default="queue", description="a request for which no node is free")
    convert_gbytes_per_s: float | None = Field(
        default=None, gt=0, le=1e6, description="read and written in conversion; default: memory_share of the peak rate"
    )
    inject_efficiency: float = Field(default=0.8, gt=0, le=1, description="part of NVLink's rate that copies reach")
    figures: NodeFigures = NodeFigures()

    @model_validator(mode="after")
    def _within_drafts(self) -> TileRt:
        if self.accepted_tokens > self.drafts + 1:
            raise ValueError(f"accepted_tokens of 1 .. {self.drafts + 1} (drafts + 1), not {self.accepted_tokens:g}")
        return self


class DecodePool(Nodes):
    """Nodes that generate: ``batched``, continuous batching, or ``tilert``, one request a node at a time.

    ``batched`` runs in instances of one node or, with expert parallelism across nodes, several.
    An instance of several nodes shares its experts (DeepEP's low-latency mode); its requests keep in step, each node has room
    for its own. ``expert_overlap``: the batch is cut in two, and the exchanges of one half run beside the computation of the
    other; a step takes the longer of all exchanges and of what both halves compute one after the other, or with
    ``expert_stages`` what the order of DeepSeek's profile makes it take. A batch with less than two requests for every GPU
    cannot be cut in two on all of them and exchanges and computes in turn (vLLM's dual batch overlap: where one rank cannot,
    none does). DeepSeek's engine overlaps; the default is SGLang's
    and vLLM's, which exchange and compute in turn unless asked. ``expert_burst_steps``: steps
    whose exchanges are sent as one; a request joins between bursts. ``expert_whole_bursts``: a burst goes on when one of its
    requests ends, which leaves with the others at its end; else it is cut short there, which in batches of thousands is at
    every step. ``expert_pairs``: ``turned``, in a burst every GPU sends what is for another node to one GPU of it, in turn to
    each; ``all``, to all eight, as the engine does. All three keep runs short; docs/models.md has the error of that.

    ``first_token``: ``prefill``, the answer begins with the token that prefill made, given out when the KV cache has arrived in
    full (SGLang); ``decode``, the decode node computes the first token too, a step later (NVIDIA Dynamo's replay).
    ``preallocate``: whether the decode node is asked for room, for prompt and answer, when a request arrives and not when its
    prefill starts, and prefill starts only with it: ``overtake``, prompts that have room start before those that wait for it
    (SGLang's bootstrap queue); ``in-order``, those behind wait too. Decode nodes give room in order of arrival either way.
    ``prefix_cache_tokens``: whole pages of a prompt that are among these when room is given are not shipped (SGLang's
    ``decode_prefix_len``). They are beside ``kv_capacity_tokens`` in memory, take in a prompt's full blocks when its KV is
    there, and lose the least recently used; TileRT ships everything.
    ``attention_balance``: the slowest GPU sets a step's pace. ``requests``: they are dealt by number, in the order of their
    coming; ``kv``: so that every GPU holds as much KV too, which DeepSeek's decode load balancer aims at (DeepSeek-V3/R1
    Inference System Overview). A request may change its GPU here at every burst; a balancer that places it once, where least
    KV is held and up to 6 % more requests than the mean, leaves the fullest of 144 GPUs 4 % more KV than the mean, and one
    that counts requests 17 % (simulated for ``deepseek-v3-h800``).
    ``tokens_per_step``: output tokens that speculative decoding makes in the time of a step without it, drafts and verification
    counted. GLM-5 on eight B200 with three drafts and 32,000 to 64,000 tokens of context, read off TileRT's charts: 1.5 (vLLM
    0.16) to 2.2 (TileRT 0.1.5). Tokens come one after the other, evenly (inferred).
    """

    engine: Engine = Field(default="batched", description="what runs on the nodes; a fabric named NAME+tilert has its own")
    tilert: TileRt = TileRt()
    layout: str = Field(
        default="dp8",
        pattern=LAYOUT_PATTERN.replace("|cp", ""),
        description="attention layout inside a stage: tp or dp, and a size",
    )
    max_batch: int = Field(
        default=128, ge=1, le=65_536, description="requests a node holds, KV under way included; tilert holds 1"
    )
    kv_capacity_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10**10,
        description=f"KV a node holds, in tokens; default: {USUAL_KV_TOKENS:,} a GPU (inferred), or what weights leave of the "
        "device's memory if that is less",
    )
    prefix_cache_tokens: int = Field(default=0, ge=0, le=10**10, description="KV of prompts a node keeps for reuse")
    preallocate: Literal["none", "in-order", "overtake"] = Field(
        default="none", description="whether prefill waits for room at the decode node, and whether in order of arrival"
    )
    first_token: Literal["prefill", "decode"] = Field(default="prefill", description="who makes an answer's first token")
    expert_overlap: bool = False
    expert_stages: bool = False
    expert_burst_steps: int = Field(default=2, ge=1, le=1000)
    expert_whole_bursts: bool = False
    expert_pairs: Literal["turned", "all"] = "turned"
    attention_balance: Literal["requests", "kv"] = Field(
        default="requests", description="what GPUs of data-parallel attention hold alike: requests, or KV too"
    )
    tokens_per_step: float = Field(
        default=1.0,
        ge=1,
        le=64,
        description="by which speculative decoding, its own cost counted, is faster than a step a token",
    )

    _layout_spans = field_validator("layout")(_layout_spans)

    @model_validator(mode="after")
    def _stages_overlap(self) -> DecodePool:
        if self.attention_balance == "kv" and not self.layout.startswith("dp"):
            raise ValueError(
                f"a layout of dp with attention_balance = kv, not {self.layout}, whose GPUs all hold the same requests"
            )
        return _with_overlap(self)

    @property
    def kv_tokens(self) -> int:
        """KV a node holds, in tokens: as named, else what is usual."""
        return self.kv_capacity_tokens or USUAL_KV_TOKENS * self.gpus_per_node

    @property
    def asked_first(self) -> bool:
        """Whether a request waits for its decode node before it goes to prefill."""
        return self.engine == "tilert" or self.preallocate != "none"

    @property
    def places(self) -> int:
        """Requests a node holds at most."""
        return 1 if self.engine == "tilert" else self.max_batch
