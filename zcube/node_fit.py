"""Whether a scenario's nodes are ones that its device can make: scale-up domain, weights, KV capacity."""

from __future__ import annotations

from functools import cache

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.llm.cards import ModelCard, load_card
from zcube.llm.devices import Device, load_device
from zcube.llm.node_memory import GpuMemory, gpu_memory
from zcube.scenario import Scenario
from zcube.serving.pools import Nodes


class NodeCheck:
    """Refuses scenarios whose stages or memory their device has not, before their fabrics are built.

    Files of devices and models are read once by each, for the points of a sweep name few.
    """

    def __init__(self) -> None:
        self._device, self._card = cache(load_device), cache(load_card)

    def check(self, scenario: Scenario) -> None:
        """Refuse a scenario.

        Raises
        ------
        InputError
            With every fault; also of a device or a model that cannot be read.
        """
        device = self._device(scenario.compute.device)
        faults = stage_faults(scenario, device) + memory_faults(scenario, self._card(scenario.compute.model), device)
        if faults:
            raise InputError(faults)


def stage_faults(scenario: Scenario, device: Device) -> list[Fault]:
    """Return a fault for every pool whose stages are larger than what the device's scale-up link joins."""
    pools: dict[str, Nodes] = {"prefill": scenario.prefill, "decode": scenario.decode}
    return [
        device.domain_fault(f"{name}.gpus_per_node", pool.stage_gpus, "GPUs of a stage")
        for name, pool in pools.items()
        if pool.stage_gpus > device.node.scale_up_gpus
    ]


def server_faults(fabric: Fabric, name: str, device: Device) -> list[Fault]:
    """Return a fault where a fabric's servers are larger than what the device's scale-up link joins."""
    size = fabric.gpus_per_server
    where = f"fabric {name}: gpus_per_server"
    return [device.domain_fault(where, size, "GPUs of a server")] if size > device.node.scale_up_gpus else []


def memory_faults(scenario: Scenario, card: ModelCard, device: Device) -> list[Fault]:
    """Return a fault for every pool whose weights, or weights and the KV that is named, do not fit into its GPUs' memory.

    Prefixes that prefill nodes keep may lie in their hosts' memory; those of decode nodes lie beside the KV of requests.
    """
    faults, pools = [], [("prefill", scenario.prefill.kv_capacity_tokens, 0)]
    if "batched" in scenario.engines.values():
        pools.append(("decode", scenario.decode.kv_capacity_tokens, scenario.decode.prefix_cache_tokens))
    for name, capacity, kept in pools:
        memory = pool_memory(scenario, name, card, device)
        if memory.memory_bytes is None:
            continue
        has = f"{memory.memory_bytes / 1e9:.4g} GB of a {device.name} (compute.device)"
        weights = f"{memory.weight_bytes / 1e9:.4g} GB of weights ({card.name}, {scenario.compute.weight_bits:g} bits a weight)"
        if memory.most_tokens == 0:
            found = f"{getattr(scenario, name).layout}, under which a GPU has {weights}"
            expected = f"weights that leave room for KV in the {has}: more GPUs, compute.weight_bits as the weights are stored"
            faults.append(Fault(f"{name}.layout", found, expected))
        elif memory.needed_bytes(kept) > memory.memory_bytes:
            faults.append(_beyond(f"{name}.prefix_cache_tokens", kept, memory, 0, weights, has))
        elif capacity is not None and memory.needed_bytes(capacity + kept) > memory.memory_bytes:
            faults.append(_beyond(f"{name}.kv_capacity_tokens", capacity, memory, kept, weights, has))
    return faults


def _beyond(key: str, tokens: int, memory: GpuMemory, kept: int, weights: str, has: str) -> Fault:
    """Return the fault of a key that asks for more tokens of KV than memory leaves beside prefixes that are kept."""
    assert memory.most_tokens is not None
    beside = f" beside decode.prefix_cache_tokens = {kept}" if kept else ""
    cache = f"{(tokens + kept) * memory.token_bytes / 1e9:.4g} GB of KV"
    found = f"{tokens}{beside}, with which a GPU has {weights} and {cache}, {memory.needed_bytes(tokens + kept) / 1e9:.4g} GB"
    return Fault(key, found, f"at most {memory.most_tokens - kept}{beside}, for the {has}")


def within_memory(scenario: Scenario, card: ModelCard, device: Device) -> Scenario:
    """Return a scenario with decode's KV capacity: as named, else what is usual, or what memory leaves where that is less."""
    decode = scenario.decode
    # TileRT's nodes are not of the scenario's device.
    if decode.kv_capacity_tokens is not None or decode.engine == "tilert":
        return scenario
    most = pool_memory(scenario, "decode", card, device).most_tokens
    tokens = decode.kv_tokens if most is None else min(decode.kv_tokens, max(1, most - decode.prefix_cache_tokens))
    return scenario.model_copy(update={"decode": decode.model_copy(update={"kv_capacity_tokens": tokens})})


def pool_memory(scenario: Scenario, name: str, card: ModelCard, device: Device) -> GpuMemory:
    """Return what a GPU of ``prefill`` or ``decode`` has to hold."""
    engine, bits = scenario.engine(), scenario.compute.weight_bits
    pool: Nodes = scenario.prefill if name == "prefill" else scenario.decode
    sizes = engine.prefill_sizes if name == "prefill" else engine.decode_sizes
    copies = pool.redundant_experts or 0
    return gpu_memory(card, device, sizes, pool.pipeline_stages, pool.nodes_per_instance, engine.kv, bits, copies)
