"""Routing policies by name, and which a family uses unless told otherwise."""

from __future__ import annotations

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.routing.routes import Routing
from zcube.routing.shortest import ShortestPaths
from zcube.routing.zcube_paths import ZCubePaths

#: Queue pairs per transfer: Mooncake's MC_NUM_QP_PER_EP.
DEFAULT_QUEUE_PAIRS = 2

ROUTINGS = ("ecmp", "shortest-path", "zcube-paths")


def routing_for(fabric: Fabric, name: str = "default", *, queue_pairs: int = DEFAULT_QUEUE_PAIRS, seed: int = 0) -> Routing:
    """Bind a policy to a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is routed.
    name : str
        ``"default"`` or one of :data:`ROUTINGS`.
    queue_pairs : int
        Queue pairs per transfer under ``ecmp``.
    seed : int
        Seed of the queue pairs' UDP source ports.

    Raises
    ------
    InputError
        If the policy is unknown, the fabric has no such paths, or a transfer would have no queue pair.
    """
    name = fabric.routings[0] if name == "default" else name
    if queue_pairs < 1:
        raise InputError(Fault("queue_pairs", str(queue_pairs), "at least 1 queue pair per transfer"))
    if name == "ecmp":
        return ShortestPaths(fabric, name, queue_pairs=queue_pairs, all_ports=False, seed=seed)
    if name == "shortest-path":
        return ShortestPaths(fabric, name, queue_pairs=1, all_ports=True, seed=seed)
    if name == "zcube-paths" and fabric.family == "zcube":
        return ZCubePaths(fabric)
    if name == "zcube-paths":
        raise InputError(Fault("routing", f"zcube-paths on {fabric.name}, a {fabric.family}", "ecmp or shortest-path"))
    raise InputError(Fault("routing", repr(name), "default or one of " + ", ".join(ROUTINGS)))
