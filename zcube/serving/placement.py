"""Which server each prefill and decode node takes, and which hold the store of cached prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.node import GPUS_PER_NODE
from zcube.serving.cache_settings import Cache
from zcube.serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Placed:
    """Servers by role, in node order; those of a store of cached prompts may have another role too."""

    prefill: tuple[int, ...]
    decode: tuple[int, ...]
    store: tuple[int, ...] = ()


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
    own = settings.nodes - settings.prefill.nodes - settings.decode.nodes
    if fabric.servers < settings.nodes:
        faults.append(
            Fault(
                f"fabric {fabric.name}: gpus",
                f"{fabric.gpus} GPUs in {fabric.servers} servers",
                f"at least {settings.nodes * GPUS_PER_NODE} for {settings.prefill.nodes} + {settings.decode.nodes} nodes"
                + (f" and {own} servers of cache.store" if own else ""),
            )
        )
    if faults:
        raise InputError(faults)
    placed = seats(settings.placement.kind, settings.prefill.nodes, settings.decode.nodes)
    pools = {"own": tuple(range(len(placed.prefill) + len(placed.decode), settings.nodes))}
    pools |= {"prefill": placed.prefill, "decode": placed.decode}
    return replace(placed, store=pools[settings.cache.store.placement][: settings.store_servers])


def seats(kind: Literal["blocked", "striped"], prefill: int, decode: int) -> Placed:
    """Return servers for nodes, from server 0 up: prefill first, or both interleaved in proportion."""
    servers = range(prefill + decode)
    if kind == "blocked":
        return Placed(tuple(servers[:prefill]), tuple(servers[prefill:]))
    # Server s is a prefill node when the running share of prefill nodes steps up at s.
    is_prefill = [(s + 1) * prefill // len(servers) > s * prefill // len(servers) for s in servers]
    return Placed(tuple(s for s in servers if is_prefill[s]), tuple(s for s in servers if not is_prefill[s]))


def store_ends(asked: Cache, holders: IntArray, server: int, rank: int | None) -> tuple[IntArray, IntArray]:
    """Return every NIC of the store, by its GPU, and the GPU of a prefill server that it sends to [servers * nics].

    Parameters
    ----------
    asked : Cache
        The store's NICs.
    holders : int array [servers]
        Servers that hold it.
    server : int
        The prefill node's.
    rank : int, optional
        The GPU that has the request under data-parallel attention; default: the one of the same number.
    """
    nic = np.arange(asked.store.nics)
    held = (holders[:, None] * GPUS_PER_NODE + nic).ravel()
    into = np.tile(nic, len(holders)) if rank is None else np.full(len(held), rank)
    return held, server * GPUS_PER_NODE + into
