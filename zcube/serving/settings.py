"""What a serving run declares: load, KV transfer, placement, and the pools. The tables of a scenario file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from zcube.errors import InputError
from zcube.inputs import Declared
from zcube.llm.engine_layout import EngineLayout, ExchangeLimit
from zcube.llm.layout import layout_of
from zcube.llm.rankmap import RankMap, named_layouts, rank_map, rank_map_names
from zcube.llm.schedules.kv_plans import Connector
from zcube.node import GPUS_PER_NODE
from zcube.serving.cache_settings import Cache
from zcube.serving.pools import DecodePool, Engine, Nodes, PrefillPool


class Load(Declared):
    """How requests come.

    ``open``: at their trace times, rescaled to ``rate_per_s`` if that is given. ``closed``: always ``concurrency`` requests
    under way, taken in trace order, the next one sent when one ends. In both, a request that waits for another, as a session's
    next turn does, comes when that one has ended, served or rejected, and its delay has passed; where a closed loop finds
    none that may come, fewer are under way.
    """

    mode: Literal["open", "closed"] = Field(
        default="open", description="whether requests come by the clock, or when others end"
    )
    rate_per_s: float | None = Field(default=None, gt=0, le=1e6, description="mean request rate; default: the trace's own")
    concurrency: int = Field(default=512, ge=1, le=1_000_000, description="closed loop only")
    horizon_s: float | None = Field(default=None, gt=0, le=1e7, description="end of the run; default: when all are done")


class KvTransfer(Declared):
    """How a request's KV cache goes from prefill to decode.

    ``setup_s`` defaults to the intercept of a fit to Mooncake's published vLLM figures (nine prompts, Qwen3-8B, 8 x 200G):
    0.37 ms a transfer. ``blocking = "step"`` is what vLLM's Mooncake connector and TileRT do: they gather and send within the
    forward pass (``wait_for_save``), so that an instance starts no iteration while a push of its nodes, set-up included, is
    under way. A push that waits for room at its decode node has not begun.

    ``efficiency``: the rate that one transfer reaches at most, as a part of the line rate of a GPU's NIC. The same fit has a
    slope of 0.69 of the line rate for Mooncake, whose authors report 0.7 to 0.9. Transfers that share a NIC may fill it. Where
    a calibration holds the measured rate of NICs, that takes its place.
    """

    rank_map: str = Field(default="cp8-dp8", description="a prefill-to-decode rank map: both layouts, or tp8-tilert")
    push: Literal["per-chunk", "after-prefill"] | None = Field(
        default=None,
        description="whole pages after every chunk (SGLang, mooncake-push), or everything after the last one (vLLM); default: "
        "per-chunk, with tp8-tilert after-prefill",
    )
    blocking: Literal["none", "step"] = Field(
        default="none", description="what waits for a push: nothing (SGLang), or the instance's next iteration (vLLM, TileRT)"
    )
    dtype: Literal["fp8", "bf16", "bf16+fp8-index"] = Field(default="fp8", description="of the cache that is sent")
    with_mtp_layer: bool = Field(default=True, description="ship the draft layer's cache too")
    setup_s: float = Field(default=0.00037, ge=0, le=10, description="control-plane time before a push reaches the network")
    efficiency: float = Field(
        default=1.0, gt=0, le=1, description="most of a NIC's line rate that one transfer reaches; 0.69: Mooncake, fitted"
    )

    @field_validator("rank_map")
    @classmethod
    def _known_map(cls, name: str) -> str:
        if named_layouts(name) is None:
            raise ValueError("layouts of prefill and decode, such as " + ", ".join(rank_map_names()))
        return name

    @model_validator(mode="after")
    def _one_write_of_tilert(self) -> KvTransfer:
        if self.push == "per-chunk" and self.single_pair:
            raise ValueError(f"push = after-prefill with rank_map = {self.rank_map}: TileRT writes a request's cache once")
        return self

    @property
    def single_pair(self) -> bool:
        """Whether GPU 0 sends to GPU 0, as TileRT's do."""
        return self.rank_map.endswith("-tilert")

    @property
    def connector(self) -> Connector:
        """The KV connector, by the name that traces of engines use."""
        if self.single_pair:
            return "tilert"
        return "after-prefill" if self.push == "after-prefill" else "mooncake-push"


class Router(Declared):
    """Which requests go through a prefill node.

    ``disaggregated``: all. ``conditional``: those of which the decode nodes' prefix caches leave more than
    ``max_local_prefill_tokens``; others go straight to the decode node that holds most of the prompt, the one with fewest
    requests of equals. So do all requests while ``max_prefill_queue`` prompts or more wait for prefill. This is NVIDIA Dynamo's
    conditional disaggregation, whose router's defaults are 1,000 tokens and 2 prompts in one queue of all prefill workers;
    counted here are prompts at all prefill nodes that have not started. A decode node computes such prompts before its next
    step, which the batch waits for, with the times of a prefill node (inferred).
    """

    policy: Literal["disaggregated", "conditional"] = Field(
        default="disaggregated", description="whether all prompts go through a prefill node"
    )
    ties: Literal["lowest", "in-turn"] = Field(
        default="lowest",
        description="of nodes that are equal for a request: the lowest number, or the next one round from the last chosen",
    )
    max_local_prefill_tokens: int = Field(
        default=1000, ge=0, le=1 << 20, description="conditional: tokens a decode node computes of a prompt at most"
    )
    max_prefill_queue: int | None = Field(
        default=None,
        ge=1,
        description="conditional: prompts that wait for prefill, from which on decode computes all; default: no bound",
    )


