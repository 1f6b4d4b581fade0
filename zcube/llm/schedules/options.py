"""What a generated trace declares: the workload and the engine's layouts, the same keys for every engine."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from zcube.inputs import Declared
from zcube.llm.compute_choice import ComputeKind
from zcube.llm.compute_inputs import MAX_EP_NODES
from zcube.llm.decode_node.figures import NodeFigures
from zcube.llm.kv import KvDtype
from zcube.llm.layout import MAX_STAGE_GPUS
from zcube.llm.schedules.kv_plans import MAX_PAGE_TOKENS, MAX_TOKENS, Connector
from zcube.llm.schedules.kv_push import KvTiming
from zcube.llm.schedules.slices import Slicing
from zcube.node import GPUS_PER_NODE

#: ``tp8``, ``cp8``, ``cp8-layersplit``, ``dp8``, and in decode ``tilert``, with the GPUs of a node in the place of 8.
PrefillSchedule: TypeAlias = Annotated[str, Field(pattern=r"^(tp|dp|cp)[1-9][0-9]{0,3}$|^cp[1-9][0-9]{0,3}-layersplit$")]
DecodeSchedule: TypeAlias = Annotated[str, Field(pattern=r"^(tp|dp)[1-9][0-9]{0,3}$|^tilert$")]

#: Prefill chunks of all prompts together.
MAX_CHUNKS = 1 << 20

Nodes = Annotated[int, Field(ge=0, le=MAX_EP_NODES)]
Tokens = Annotated[int, Field(ge=0, le=1 << 22)]


class EngineOptions(Declared):
    """Options of :func:`~zcube.llm.schedules.engines.generate`.

    Attributes
    ----------
    gpus_per_node : int
        GPUs of every node, which the scale-up link joins; the size of every layout.
    prefill_layout, decode_layout : str, optional
        Schedules; the engine's own where left out. Under dp8 the experts are spread over all nodes of the phase; under the
        others every node is an instance of its own.
    prefill_nodes, decode_nodes : int
        Nodes of each phase, 0 to leave the phase out; without one of them there is no KV transfer.
    requests : int
        Prompts, all there at the start; request ``r`` goes to node ``r % nodes`` of each phase, there to data-parallel rank
        ``(r // nodes) % gpus_per_node`` under dp.
    new_tokens, cached_tokens : int
        Tokens of each prompt that are computed, and that the prefill side has cached before them.
    decode_prefix_tokens : int
        Tokens of each prompt that the decode side has cached, left out of the KV transfer.
    chunk_tokens : int
        Tokens a node computes in one iteration at most.
    decode_steps : int
        Steps of each decode node.
    decode_batch : int, optional
        Requests decoded together: per GPU under dp8, per node under tp8; those of the trace where left out. TileRT: 1.
    context_tokens : int, optional
        Tokens cached at the first decode step; the prompt's where left out.
    drafts : int
        Tokens drafted and verified with each step.
    accepted_tokens : float
        Tokens a step adds to a context.
    layers : int, optional
        Only the first layers, for shorter traces; KV transfers stay whole. Not for TileRT's decode.
    device, tilert_node : str
        Device of the compute times; node of TileRT's decode times.
    tilert_figures : NodeFigures
        Figures of that node in place of its file's.
    decode_kernel_us : float, optional
        Start of a kernel of a conventional engine's decode that only moves bytes; the device's where left out.
    compute : {"auto", "roofline", "measured"}
        Compute model.
    moe_balance : str
        Load of the experts in the compute times, and of sampled counts.
    expert_counts : {"expected", "sampled"}
        Tokens per destination of the expert all-to-all.
    prefill_overlap, decode_overlap : str
        Orders of :mod:`~zcube.llm.schedules.expert_pipeline` under dp8.
    exchange_chunks : int
        Parts of a normal-mode message over the rail.
    connector : str, optional
        KV connector; the engine's own where left out.
    kv_dtype, with_mtp_layer
        KV cache, and whether the draft layer's is shipped (TileRT always does).
    page_tokens, page_runs, whole_last_page
        As :func:`~zcube.llm.schedules.kv_plans.kv_plan`.
    slicing, kv_timing
        Cutting into slices; times of a transfer that are not the network's.
    layer_split_rows, layer_split_buffer_tokens, layer_split_beside
        As :class:`~zcube.llm.schedules.node_prefill.LayerSplit`.
    seed : int
        Of sampled counts.
    """

    gpus_per_node: Annotated[int, Field(ge=1, le=MAX_STAGE_GPUS)] = GPUS_PER_NODE
    prefill_layout: PrefillSchedule | None = None
    prefill_nodes: Nodes = 1
    decode_layout: DecodeSchedule | None = None
    decode_nodes: Nodes = 1
    requests: Annotated[int, Field(ge=1, le=65_536)] = 1
    new_tokens: Annotated[int, Field(ge=1, le=1 << 22)] = 8192
    cached_tokens: Tokens = 0
    decode_prefix_tokens: Tokens = 0
    chunk_tokens: Annotated[int, Field(ge=64, le=1 << 20)] = 8192
    decode_steps: Annotated[int, Field(ge=1, le=1024)] = 1
    decode_batch: Annotated[int, Field(ge=1, le=65_536)] | None = None
    context_tokens: Tokens | None = None
    drafts: Annotated[int, Field(ge=0, le=15)] = 0
    accepted_tokens: Annotated[float, Field(ge=1, le=16)] = 1.0
    layers: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    device: str = "b200"
    tilert_node: str = "tilert-b200"
    tilert_figures: NodeFigures = NodeFigures()
    decode_kernel_us: Annotated[float, Field(gt=0, le=1e6)] | None = None
    compute: ComputeKind = "auto"
    moe_balance: Literal["balanced", "power_law_1.01", "power_law_1.2"] = "power_law_1.2"
    expert_counts: Literal["expected", "sampled"] = "expected"
    prefill_overlap: Literal["two-batch", "none"] = "two-batch"
    decode_overlap: Literal["five-stage", "two-batch", "none"] = "five-stage"
    exchange_chunks: Annotated[int, Field(ge=1, le=1024)] = 1
    connector: Connector | None = None
    kv_dtype: KvDtype = "fp8"
    with_mtp_layer: bool = True
    page_tokens: Annotated[int, Field(ge=1, le=MAX_PAGE_TOKENS)] = 64
    page_runs: Annotated[int, Field(ge=1, le=MAX_PAGE_TOKENS)] = 1
    whole_last_page: bool = True
    slicing: Slicing = Slicing()
    kv_timing: KvTiming = KvTiming()
    layer_split_rows: Literal["referenced", "whole-buffer"] = "referenced"
    layer_split_buffer_tokens: Tokens = 0
    layer_split_beside: Literal["indexer", "previous-layer"] = "indexer"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> EngineOptions:
        wrong = []
        if not self.prefill_nodes + self.decode_nodes:
            wrong.append("at least one prefill or decode node")
        if self.requests * (self.new_tokens // self.chunk_tokens + 1) > MAX_CHUNKS:
            wrong.append(f"at most {MAX_CHUNKS} chunks of all prompts")
        if self.prompt_tokens > MAX_TOKENS:
            wrong.append(f"new_tokens and cached_tokens of at most {MAX_TOKENS} together")
        if self.accepted_tokens > self.drafts + 1:
            wrong.append(f"accepted_tokens at most drafts + 1 = {self.drafts + 1}")
        if self.decode_prefix_tokens > self.prompt_tokens:
            wrong.append(f"decode_prefix_tokens at most the prompt's {self.prompt_tokens}")
        buffer = self.layer_split_buffer_tokens
        if self.layer_split_rows == "whole-buffer" and buffer < max(self.prompt_tokens, self.chunk_tokens):
            wrong.append("layer_split_buffer_tokens of at least the prompt and the chunk for whole-buffer")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def prompt_tokens(self) -> int:
        """Tokens of each prompt."""
        return self.new_tokens + self.cached_tokens

    @property
    def decode_context(self) -> int:
        """Tokens cached at the first decode step."""
        return self.prompt_tokens if self.context_tokens is None else self.context_tokens
