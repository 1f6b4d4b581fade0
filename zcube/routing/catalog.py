"""Routing policies by name, bound to a fabric.

A package of its own can add a policy: it declares an entry point of group ``zcube.routings`` whose name is the policy's and
whose value is a :class:`zcube.routing.policy.RoutingPolicy`. docs/extending.md shows one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from zcube.errors import Fault, InputError
from zcube.fabric.families.bcube import BCubeStructure
from zcube.fabric.families.slim_fly import SlimFlyStructure
from zcube.fabric.families.zcube import ZCubeStructure
from zcube.fabric.model import Fabric
from zcube.fabric.structure import Structure
from zcube.registry import registered
from zcube.routing.bcube_paths import BCubePaths
from zcube.routing.dragonfly_paths import DragonflyPaths
from zcube.routing.equal_paths import DEFAULT_MOST_PATHS, EqualPaths
from zcube.routing.policy import RoutingPolicy, needed_structure
from zcube.routing.pxn import PxnPaths
from zcube.routing.relay import FALL_BACKS, FallBack, NvlinkRelay, intact
from zcube.routing.routes import Routing
from zcube.routing.shortest import ShortestPaths
from zcube.routing.valiant import ValiantPaths
from zcube.routing.zcube_paths import ZCubePaths

ENTRY_POINTS = "zcube.routings"

#: Queue pairs per transfer: Mooncake's MC_NUM_QP_PER_EP.
DEFAULT_QUEUE_PAIRS = 2

#: Name for the policy that a fabric's family is operated with.
DEFAULT = "default"


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


def _zcube_all_links(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ZCubePaths(fabric, last_resort=_ecmp(fabric, 1, seed), name="zcube-all-links", every_member=True)


def _bcube_paths(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return BCubePaths(fabric)


def _equal_paths(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    """Return all shortest paths; of BCube, whose GPUs forward, the two that ``bcube-paths`` names."""
    return BCubePaths(fabric, "equal-paths") if isinstance(fabric.structure, BCubeStructure) else EqualPaths(fabric, seed=seed)


def _dragonfly_minimal(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return DragonflyPaths(fabric, seed)


def _slimfly_minimal(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    """Return one shortest path per transfer, at most two links between switches, chosen by hash where there are several."""
    needed_structure(fabric, SlimFlyStructure, "slimfly-minimal")
    return ShortestPaths(fabric, "slimfly-minimal", queue_pairs=1, all_ports=False, seed=seed)


def _valiant(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ValiantPaths(fabric, "valiant", queue_pairs=queue_pairs, all_ports=False, seed=seed)


#: The project's own policies; their families name them.
BUILT_IN: Mapping[str, RoutingPolicy] = MappingProxyType(
    {
        "ecmp": RoutingPolicy(_ecmp),
        "hash": RoutingPolicy(_hash),
        "shortest-path": RoutingPolicy(_shortest_path),
        "dual-plane": RoutingPolicy(_dual_plane),
        "pxn": RoutingPolicy(PxnPaths),
        "valiant": RoutingPolicy(_valiant),
        "bcube-paths": RoutingPolicy(_bcube_paths),
        "equal-paths": RoutingPolicy(_equal_paths, structures=(Structure,)),
        "dragonfly-minimal": RoutingPolicy(_dragonfly_minimal),
        "slimfly-minimal": RoutingPolicy(_slimfly_minimal),
        "zcube-paths": RoutingPolicy(_zcube_paths),
        "zcube-detours": RoutingPolicy(_zcube_detours),
        "zcube-all-links": RoutingPolicy(_zcube_all_links, structures=(ZCubeStructure,)),
    }
)


@cache
def routings() -> Mapping[str, RoutingPolicy]:
    """Return every policy by name: built in, and those of installed packages.

    Raises
    ------
    InputError
        If an installed package offers a policy under a name that is taken, or something that is no policy.
    """
    return registered(ENTRY_POINTS, BUILT_IN, _expected)


def _expected(name: str, policy: Any) -> str | None:
    if name == DEFAULT:
        return f"another name; {DEFAULT!r} stands for the policy of each family"
    return None if isinstance(policy, RoutingPolicy) else "a zcube.routing.policy.RoutingPolicy"


def routings_of(fabric: Fabric) -> tuple[str, ...]:
    """Return the policies made for a fabric, the one that its family is operated with first."""
    others = (name for name, policy in routings().items() if policy.made_for(fabric))
    return tuple(dict.fromkeys([*fabric.routings, *others]))


def routing_for(
    fabric: Fabric,
    name: str = DEFAULT,
    *,
    queue_pairs: int = DEFAULT_QUEUE_PAIRS,
    seed: int = 0,
    fall_back: FallBack = "none",
    most_paths: int = DEFAULT_MOST_PATHS,
) -> Routing:
    """Bind a policy to a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is routed.
    name : str
        A policy of :func:`routings`, or ``"default"``: the one the fabric's family is operated with.
    queue_pairs : int
        Queue pairs per transfer where paths are hashed.
    seed : int
        Seed of the queue pairs' UDP source ports.
    fall_back : {"nvlink-relay", "second-port", "none"}
        What pairs do that have lost paths of the policy to failures, see :mod:`zcube.routing.relay`.
    most_paths : int
        Paths that ``equal-paths`` lists of a pair at most.

    Raises
    ------
    InputError
        If the policy or the fall-back is unknown, the policy not made for this fabric, or a transfer would have no queue pair.
    """
    if queue_pairs < 1:
        raise InputError(Fault("queue_pairs", str(queue_pairs), "at least 1 queue pair per transfer"))
    if most_paths < 1:
        raise InputError(Fault("most_paths", str(most_paths), "at least 1 path per pair"))
    if fall_back not in FALL_BACKS:
        raise InputError(Fault("fall_back", repr(fall_back), "one of " + ", ".join(FALL_BACKS)))
    known, fitting = routings(), routings_of(fabric)
    name = fitting[0] if name == DEFAULT and fitting else name
    if name not in known or name not in fitting:
        found = f"{name} on {fabric.name}, a {fabric.family}" if name in known else repr(name)
        raise InputError(Fault("routing", found, f"{DEFAULT} or one of " + ", ".join(one for one in fitting if one in known)))

    def bound(one: Fabric) -> Routing:
        policy = known[name].bind(one, queue_pairs, seed)
        return replace(policy, most_paths=most_paths) if isinstance(policy, EqualPaths) else policy

    if fall_back == "none" or fabric.cable_up.all():
        return bound(fabric)
    return NvlinkRelay(fabric, bound(fabric), bound(intact(fabric)), fall_back == "nvlink-relay")
