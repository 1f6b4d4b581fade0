"""Whole engines: prefill, KV transfer and decode in one trace.

===========  ==================================  =====================  ==========================================
engine       prefill (first: its own)            decode                 KV connector
===========  ==================================  =====================  ==========================================
``sglang``   cp8, cp8-layersplit, dp8, tp8       dp8, tp8               mooncake-push
``vllm``     tp8, dp8                            tp8, dp8               nixl-pull, after-prefill
``tilert``   tp8 (vLLM)                          tilert                 tilert
===========  ==================================  =====================  ==========================================

The names are those of nodes of eight GPUs; on nodes of another size every 8 is that size. TileRT's nodes are of eight.
Nodes are numbered through: prefill nodes first, then decode nodes; rank = node * gpus_per_node + GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel, RooflineModel
from zcube.llm.compute_choice import compute_model, described
from zcube.llm.decode_node.figures import load_node
from zcube.llm.decode_node.step import step_document
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.layer_times import LayerTimes
from zcube.llm.schedules.assembly import Assembly
from zcube.llm.schedules.kv_plans import Connector
from zcube.llm.schedules.options import DecodeSchedule, EngineOptions, PrefillSchedule
from zcube.memory import check_memory
from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_OPERATIONS, CommTrace

Engine: TypeAlias = Literal["tilert", "sglang", "vllm"]

#: Memory of an operation with its dependencies while a trace is put together.
_BYTES_PER_OPERATION = 300


@dataclass(frozen=True)
class EngineKind:
    """What an engine offers, with ``N`` for the GPUs of a node; the first of each is its own choice."""

    prefill: tuple[str, ...]
    decode: tuple[str, ...]
    connectors: tuple[Connector, ...]

    def on(self, gpus: int) -> EngineKind:
        """Return what it offers on nodes of so many GPUs."""
        prefill, decode = (tuple(name.replace("N", str(gpus)) for name in names) for names in (self.prefill, self.decode))
        return EngineKind(prefill, decode, self.connectors)


ENGINES: dict[Engine, EngineKind] = {
    "tilert": EngineKind(("tpN",), ("tilert",), ("tilert",)),
    "sglang": EngineKind(("cpN", "cpN-layersplit", "dpN", "tpN"), ("dpN", "tpN"), ("mooncake-push",)),
    "vllm": EngineKind(("tpN", "dpN"), ("tpN", "dpN"), ("nixl-pull", "after-prefill")),
}


def generate(engine: Engine, card: ModelCard, options: EngineOptions | None = None) -> CommTrace:
    """Return what an engine's GPUs compute and send for some prompts.

    Parameters
    ----------
    engine : {"tilert", "sglang", "vllm"}
        The engine.
    card : ModelCard
        The model.
    options : EngineOptions, optional
        Workload and layouts.

    Returns
    -------
    CommTrace
        Phases ``prefill``, ``kv`` and ``decode``; the metadata holds engine, model, layouts, compute model and options.

    Raises
    ------
    InputError
        If the engine does not offer a choice, or the trace would be too large.
    """
    chosen = options or EngineOptions()
    card.check_served("model")
    if engine == "tilert":
        card.check_indexed("engine tilert")
    prefill, decode, connector = _choices(engine, chosen)
    _check_experts(card, chosen, prefill, decode)
    layout = _layout(chosen, prefill, decode, connector)
    device = load_device(chosen.device)
    if chosen.gpus_per_node > device.node.scale_up_gpus:
        raise InputError(device.domain_fault("gpus_per_node", chosen.gpus_per_node, "GPUs of a node"))
    times = compute_model(chosen.compute, card, device, layout)
    if chosen.decode_kernel_us is not None and isinstance(times, RooflineModel):
        times = times.with_decode_starts(chosen.decode_kernel_us, None)
    assembly = Assembly(card, chosen, cast("LayerTimes", times), prefill, decode, layout)
    _check_size(assembly)
    assembly.append()
    return assembly.builder.build(_metadata(engine, card, chosen, times, assembly))


def _choices(engine: Engine, options: EngineOptions) -> tuple[PrefillSchedule, DecodeSchedule, Connector]:
    if engine not in ENGINES:
        raise InputError(Fault("engine", repr(engine), "one of " + ", ".join(get_args(Engine))))
    kind, size = ENGINES[engine].on(options.gpus_per_node), options.gpus_per_node
    beside = f" on nodes of {size} GPUs (gpus_per_node)" if size != GPUS_PER_NODE else ""
    offered = (
        ("prefill_layout", options.prefill_layout, kind.prefill),
        ("decode_layout", options.decode_layout, kind.decode),
        ("connector", options.connector, kind.connectors),
    )
    faults = [
        Fault(key, repr(value), f"one of {', '.join(values)} with {engine}{beside}")
        for key, value, values in offered
        if value is not None and value not in values
    ]
    if engine == "tilert" and options.layers is not None and options.decode_nodes:
        faults.append(Fault("layers", str(options.layers), "all layers with tilert's decode"))
    if engine == "tilert" and size != GPUS_PER_NODE:
        faults.append(Fault("gpus_per_node", str(size), f"{GPUS_PER_NODE} with tilert, which runs on nodes of eight B200 only"))
    if engine == "tilert" and options.decode_batch not in (None, 1):
        faults.append(Fault("decode_batch", str(options.decode_batch), "1 with tilert"))
    if faults:
        raise InputError(faults)
    return (
        options.prefill_layout or kind.prefill[0],
        options.decode_layout or kind.decode[0],
        options.connector or kind.connectors[0],
    )


def _check_experts(card: ModelCard, options: EngineOptions, prefill: PrefillSchedule, decode: DecodeSchedule) -> None:
    """Refuse schedules that are exchanges of experts for a model that has none."""
    asked = (("prefill_layout", prefill, options.prefill_nodes), ("decode_layout", decode, options.decode_nodes))
    faults = [
        Fault(key, f"{layout} with {card.name}, a dense model", layout.replace("dp", "tp"))
        for key, layout, nodes in asked
        if nodes and layout.startswith("dp")
    ]
    if faults and not card.moe_layers:
        raise InputError(faults)


def _layout(options: EngineOptions, prefill: PrefillSchedule, decode: DecodeSchedule, connector: Connector) -> EngineLayout:
    return EngineLayout(
        prefill_layout=prefill.removesuffix("-layersplit"),
        decode_layout=f"tp{GPUS_PER_NODE}" if decode == "tilert" else decode,
        prefill_ep_nodes=max(1, options.prefill_nodes) if prefill.startswith("dp") else 1,
        kv_dtype=options.kv_dtype,
        with_mtp_layer=options.with_mtp_layer,
        moe_balance=options.moe_balance,
        connector=connector,
        layer_split=prefill.endswith("-layersplit"),
        prefill_gpus=options.gpus_per_node,
        decode_gpus=options.gpus_per_node,
    )


def _check_size(assembly: Assembly) -> None:
    rows = assembly.estimated_operations()
    if rows > MAX_OPERATIONS:
        found = f"about {rows:.3g} operations"
        raise InputError(Fault("options", found, f"at most {MAX_OPERATIONS}: fewer nodes, steps, tokens or layers"))
    check_memory(rows * _BYTES_PER_OPERATION, None, f"a trace of about {rows:.3g} operations")


def _metadata(
    engine: Engine, card: ModelCard, options: EngineOptions, times: ComputeModel, assembly: Assembly
) -> dict[str, Any]:
    layouts: dict[str, Any] = {"engine": engine, "model": card.name, "device": options.device}
    if options.prefill_nodes:
        layouts["prefill_layout"] = assembly.prefill
    if options.decode_nodes:
        layouts["decode_layout"] = assembly.decode
    if options.prefill_nodes and options.decode_nodes:
        layouts |= {"connector": assembly.engine.connector, "rank_map": assembly.ranks.name}
    compute = described(times)
    if options.decode_nodes and assembly.decode == "tilert":
        node = load_node(options.tilert_node, load_device(options.device), options.tilert_figures)
        compute["model"] = f"{compute['model'].partition(', decode')[0]}; decode by the node {options.tilert_node}"
        layouts["decode_step"] = step_document(card, node, options.decode_context, options.drafts, options.accepted_tokens)
    return {**layouts, "compute": compute, "options": options.model_dump(mode="json")}
