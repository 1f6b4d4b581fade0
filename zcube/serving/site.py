"""What the parts of a serving cluster share, and what each of them holds of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.serving.cache_tiers import Read
from zcube.serving.clock import Clock
from zcube.serving.expert_exchange import ExpertGroup
from zcube.serving.journey import Journeys
from zcube.serving.kv_memory import Claim
from zcube.serving.pipeline import Pipeline
from zcube.serving.placement import Seated
from zcube.serving.pools import Nodes
from zcube.serving.recording import Recorder
from zcube.serving.settings import ServingSettings
from zcube.serving.shipping import Shipment
from zcube.serving.transfers import Transfers
from zcube.serving.work_done import WorkDone


@dataclass(frozen=True, eq=False)
class Site:
    """A run's clock, network, settings, places and model, and what is written down of it."""

    env: Clock
    transfers: Transfers
    settings: ServingSettings
    placed: Seated
    card: ModelCard
    compute: ComputeModel
    recorder: Recorder
    nic_gbps: float
    journeys: Journeys
    work: WorkDone

    def expert_group(self, firsts: Sequence[int], gpus: int, source: IntArray, target: IntArray) -> ExpertGroup:
        """Return nodes of so many GPUs from some on as a group that exchanges tokens."""
        return ExpertGroup(self.env, self.transfers, self.recorder, firsts, gpus, source, target)

    def pipeline(self, first: int, pool: Nodes, burst_steps: int = 1, whole_bursts: bool = False) -> Pipeline:
        """Return the stages of a node from a GPU on."""
        hidden = self.card.hidden
        return Pipeline(self.env, self.transfers, self.recorder, first, pool, hidden, burst_steps, whole_bursts)


@dataclass(slots=True, eq=False)
class Assigned:
    """A request's nodes, its prompt's full blocks, and what it holds; decode computes prompts that have no prefill node.

    ``hit`` are the leading blocks that its prefill node held after ``hit_at`` changes of its cache.
    """

    request: int
    blocks: IntArray
    prefill_node: int
    source_rank: int
    decode_node: int
    target_rank: int
    reserved_tokens: int
    hit: int = 0
    hit_at: int = 0
    shipment: Shipment | None = None
    read: Read | None = None
    claim: Claim | None = None
