"""Routing policies by name, bound to a fabric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.routing.bcube_paths import BCubePaths
from zcube.routing.dragonfly_paths import DragonflyPaths
from zcube.routing.pxn import PxnPaths
from zcube.routing.routes import Routing
from zcube.routing.shortest import ShortestPaths
from zcube.routing.zcube_paths import ZCubePaths

#: Queue pairs per transfer: Mooncake's MC_NUM_QP_PER_EP.
DEFAULT_QUEUE_PAIRS = 2

Factory = Callable[[Fabric, int, int], Routing]


def _ecmp(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ShortestPaths(fabric, "ecmp", queue_pairs=queue_pairs, all_ports=False, seed=seed)


def _hash(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    """Return one path per transfer, chosen by the hash of (source, target) that zcube.routing.hashing states."""
    return ShortestPaths(fabric, "hash", queue_pairs=1, all_ports=False, seed=seed)


def _shortest_path(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ShortestPaths(fabric, "shortest-path", queue_pairs=1, all_ports=True, seed=seed)


def _dual_plane(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ShortestPaths(fabric, "dual-plane", queue_pairs=queue_pairs, all_ports=True, seed=seed)


def _zcube_paths(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ZCubePaths(fabric, last_resort=_ecmp(fabric, 1, seed))


def _zcube_detours(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ZCubePaths(fabric, last_resort=_ecmp(fabric, 1, seed), name="zcube-detours", extra_detours=True)


def _bcube_paths(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return BCubePaths(fabric)


def _dragonfly_minimal(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return DragonflyPaths(fabric, seed)


#: Policies by name; each takes a fabric, the queue pairs per transfer and the seed of their UDP source ports.
ROUTINGS: Mapping[str, Factory] = MappingProxyType(
    {
        "ecmp": _ecmp,
        "hash": _hash,
        "shortest-path": _shortest_path,
        "dual-plane": _dual_plane,
        "pxn": PxnPaths,
        "bcube-paths": _bcube_paths,
        "dragonfly-minimal": _dragonfly_minimal,
        "zcube-paths": _zcube_paths,
        "zcube-detours": _zcube_detours,
    }
)


def routing_for(fabric: Fabric, name: str = "default", *, queue_pairs: int = DEFAULT_QUEUE_PAIRS, seed: int = 0) -> Routing:
    """Bind a policy to a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is routed.
    name : str
        A policy of :data:`ROUTINGS`, or ``"default"``: the one the fabric's family is operated with.
    queue_pairs : int
        Queue pairs per transfer where paths are hashed.
    seed : int
        Seed of the queue pairs' UDP source ports.

    Raises
    ------
    InputError
        If the policy is unknown, not made for this fabric, or a transfer would have no queue pair.
    """
    name = fabric.routings[0] if name == "default" else name
    if queue_pairs < 1:
        raise InputError(Fault("queue_pairs", str(queue_pairs), "at least 1 queue pair per transfer"))
    if name not in ROUTINGS or name not in fabric.routings:
        found = f"{name} on {fabric.name}, a {fabric.family}" if name in ROUTINGS else repr(name)
        raise InputError(Fault("routing", found, "default or one of " + ", ".join(fabric.routings)))
    return ROUTINGS[name](fabric, queue_pairs, seed)