class Measure(Declared):
    """The window of steady state that rates and latencies are taken over.

    It begins when a part of the requests has arrived or, if that is given, after ``warm_up_s``. It ends when only a part is yet
    to come of the requests that wait for no other, so that these keep the load up while those of the window end; or after
    ``window_s``. Warm-up, window and what comes after must each be long enough for the times that requests stay, else there is
    no rate. docs/metrics.md has the rule; the defaults are this project's choice.
    """

    warm_up_s: float | None = Field(default=None, ge=0, le=1e7, description="left out at the start; default: by requests")
    warm_up_fraction: float = Field(
        default=0.3, ge=0, lt=1, description="part of the requests, or of the horizon if that is sooner, left out at the start"
    )
    window_s: float | None = Field(default=None, gt=0, le=1e7, description="length; default: up to the cool-down")
    cool_down_fraction: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="part of the requests, or of the horizon if that is sooner, left out at the end; not with window_s",
    )
    least_requests: int = Field(default=100, ge=1, description="arrivals in the window below which it gives no rate")
    least_filled: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="part of a steady system's requests that must come within the warm-up, and leave within the load that "
        "follows the window; E[min(S, t)] / E[S] for a time t and stays S",
    )
    least_turnovers: float = Field(
        default=3.0, ge=0, le=1e6, description="window over the mean time in system, below which it gives no rate"
    )
    steady_within: float = Field(
        default=0.05,
        gt=0,
        le=10,
        description="difference of arrivals and departures, or of Little's law's sides, beyond which a run is called unsteady",
    )


class Slo(Declared):
    """Service levels: bounds that a request is to meet. A request that fails or is turned away meets none."""

    ttft_s: float | None = Field(default=None, gt=0, le=1e6, description="time to first token, at most")
    tpot_s: float | None = Field(default=None, gt=0, le=1e6, description="mean gap between a request's tokens, at most")


class Placement(Declared):
    """Which servers prefill and decode nodes take: ``blocked`` side by side, ``striped`` interleaved in proportion."""

    kind: Literal["blocked", "striped"] = Field(default="blocked", description="where prefill and decode nodes sit")


