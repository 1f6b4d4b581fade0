"""Claims about a fabric and its routing, each proved over all pairs of GPUs or refuted by a witness.

Above :data:`EXACT_GPUS` GPUs, claims about paths are tried on pairs among so many GPUs drawn from seed 0, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.ports import native_ports_used
from zcube.progress import Progress, silent
from zcube.routing.deadlock import dependencies_of
from zcube.routing.routes import Routes, Routing
from zcube.seeds import stream

EXACT_GPUS = 1024
#: Pairs routed at once.
BLOCK = 500_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes
    ----------
    name : str
        Short, for a table and for JSON.
    statement : str
        What is claimed, and over what.
    holds : bool or None
        Whether it does; None for a number that is reported and that no fabric owes.
    evidence : str
        What was counted, or the witness against the claim.
    """

    name: str
    statement: str
    holds: bool | None
    evidence: str


def check_fabric(fabric: Fabric, routing: Routing, progress: Progress = silent) -> list[Claim]:
    """Return every claim about a fabric under a routing."""
    source, target, extent = _pairs(fabric)
    return [
        _port_budget(fabric),
        _one_cable_per_port(fabric),
        *_paths(fabric, routing, source, target, extent, progress),
        _free_of_deadlock(fabric, routing, source, target, extent, progress),
    ]


def _pairs(fabric: Fabric) -> tuple[IntArray, IntArray, str]:
    gpus, extent = np.arange(fabric.gpus), f"all {fabric.gpus * (fabric.gpus - 1):,} ordered pairs of GPUs"
    if fabric.gpus > EXACT_GPUS:
        gpus = np.sort(stream(0, "checked GPUs").choice(fabric.gpus, EXACT_GPUS, replace=False))
        extent = f"all ordered pairs among {EXACT_GPUS:,} of {fabric.gpus:,} GPUs"
    source, target = (axis.ravel() for axis in np.meshgrid(gpus, gpus, indexing="ij"))
    apart = source != target
    return source[apart], target[apart], extent


def _port_budget(fabric: Fabric) -> Claim:
    used = native_ports_used(fabric)
    budget = np.concatenate([np.full(group.count, float(group.model.ports)) for group in fabric.groups] or [np.zeros(0)])
    over = np.flatnonzero(used > budget + 1e-9)
    fullest = f"{used.max(initial=0.0):g} native ports on the fullest switch"
    if len(over):
        fullest = f"{fabric.node_name(fabric.gpus + int(over[0]))} needs {used[over[0]]:g} of {budget[over[0]]:g} ports"
    return Claim("port budget", "no switch needs more ports than it has", not len(over), fullest)


def _one_cable_per_port(fabric: Fabric) -> Claim:
    """Claim what makes links symmetric: a cable is both directions by construction, so only a port held twice breaks it."""
    cables = fabric.cables
    wired = cables.kind != CableKind.NVLINK
    node = np.concatenate([cables.a[wired], cables.b[wired]]).astype(np.int64)
    port = np.concatenate([cables.a_port[wired], cables.b_port[wired]]).astype(np.int64)
    # Ports are counted at the cable's own rate, so ports of different rates are told apart.
    rate = np.concatenate([cables.gbps[wired], cables.gbps[wired]])
    ends, count = np.unique(np.stack([node, port, np.round(rate * 1000).astype(np.int64)]), axis=1, return_counts=True)
    twice = np.flatnonzero(count > 1)
    evidence = f"{int(wired.sum()):,} duplex cables, each end on a port of its own"
    if len(twice):
        evidence = f"{fabric.node_name(int(ends[0, twice[0]]))} port {ends[1, twice[0]]} holds {count[twice[0]]} cables"
    return Claim("duplex links", "every link runs both ways at one rate, on ports of its own", not len(twice), evidence)


def _paths(
    fabric: Fabric, routing: Routing, source: IntArray, target: IntArray, extent: str, progress: Progress
) -> Iterator[Claim]:
    """Claims on connection, well-formed paths, and how many link-disjoint paths a pair has."""
    lost: list[str] = []
    broken: list[str] = []
    shared: list[str] = []
    fewest, most, unreachable = np.iinfo(np.int64).max, 0, 0
    for begin in range(0, len(source), BLOCK):
        progress("checking paths", begin, len(source), "pairs")
        s, t = source[begin : begin + BLOCK], target[begin : begin + BLOCK]
        routes = routing.routes(s, t)
        unreachable += len(routes.unreachable)
        lost += [_pair(fabric, s, t, int(flow)) for flow in routes.unreachable[:1]]
        broken += [_pair(fabric, s, t, int(flow)) for flow in _broken(fabric, routes, s, t)[:1]]
        shared += [_pair(fabric, s, t, int(flow)) for flow in _sharing(routes)[:1]]
        apart = fabric.server_of(s) != fabric.server_of(t)
        counts = routes.paths_per_flow[apart]
        fewest, most = min(fewest, int(counts.min(initial=fewest))), max(most, int(counts.max(initial=0)))
    evidence = "no pair is cut off" if not unreachable else f"{unreachable:,} pairs are cut off, first {lost[0]}"
    yield Claim("connected", f"{routing.name} joins {extent}", not unreachable, evidence)
    evidence = "every hop begins where the last ended" if not broken else f"the path {broken[0]} does not join up"
    yield Claim(
        "well-formed paths", f"paths of {extent} lead from source to target over links that are up", not broken, evidence
    )
    number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    evidence = f"{number} path{'s' * (most != 1)}, " + (f"two of {shared[0]} over one link" if shared else "sharing no link")
    yield Claim("number of paths", "paths between GPUs of different servers, and whether they share links", None, evidence)


def _pair(fabric: Fabric, source: IntArray, target: IntArray, flow: int) -> str:
    return f"{fabric.node_name(int(source[flow]))} to {fabric.node_name(int(target[flow]))}"


def _broken(fabric: Fabric, routes: Routes, source: IntArray, target: IntArray) -> IntArray:
    """Return flows with a path that does not lead from its source to its target over links that are up."""
    flow, at = routes.flow_of_path, routes.followed
    wrong = fabric.link_source[routes.first_link] != source[flow]
    wrong |= fabric.link_target[routes.last_link] != target[flow]
    gap = fabric.link_target[routes.link[at]] != fabric.link_source[routes.link[at + 1]]
    wrong[routes.path_of_hop[at[gap]]] = True
    wrong[routes.path_of_hop[~fabric.cable_up[routes.link // 2]]] = True
    return distinct(flow[wrong])


def _sharing(routes: Routes) -> IntArray:
    """Return flows of which two paths cross one link."""
    owner = routes.flow_of_hop
    order = np.lexsort((routes.link, owner))
    owner, link = owner[order], routes.link[order]
    return distinct(owner[1:][(owner[1:] == owner[:-1]) & (link[1:] == link[:-1])])


def _free_of_deadlock(
    fabric: Fabric, routing: Routing, source: IntArray, target: IntArray, extent: str, progress: Progress
) -> Claim:
    progress("looking for cycles", 0, 0, "")
    found = dependencies_of(fabric, routing, source, target)
    evidence = f"{found.dependencies:,} dependencies among {found.channels:,} links, no cycle"
    if found.cycle:
        nodes = [fabric.node_name(int(fabric.link_source[link])) for link in found.cycle]
        evidence = "cycle " + " -> ".join([*nodes, nodes[0]])
    statement = f"the channel dependencies of {routing.name} over {extent} have no cycle"
    return Claim("free of deadlock", statement, not found.cycle, evidence)
