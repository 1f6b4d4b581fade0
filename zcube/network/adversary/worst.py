"""A worst permutation, found by search.

Which targets GPUs should send to so that chosen links carry most is an assignment problem: with ``w(s, t)`` the part of a flow
from s to t that crosses a chosen link, the permutation sought is the maximum-weight perfect matching of sources and targets.
Two choices of links:

* *One link.* The matching is then exact: no permutation puts more on that link. Links are sampled from every kind (pair of
  switch groups); the fullest of a sample of random pairs come first.
* *One way out of every switch that has GPUs*, no two to one switch where that can be: a single cable, or all cables to one
  neighbour. A flow hurts most when all its paths are met, hence ``w`` squared. A local optimum of the mean share, not a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray, distinct
from zcube.fabric.model import Fabric
from zcube.network.adversary.patterns import PATTERNS, segment_gpus
from zcube.network.adversary.shares import PatternShare, link_loads, link_name, pattern_shares, trunk_links
from zcube.routing.routes import Routes, Routing
from zcube.seeds import stream

#: GPUs up to which all of them are assigned together; the matrix of weights has its square.
MOST_GPUS = 2048
#: Sources, and targets, of one link that are assigned to each other; beyond, a sample, which gives a lower bound.
MOST_ENDS = 2048

_PROBES = 200_000
_PAIRS_AT_ONCE = 1 << 17
_LOCAL = -1.0


@dataclass(frozen=True, eq=False)
class FoundPermutation:
    """A permutation that a search found.

    Attributes
    ----------
    search : str
        ``one link``, ``one cable per switch`` or ``one neighbour per switch``; the name of a pattern where none is worse.
    target : int array [gpus]
        Where each GPU sends to.
    link : str
        For ``one link`` the link whose load it maximises, else the link offered most.
    link_flows : float
        Flows on that link, each counted with the part that it sends there.
    share : PatternShare
        What the flows get.
    """

    search: str
    target: IntArray
    link: str
    link_flows: float
    share: PatternShare

    def document(self, with_targets: bool = False) -> dict[str, Any]:
        """Return what was found as JSON-ready data, the permutation itself on request."""
        found = {"search": self.search, "link": self.link, "line_rate_flows_on_link": self.link_flows, **self.share.document()}
        return {**found, "target_gpu": self.target.tolist()} if with_targets else found


def fullest_link_permutation(
    fabric: Fabric, routing: Routing, seed: int = 0, links_per_kind: int = 2
) -> FoundPermutation | None:
    """Return the permutation that puts most on one link, over a sample of links of each kind.

    Parameters
    ----------
    fabric : Fabric
        What is attacked.
    routing : Routing
        A policy bound to it.
    seed : int
        Seed of the sample of pairs that finds which GPUs use which links.
    links_per_kind : int
        Links tried of each pair of switch groups and direction.

    Returns
    -------
    FoundPermutation or None
        None where no pair crosses a link between switches.
    """
    source, target = _probe(fabric, seed)
    routes = routing.routes(source, target)
    best: tuple[float, int, IntArray] | None = None
    for link in _candidates(fabric, routes, links_per_kind):
        sources, targets = _users(fabric, routes, link, source, target)
        sources, targets = (_sample(gpus, seed) for gpus in (sources, targets))
        chosen = np.zeros(fabric.links, dtype=bool)
        chosen[link] = True
        weight = _weights(fabric, routing, sources, targets, chosen)
        row, column = _matching(weight)
        taken = weight[row, column] > 0
        relative = float(weight[row, column][taken].sum()) / max(fabric.link_capacity_bps[link], 1.0)
        if best is None or relative > best[0]:
            best = relative, link, _completed(fabric.gpus, sources[row[taken]], targets[column[taken]])
    if best is None:
        return None
    _, link, permutation = best
    share = pattern_shares(fabric, routing, np.arange(fabric.gpus), permutation)
    return FoundPermutation(
        "one link", permutation, link_name(fabric, link), _flows_on(fabric, routing, permutation, link), share
    )


def worst_permutation(
    fabric: Fabric, routing: Routing, seed: int = 0, known: FoundPermutation | None = None
) -> FoundPermutation | None:
    """Return the permutation with the least mean share of line rate that the search finds.

    Parameters
    ----------
    fabric : Fabric
        What is attacked.
    routing : Routing
        A policy bound to it.
    seed : int
        Seed of the choice of links.
    known : FoundPermutation, optional
        What :func:`fullest_link_permutation` found, where it has been called.

    Returns
    -------
    FoundPermutation or None
        Never better than a pattern of :data:`~zcube.network.adversary.patterns.PATTERNS`. Fabrics beyond :data:`MOST_GPUS`
        are tried with these and with :func:`fullest_link_permutation` only. None where no pair crosses a link between switches.
    """
    best = known or fullest_link_permutation(fabric, routing, seed)
    if best is None:
        return best
    gpu = np.arange(fabric.gpus)
    for name, pattern in PATTERNS.items():
        _, target = pattern(fabric.gpus, segment_gpus(fabric), seed)
        best = _worse(fabric, routing, best, name, target)
    if fabric.gpus > MOST_GPUS:
        return best
    for search, chosen in (
        ("one cable per switch", _ways_out(fabric, seed, whole_bundle=False)),
        ("one neighbour per switch", _ways_out(fabric, seed, whole_bundle=True)),
    ):
        weight = _weights(fabric, routing, gpu, gpu, chosen)
        _, target = _matching(np.where(weight > 0, weight**2, weight))
        best = _worse(fabric, routing, best, search, target)
    return best


def _worse(fabric: Fabric, routing: Routing, best: FoundPermutation, search: str, target: IntArray) -> FoundPermutation:
    """Return a permutation if its mean share is below that of the best attack so far, else the latter."""
    share = pattern_shares(fabric, routing, np.arange(fabric.gpus), target)
    # A pattern that hardly leaves its servers is no attack, however little the rest gets.
    if 2 * share.flows < best.share.flows or not share.mean < best.share.mean or share.fullest.link < 0:
        return best
    load = _flows_on(fabric, routing, target, share.fullest.link)
    return FoundPermutation(search, target, share.fullest.name, load, share)


def _probe(fabric: Fabric, seed: int) -> tuple[IntArray, IntArray]:
    """Return random pairs of GPUs in different servers."""
    draw = stream(seed, "adversary probe").integers(0, fabric.gpus, (2, _PROBES))
    away = fabric.server_of(draw[0]) != fabric.server_of(draw[1])
    return draw[0, away], draw[1, away]


def _candidates(fabric: Fabric, routes: Routes, per_kind: int) -> list[int]:
    """Return the links of each kind that the probe loads most."""
    load = link_loads(fabric, routes)
    group = np.concatenate([[-1], *(np.full(group.count, number) for number, group in enumerate(fabric.groups))])
    trunk = trunk_links(fabric)
    trunk = trunk[load[trunk] > 0]
    ends = [group[end[trunk] - fabric.gpus + 1] for end in (fabric.link_source, fabric.link_target)]
    kind = ends[0] * len(fabric.groups) + ends[1]
    ranked = trunk[np.argsort(-load[trunk], kind="stable")]
    kind = kind[np.argsort(-load[trunk], kind="stable")]
    return [int(link) for one in np.unique(kind) for link in ranked[kind == one][:per_kind]]


def _users(fabric: Fabric, routes: Routes, link: int, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
    """Return the GPUs that may send, and those that may receive, over a link: all under the first and last switches probed."""
    path = routes.path_of_hop[routes.link == link]
    first = fabric.link_target[routes.first_link[path]]
    last = fabric.link_source[routes.last_link[path]]
    switch = fabric.cables.b[fabric.nic_cable]
    return np.flatnonzero(np.isin(switch, first).any(axis=1)), np.flatnonzero(np.isin(switch, last).any(axis=1))


def _sample(gpus: IntArray, seed: int) -> IntArray:
    if len(gpus) <= MOST_ENDS:
        return gpus
    return np.sort(stream(seed, "adversary ends").choice(gpus, MOST_ENDS, replace=False))


def _weights(fabric: Fabric, routing: Routing, sources: IntArray, targets: IntArray, chosen: BoolArray) -> FloatArray:
    """Return the part of each pair's flow that crosses a chosen link [sources, targets]; negative inside a server."""
    weight = np.full((len(sources), len(targets)), _LOCAL)
    for rows in _chunks(len(sources), max(1, _PAIRS_AT_ONCE // len(targets))):
        source, target = np.repeat(sources[rows], len(targets)), np.tile(targets, len(sources[rows]))
        away = fabric.server_of(source) != fabric.server_of(target)
        if not away.any():
            continue
        routes = routing.routes(source[away], target[away])
        met = np.bincount(routes.path_of_hop, weights=chosen[routes.link], minlength=routes.subflows) > 0
        block = np.full(len(source), _LOCAL)
        block[away] = np.bincount(routes.flow_of_path, weights=routes.share * met, minlength=routes.flows)
        weight[rows] = block.reshape(-1, len(targets))
    return weight


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(first, first + size) for first in range(0, count, size))


def _matching(weight: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the maximum-weight matching of rows and columns."""
    from scipy.optimize import linear_sum_assignment

    row, column = linear_sum_assignment(weight, maximize=True)
    return np.asarray(row), np.asarray(column)


def _completed(gpus: int, source: IntArray, target: IntArray) -> IntArray:
    """Return a permutation with the given pairs; the other GPUs follow in order, half way round, so that few meet their own."""
    permutation = np.full(gpus, -1, dtype=np.int64)
    permutation[source] = target
    rest = np.setdiff1d(np.arange(gpus), target)
    permutation[permutation < 0] = np.roll(rest, len(rest) // 2)
    return permutation


def _ways_out(fabric: Fabric, seed: int, whole_bundle: bool) -> BoolArray:
    """Return one cable, or all cables to one neighbour, out of every switch with GPUs, to distinct switches where possible."""
    rng = stream(seed, "adversary ways out")
    trunk = trunk_links(fabric)
    trunk = trunk[fabric.link_capacity_bps[trunk] > 0]
    source, target = fabric.link_source[trunk] - fabric.gpus, fabric.link_target[trunk] - fabric.gpus
    with_gpus = distinct(fabric.cables.b[fabric.nic_cable] - fabric.gpus)
    linked = np.full((fabric.switches, fabric.switches), _LOCAL)
    linked[source, target] = 1.0 + 1e-3 * rng.random(len(trunk))
    row, column = _matching(linked[with_gpus])
    neighbour = dict(zip(with_gpus[row].tolist(), column.tolist(), strict=True))
    chosen = np.zeros(fabric.links, dtype=bool)
    for switch in with_gpus.tolist():
        mine = source == switch
        if not mine.any():
            continue
        # More switches than neighbours, as leaves under few spines: the rest share neighbours.
        wanted = neighbour.get(switch, -1)
        if not (mine & (target == wanted)).any():
            wanted = rng.choice(target[mine])
        out = trunk[mine & (target == wanted)]
        chosen[out if whole_bundle else out[:1]] = True
    return chosen


def _flows_on(fabric: Fabric, routing: Routing, permutation: IntArray, link: int) -> float:
    gpu = np.arange(fabric.gpus)
    away = fabric.server_of(gpu) != fabric.server_of(permutation)
    return float(link_loads(fabric, routing.routes(gpu[away], permutation[away]))[link])