class ServingSettings(Declared):
    """Everything a serving run needs besides fabric, requests, network and compute times."""

    load: Load = Load()
    prefill: PrefillPool
    decode: DecodePool
    kv: KvTransfer = KvTransfer()
    router: Router = Router()
    cache: Cache = Cache()
    placement: Placement = Placement()
    measure: Measure = Measure()
    slo: Slo = Slo()

    @model_validator(mode="after")
    def _consistent(self) -> ServingSettings:
        names = named_layouts(self.kv.rank_map) or ("", "")
        pools: tuple[tuple[str, Nodes, str], ...] = (
            ("prefill", self.prefill, self.prefill.layout), ("decode", self.decode, self.decode.layout)
        )  # fmt: skip
        wrong = [
            f"{pool}.layout = {name} for kv.rank_map = {self.kv.rank_map}, not {layout}"
            for (pool, nodes, layout), name in zip(pools, names, strict=True)
            if not _same_layout(layout, name, nodes.stage_gpus)
        ]
        if not wrong:
            wrong += _rank_map_faults(self)
        if self.load.mode == "closed" and self.prefill.max_queue is not None:
            wrong.append("no prefill.max_queue in a closed loop, which would reject the rest of a trace at one instant")
        if self.kv.single_pair and self.decode.prefix_cache_tokens:
            wrong.append(f"no decode.prefix_cache_tokens with kv.rank_map = {self.kv.rank_map}: TileRT ships whole prompts")
        if self.router.policy == "conditional" and not self.decode.prefix_cache_tokens:
            wrong.append("decode.prefix_cache_tokens with router.policy = conditional, which goes by what decode nodes hold")
        pool = {"own": None, "prefill": self.prefill.nodes, "decode": self.decode.nodes}[self.cache.store.placement]
        if pool is not None and self.store_servers > pool:
            wrong.append(
                f"at most {pool} as cache.store.servers, the nodes of {self.cache.store.placement}, not {self.store_servers}"
            )
        wrong += self.wrong_with(self.decode.engine)
        if self.router.max_prefill_queue is not None and self.router.policy != "conditional":
            wrong.append("router.policy = conditional with router.max_prefill_queue")
        if self.router.policy == "conditional" and self.decode.nodes_per_instance > 1:
            wrong.append("decode.nodes_per_instance = 1 with router.policy = conditional: a prompt stops its whole instance")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def wrong_with(self, engine: Engine) -> list[str]:
        """Return what would have to be otherwise for the decode nodes to run an engine."""
        if engine == "batched":
            return []
        wrong, busy = [], self.decode.tilert.when_busy
        if any(pool.gpus_per_node != GPUS_PER_NODE or pool.pipeline_stages > 1 for pool in (self.prefill, self.decode)):
            wrong.append(f"gpus_per_node = {GPUS_PER_NODE} with decode.engine = tilert, which runs on nodes of eight B200 only")
        if not self.kv.single_pair:
            wrong.append(f"kv.rank_map = tp8-tilert for decode.engine = tilert, not {self.kv.rank_map}")
        if self.decode.tokens_per_step != 1.0:
            wrong.append("decode.tokens_per_step = 1 with decode.engine = tilert, which has decode.tilert.accepted_tokens")
        if self.decode.nodes_per_instance > 1:
            wrong.append("decode.nodes_per_instance = 1 with decode.engine = tilert, whose nodes run alone")
        if self.decode.attention_balance != "requests":
            wrong.append(
                "decode.attention_balance = requests with decode.engine = tilert, whose nodes have one request at a time"
            )
        if self.decode.preallocate != "none":
            wrong.append("no decode.preallocate with decode.engine = tilert, whose router waits for a node before prefill")
        if self.prefill.max_queue is not None:
            wrong.append("no prefill.max_queue with decode.engine = tilert, whose router waits or rejects: tilert.when_busy")
        if busy == "reject" and self.load.mode == "closed" and self.load.concurrency > self.decode.nodes:
            wrong.append(
                f"at most {self.decode.nodes} as load.concurrency, or decode.tilert.when_busy = queue: a closed loop that is "
                "rejected rejects the rest of a trace at one instant"
            )
        return wrong

    def engine(self, moe_balance: str = "power_law_1.2", exchanges: ExchangeLimit = "deepep") -> EngineLayout:
        """Return the engine's layout, with the balance of its experts' load and what limits their exchanges over nodes."""
        return EngineLayout(
            prefill_layout=self.prefill.layout,
            decode_layout=self.decode.layout,
            prefill_ep_nodes=self.prefill.nodes_per_instance,
            decode_ep_nodes=self.decode.nodes_per_instance,
            kv_dtype=self.kv.dtype,
            with_mtp_layer=self.kv.with_mtp_layer,
            moe_balance=moe_balance,
            connector=self.kv.connector,
            layer_split="-layersplit-" in self.kv.rank_map,
            exchanges=exchanges,
            prefill_gpus=self.prefill.gpus_per_node,
            decode_gpus=self.decode.gpus_per_node,
            prefill_stages=self.prefill.pipeline_stages,
            decode_stages=self.decode.pipeline_stages,
            prefill_redundant_experts=self.prefill.redundant_experts,
            decode_redundant_experts=self.decode.redundant_experts,
        )

    @property
    def ranks(self) -> RankMap:
        """The rank map, on the nodes of both pools; of a layer split as of the default number of layers."""
        return rank_map(
            self.kv.rank_map, prefill_gpus=self.prefill.stage_gpus, decode_gpus=self.decode.stage_gpus,
            prefill_stages=self.prefill.pipeline_stages, decode_stages=self.decode.pipeline_stages,
        )  # fmt: skip

    @property
    def unrecorded(self) -> dict[str, Any]:
        """What a trace of the run does not say, by key: rates that no transfer exceeds, reads of caches."""
        keys = {
            "kv.efficiency": (self.kv.efficiency, 1.0),
            "cache.pool.tokens": (self.cache.pool.tokens, 0),
            "cache.store.tokens": (self.cache.store.tokens, 0),
            "prefill.expert_stages": (self.prefill.expert_stages, False),
            "decode.expert_stages": (self.decode.expert_stages, False),
        }
        return {key: value for key, (value, default) in keys.items() if value != default}

    @property
    def store_servers(self) -> int:
        """Servers that hold the store of cached prompts."""
        store = self.cache.store
        of_pool = {"own": 1, "prefill": self.prefill.nodes, "decode": self.decode.nodes}[store.placement]
        return 0 if not store.tokens else store.servers or of_pool

    @property
    def nodes(self) -> int:
        """Nodes of both pools, and servers of a store that has its own."""
        own = self.store_servers if self.cache.store.placement == "own" else 0
        return self.prefill.nodes + self.decode.nodes + own


def _same_layout(one: str, other: str, gpus: int) -> bool:
    """Return whether two names are of one layout on so many GPUs."""
    try:
        return layout_of(one, gpus)[1:] == layout_of(other, gpus)[1:]
    except ValueError:
        return False


def _rank_map_faults(settings: ServingSettings) -> list[str]:
    try:
        settings.ranks  # noqa: B018
    except InputError as error:
        return [f"{fault.expected} for {fault.where}, not {fault.found}" for fault in error.faults]
    return []
