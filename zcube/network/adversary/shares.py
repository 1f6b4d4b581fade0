"""What share of its line rate every flow of a pattern gets, by max-min fairness, and the link that is offered most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray, distinct
from zcube.fabric.model import BITS_PER_GBIT, CableKind, Fabric
from zcube.network.flow_model import FlowModel, flow_model
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable, PathSplit
from zcube.routing.routes import Routes, Routing

#: Flows that do not end while rates are read, after every delay that a topology file may declare has passed.
_SIZE_BYTES, _LATER_S = 1e18, 1e3


@dataclass(frozen=True, slots=True)
class LinkDemand:
    """What a link is offered when every flow sends at line rate, split over its paths in the fixed parts of the routing.

    Attributes
    ----------
    link : int
        Directed link, -1 where no flow crosses an inter-switch link.
    name : str
        Both ends.
    flows : int
        Flows that cross it on one path or more.
    overload : float
        Offered rate over the link's capacity.
    """

    link: int
    name: str
    flows: int
    overload: float

    def document(self) -> dict[str, Any]:
        """Return the link as JSON-ready data; the overload is null where there is none, as on a failed link."""
        overload = self.overload if np.isfinite(self.overload) else None
        return {"link": self.name, "flows": self.flows, "offered_over_capacity": overload}


NO_LINK = LinkDemand(-1, "none", 0, 0.0)


@dataclass(frozen=True, slots=True)
class PatternShare:
    """Shares of line rate under a pattern, over the flows that leave their server.

    Attributes
    ----------
    flows : int
        Flows that leave their server; those inside one and those of a GPU to itself are left out.
    unreachable : int
        Flows of these for which failures leave no path; their share is 0.
    mean, minimum, p1 : float
        Mean, smallest and first percentile of rate over the line rate of a GPU; nan without flows.
    fullest : LinkDemand
        The inter-switch link that is offered most.
    """

    flows: int
    unreachable: int
    mean: float
    minimum: float
    p1: float
    fullest: LinkDemand

    def document(self) -> dict[str, Any]:
        """Return the shares as JSON-ready data, null where there are no flows."""
        shares = {"mean": self.mean, "min": self.minimum, "p1": self.p1}
        return {
            "flows": self.flows,
            "unreachable_flows": self.unreachable,
            **{f"share_of_line_rate_{name}": value if self.flows else None for name, value in shares.items()},
            "fullest_link": self.fullest.document(),
        }


def pattern_shares(
    fabric: Fabric, routing: Routing, source: IntArray, target: IntArray, path_split: PathSplit = "pooled"
) -> PatternShare:
    """Return the max-min fair shares of line rate of flows that are all active together.

    Parameters
    ----------
    fabric : Fabric
        What carries them.
    routing : Routing
        A policy bound to the fabric.
    source, target : int array [flows]
        GPUs.
    path_split : {"pooled", "fixed"}
        How a flow uses its paths. Rates are the sum over the paths either way.
    """
    source, target = crossing(fabric, source, target)
    if not len(source):
        return PatternShare(0, 0, np.nan, np.nan, np.nan, NO_LINK)
    routes = routing.routes(source, target)
    share = _shares(fabric, flow_model(fabric, routing, path_split), source, target, routes)
    lost = len(source) - int(routes.routed.sum())
    low = float(np.percentile(share, 1))
    return PatternShare(len(source), lost, float(share.mean()), float(share.min()), low, fullest_link(fabric, routes))


def mean_share(fabric: Fabric, routing: Routing, links: LinkSet, source: IntArray, target: IntArray) -> float:
    """Return the mean of :func:`pattern_shares` alone, nan without flows; of many patterns with the links found once."""
    source, target = crossing(fabric, source, target)
    if not len(source):
        return float("nan")
    return float(_shares(fabric, FlowModel(links, routing), source, target, routing.routes(source, target)).mean())


def _shares(fabric: Fabric, model: FlowModel, source: IntArray, target: IntArray, routes: Routes) -> FloatArray:
    """Return each flow's share on an idle model."""
    routed = routes.routed
    share = np.zeros(len(source))
    if routed.any():
        flows = int(routed.sum())
        table = FlowTable(source[routed], target[routed], np.full(flows, _SIZE_BYTES), np.zeros(flows))
        model.send(table, routes if routed.all() else routes.take(np.flatnonzero(routed)))
        model.advance(_LATER_S)
        share[routed] = model.rates_bps() / (fabric.nic_gbps * BITS_PER_GBIT)
    return share


def crossing(fabric: Fabric, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
    """Return the pairs whose GPUs are in different servers."""
    source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
    away = fabric.server_of(source) != fabric.server_of(target)
    return source[away], target[away]


def trunk_links(fabric: Fabric) -> IntArray:
    """Return the directed links between switches."""
    return np.flatnonzero(np.repeat(fabric.cables.kind == CableKind.SWITCH, 2))


def link_loads(fabric: Fabric, routes: Routes) -> FloatArray:
    """Return what each directed link carries when every flow sends 1 in the routing's fixed parts [links]."""
    return np.asarray(
        np.bincount(routes.link, weights=routes.share[routes.path_of_hop], minlength=fabric.links), dtype=np.float64
    )


def link_name(fabric: Fabric, link: int) -> str:
    """Return both ends of a directed link and, of parallel ones, the port at which it leaves: ``A3 -> B5 port 37``."""
    source, target = int(fabric.link_source[link]), int(fabric.link_target[link])
    cables = fabric.cables
    port = (cables.b_port if link % 2 else cables.a_port)[link // 2]
    name = f"{fabric.node_name(source)} -> {fabric.node_name(target)}"
    low, high = min(source, target), max(source, target)
    parallel = int(((cables.a == low) & (cables.b == high)).sum() + ((cables.a == high) & (cables.b == low)).sum())
    return f"{name} port {port}" if parallel > 1 else name


def fullest_link(fabric: Fabric, routes: Routes) -> LinkDemand:
    """Return the inter-switch link that is offered most of its capacity when every flow sends at line rate."""
    trunk = trunk_links(fabric)
    load = link_loads(fabric, routes)[trunk] * fabric.nic_gbps * BITS_PER_GBIT
    if not load.any():
        return NO_LINK
    capacity = fabric.link_capacity_bps[trunk]
    overload = np.divide(load, capacity, out=np.where(load > 0, np.inf, 0.0), where=capacity > 0)
    link = int(trunk[np.argmax(overload)])
    flows = len(distinct(routes.flow_of_hop[routes.link == link]))
    return LinkDemand(link, link_name(fabric, link), flows, float(overload.max()))
