"""How an engine is laid out: the one value that compute times, KV transfer, schedules and serving all take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from zcube.llm.cards import ModelCard
from zcube.llm.devices import ExpertKernel
from zcube.llm.kv import KvDtype, KvLayout
from zcube.llm.layout import Layout, layout_of
from zcube.llm.rankmap import RankMap, rank_map, resolve_rank_map
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.kv_plans import Connector, KvPushes
from zcube.llm.schedules.low_latency_plan import LowLatencyPlan
from zcube.llm.schedules.normal_plan import NormalPlan
from zcube.node import GPUS_PER_NODE

#: What limits exchanges of experts over nodes: DeepEP as measured and the network, or the network alone.
ExchangeLimit: TypeAlias = Literal["deepep", "links"]


@dataclass(frozen=True, slots=True)
class EngineLayout:
    """Layout of a prefill-decode engine.

    Attributes
    ----------
    prefill_layout : str
        Attention sliced by heads (``tp8``), by tokens of a sequence (``cp8``), or by requests (``dp8``), see
        :mod:`zcube.llm.layout`. Experts are sliced over the GPUs of a stage in the former two of one node, else spread over the
        GPUs, with tokens exchanged by DeepEP.
    decode_layout : str
        As above, but for ``cp``.
    prefill_ep_nodes : int
        Nodes of a prefill instance, over which the experts are spread; each computes as many tokens as any other.
    decode_ep_nodes : int
        Nodes of a decode instance, over which the experts are spread; dp8 only.
    kv_dtype : {"fp8", "bf16", "bf16+fp8-index"}
        KV cache; the two bf16 forms share one measured table.
    with_mtp_layer : bool
        Whether the draft layer's cache is shipped; TileRT always does.
    moe_balance : str
        Load of the experts: ``balanced``, ``power_law_1.01`` or ``power_law_1.2``.
    connector : str
        One of :data:`~zcube.llm.schedules.kv_plans.CONNECTORS`.
    exchanges : {"deepep", "links"}
        What limits exchanges of experts over nodes.
    layer_split : bool
        Under cp8, whether each prefill GPU holds, and sends, its own layers only.
    prefill_gpus, decode_gpus : int
        GPUs of a node, of all its stages.
    prefill_stages, decode_stages : int
        Pipeline stages of a node.
    prefill_redundant_experts, decode_redundant_experts : int or None
        Copies of experts, placed with them by their load (:mod:`zcube.llm.expert_placement`); None: experts in order.
    """

    prefill_layout: str
    decode_layout: str
    prefill_ep_nodes: int = 1
    decode_ep_nodes: int = 1
    kv_dtype: KvDtype = "fp8"
    with_mtp_layer: bool = True
    moe_balance: str = "power_law_1.2"
    connector: Connector = "mooncake-push"
    layer_split: bool = False
    exchanges: ExchangeLimit = "deepep"
    prefill_gpus: int = GPUS_PER_NODE
    decode_gpus: int = GPUS_PER_NODE
    prefill_stages: int = 1
    decode_stages: int = 1
    prefill_redundant_experts: int | None = None
    decode_redundant_experts: int | None = None

    @property
    def prefill_stage_gpus(self) -> int:
        """GPUs of a stage of a prefill node."""
        return self.prefill_gpus // self.prefill_stages

    @property
    def decode_stage_gpus(self) -> int:
        """GPUs of a stage of a decode node."""
        return self.decode_gpus // self.decode_stages

    @property
    def prefill_sizes(self) -> Layout:
        """Sizes of prefill's layout on a stage.

        Raises
        ------
        ValueError
            If they do not fit it.
        """
        return layout_of(self.prefill_layout, self.prefill_stage_gpus)

    @property
    def decode_sizes(self) -> Layout:
        """Sizes of decode's layout on a stage; as :attr:`prefill_sizes`."""
        return layout_of(self.decode_layout, self.decode_stage_gpus)

    @property
    def told(self) -> tuple[str, str]:
        """Both layouts in words, with what is not eight GPUs of one stage."""
        both = (
            (self.prefill_layout, self.prefill_stage_gpus, self.prefill_stages),
            (self.decode_layout, self.decode_stage_gpus, self.decode_stages),
        )
        first, second = (
            layout
            + (f" of {gpus} GPUs" if gpus != GPUS_PER_NODE else "")
            + (f" in {stages} pipeline stages" if stages > 1 else "")
            for layout, gpus, stages in both
        )
        return first, second

    @property
    def kv(self) -> KvLayout:
        """How the KV cache is stored and shipped."""
        return KvLayout(self.kv_dtype, self.with_mtp_layer or self.connector == "tilert")

    @property
    def prefill_experts(self) -> ExpertKernel:
        """What computes the routed experts in prefill."""
        return "deepep_normal" if self.prefill_layout.startswith("dp") or self.prefill_ep_nodes > 1 else "fused"

    @property
    def decode_experts(self) -> ExpertKernel:
        """What computes the routed experts in decode."""
        return "deepep_low_latency" if self.decode_layout.startswith("dp") else "fused"

    def ranks(self, card: ModelCard) -> RankMap:
        """Return who sends whose KV to whom."""
        layers = self.kv.layers(card)
        if self.connector == "tilert":
            return rank_map("tp8-tilert", layers)
        return resolve_rank_map(
            prefill_tp=self.prefill_sizes.tp,
            decode_tp=self.decode_sizes.tp,
            prefill_cp=self.prefill_sizes.cp,
            layer_split=self.layer_split,
            layers=layers,
            prefill_gpus=self.prefill_stage_gpus,
            decode_gpus=self.decode_stage_gpus,
            prefill_stages=self.prefill_stages,
            decode_stages=self.decode_stages,
        )

    def kv_pushes(self, card: ModelCard) -> KvPushes:
        """Return what may be pushed of any request."""
        return KvPushes(card, self.connector, self.ranks(card), self.kv)

    def prefill_exchange(self, card: ModelCard) -> NormalPlan:
        """Return what a prefill instance's exchanges send under even routing."""
        return NormalPlan(ExpertRouting(card, self.prefill_ep_nodes, gpus_per_node=self.prefill_gpus))

    def decode_exchange(self, card: ModelCard) -> LowLatencyPlan:
        """Return what a decode instance's exchanges send under even routing."""
        return LowLatencyPlan(ExpertRouting(card, self.decode_ep_nodes, gpus_per_node=self.decode_gpus))
