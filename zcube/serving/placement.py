"""Which server each prefill and decode node takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.node import GPUS_PER_NODE
from zcube.serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Placed:
    """Servers by role, in node order."""

    prefill: tuple[int, ...]
    decode: tuple[int, ...]


def place(fabric: Fabric, settings: ServingSettings) -> Placed:
    """Assign servers to nodes, from server 0 up.

    Raises
    ------
    InputError
        If the fabric has too few servers, or servers of another size than the engines' nodes.
    """
    faults = []
    if fabric.gpus_per_server != GPUS_PER_NODE:
        faults.append(
            Fault(f"fabric {fabric.name}: gpus_per_server", str(fabric.gpus_per_server), f"{GPUS_PER_NODE}, the engines' node")
        )
    if fabric.servers < settings.nodes:
        faults.append(
            Fault(
                f"fabric {fabric.name}: gpus",
                f"{fabric.gpus} GPUs in {fabric.servers} servers",
                f"at least {settings.nodes * GPUS_PER_NODE} for {settings.prefill.nodes} + {settings.decode.nodes} nodes",
            )
        )
    if faults:
        raise InputError(faults)
    return seats(settings.placement.kind, settings.prefill.nodes, settings.decode.nodes)


def seats(kind: Literal["blocked", "striped"], prefill: int, decode: int) -> Placed:
    """Return servers for nodes, from server 0 up: prefill first, or both interleaved in proportion."""
    servers = range(prefill + decode)
    if kind == "blocked":
        return Placed(tuple(servers[:prefill]), tuple(servers[prefill:]))
    # Server s is a prefill node when the running share of prefill nodes steps up at s.
    is_prefill = [(s + 1) * prefill // len(servers) > s * prefill // len(servers) for s in servers]
    return Placed(tuple(s for s in servers if is_prefill[s]), tuple(s for s in servers if not is_prefill[s]))
