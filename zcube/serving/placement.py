"""Which GPUs each prefill and decode node takes, and which hold the store of cached prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.node import GPUS_PER_NODE
from zcube.serving.cache_settings import Cache
from zcube.serving.pools import Nodes
from zcube.serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Placed:
    """Servers by role, in node order."""

    prefill: tuple[int, ...]
    decode: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seated:
    """First GPU of every node by role, in node order, and of every server that holds the store of cached prompts.

    Attributes
    ----------
    prefill, decode, store : tuple of int
        GPUs of the fabric; a store's may have another role too.
    prefill_gpus, decode_gpus, store_gpus : int
        GPUs from there on.
    server_gpus : int
        GPUs of a server, which the scale-up link joins.
    """

    prefill: tuple[int, ...]
    decode: tuple[int, ...]
    store: tuple[int, ...] = ()
    prefill_gpus: int = GPUS_PER_NODE
    decode_gpus: int = GPUS_PER_NODE
    store_gpus: int = GPUS_PER_NODE
    server_gpus: int = GPUS_PER_NODE

    def sizes(self) -> dict[int, int]:
        """Return the GPUs of every node by its first."""
        pools = ((self.prefill, self.prefill_gpus), (self.decode, self.decode_gpus))
        return {first: gpus for firsts, gpus in pools for first in firsts}

    def domains(self, firsts: Sequence[int]) -> int:
        """Return over how many servers an instance's nodes lie."""
        return len({first // self.server_gpus for first in firsts})


def place(fabric: Fabric, settings: ServingSettings) -> Seated:
    """Seat nodes from server 0 up, as many to a server as fit; a store's own servers come behind them.

    Raises
    ------
    InputError
        If stages do not fit servers, the nodes of an instance do not fill servers evenly, or there are too few servers.
    """
    size, where = fabric.gpus_per_server, f"fabric {fabric.name}: gpus_per_server"
    pools: dict[str, Nodes] = {"prefill": settings.prefill, "decode": settings.decode}
    faults = []
    if settings.decode.engine == "tilert" and size != GPUS_PER_NODE:
        faults.append(Fault(where, str(size), f"{GPUS_PER_NODE} with decode.engine = tilert, which runs on eight B200 only"))
    for name, pool in pools.items():
        if pool.stage_gpus > size:
            expected = f"at least {pool.stage_gpus}, {name}.gpus_per_node"
            faults.append(Fault(where, str(size), expected + (" of a stage" if pool.pipeline_stages > 1 else "")))
        elif pool.gpus_per_node > size and size % pool.stage_gpus:
            faults.append(Fault(where, str(size), f"a multiple of {pool.stage_gpus}, a stage of {name}"))
    if faults:
        raise InputError(faults)
    order = seats(settings.placement.kind, settings.prefill.nodes, settings.decode.nodes)
    firsts, behind = _packed(order, settings.prefill, settings.decode, size)
    own = settings.nodes - settings.prefill.nodes - settings.decode.nodes
    servers = -(-behind // size)
    if fabric.servers < servers + own:
        found = f"{fabric.gpus} GPUs in {fabric.servers} servers"
        expected = f"at least {(servers + own) * size} for {settings.prefill.nodes} + {settings.decode.nodes} nodes"
        raise InputError(
            Fault(f"fabric {fabric.name}: gpus", found, expected + (f" and {own} servers of cache.store" if own else ""))
        )
    prefill, decode = (tuple(firsts[server] for server in one) for one in (order.prefill, order.decode))
    holders = {"own": tuple(range(servers * size, (servers + own) * size, size)), "prefill": prefill, "decode": decode}
    sizes = {"own": size, "prefill": settings.prefill.gpus_per_node, "decode": settings.decode.gpus_per_node}
    kind = settings.cache.store.placement
    seated = Seated(
        prefill, decode, holders[kind][: settings.store_servers], sizes["prefill"], sizes["decode"], sizes[kind], size
    )
    _check_instances(fabric, seated, pools)
    return seated


def _packed(order: Placed, prefill: Nodes, decode: Nodes, size: int) -> tuple[list[int], int]:
    """Return the first GPU of every node, in the order of seats, and the GPU behind the last."""
    numbers = {seat: number for pool in (order.prefill, order.decode) for number, seat in enumerate(pool)}
    is_prefill = set(order.prefill)
    firsts, at = [], 0
    for seat in range(len(numbers)):
        pool = prefill if seat in is_prefill else decode
        # A stage, and a node or instance that a server could hold, never lies in two.
        begins = pool.nodes_per_instance if numbers[seat] % pool.nodes_per_instance == 0 else 1
        whole = pool.gpus_per_node if pool.gpus_per_node <= size else pool.stage_gpus
        wanted = min(begins * pool.gpus_per_node, size)
        fits = at % size + wanted <= size if pool.gpus_per_node <= size else at % whole == 0
        at = at if fits else -(-at // size) * size
        firsts.append(at)
        at += pool.gpus_per_node
    return firsts, at


def _check_instances(fabric: Fabric, seated: Seated, pools: Mapping[str, Nodes]) -> None:
    faults = []
    for name, firsts in (("prefill", seated.prefill), ("decode", seated.decode)):
        span = pools[name].nodes_per_instance
        for first in range(0, len(firsts) if span > 1 else 0, span):
            nodes = Counter(node // seated.server_gpus for node in firsts[first : first + span])
            if len(set(nodes.values())) > 1:
                found = f"{span}, over servers with {' and '.join(str(count) for count in sorted(set(nodes.values())))} of them"
                expected = f"nodes that fill the servers of {fabric.name} evenly"
                faults.append(Fault(f"{name}.nodes_per_instance", found, expected))
                break
    if faults:
        raise InputError(faults)


def seats(kind: Literal["blocked", "striped"], prefill: int, decode: int) -> Placed:
    """Return servers for nodes, from server 0 up: prefill first, or both interleaved in proportion."""
    servers = range(prefill + decode)
    if kind == "blocked":
        return Placed(tuple(servers[:prefill]), tuple(servers[prefill:]))
    # Server s is a prefill node when the running share of prefill nodes steps up at s.
    is_prefill = [(s + 1) * prefill // len(servers) > s * prefill // len(servers) for s in servers]
    return Placed(tuple(s for s in servers if is_prefill[s]), tuple(s for s in servers if not is_prefill[s]))


def store_ends(asked: Cache, seated: Seated, holders: IntArray, server: int, rank: int | None) -> tuple[IntArray, IntArray]:
    """Return every NIC of the store, by its GPU, and the GPU of a prefill node that it sends to [servers * nics].

    Parameters
    ----------
    asked : Cache
        The store's NICs.
    seated : Seated
        How many GPUs nodes have.
    holders : int array [servers]
        First GPUs of the servers that hold it.
    server : int
        First GPU of the prefill node.
    rank : int, optional
        The GPU that has the request under data-parallel attention; default: the one of the same number.
    """
    nic = np.arange(store_nics(asked, seated))
    held = (holders[:, None] + nic).ravel()
    into = np.tile(nic % seated.prefill_gpus, len(holders)) if rank is None else np.full(len(held), rank)
    return held, server + into


def store_nics(asked: Cache, seated: Seated) -> int:
    """Return the NICs of a server that the store uses: no more than it has."""
    return min(asked.store.nics, seated.store_gpus)
