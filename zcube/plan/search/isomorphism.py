"""Telling fabrics apart that are more than other names for the same one.

The graph: GPUs, switches and servers are nodes; links of equal rates between the same two nodes are one labelled edge. A GPU
keeps its number in its server, since engines pick GPUs by it, and a switch its model; all other names are free.

Colours are refined until they tell no more nodes apart (Weisfeiler and Leman 1968), as 64-bit numbers that do not depend on
names; the sorted colours are the graph's hash. Graphs of different hashes are different. Of those of equal hashes a renaming is
looked for: one node of the smallest colour that several share is singled out on both sides, colours are refined, and so on,
until all differ and the renaming can be checked link by link. After :data:`MOST_TRIES` nodes singled out in vain the two count
as different. networkx hashes graphs alike; its matchers took 20 s and more for a ZCube of 256 GPUs under other names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from zcube.arrays import distinct
from zcube.fabric.model import CableKind, Fabric

#: Nodes singled out before two graphs of equal hashes count as different.
MOST_TRIES = 300

Colours = np.ndarray


@dataclass(frozen=True, eq=False)
class FabricGraph:
    """A fabric as a labelled graph.

    Attributes
    ----------
    label : uint64 array [nodes]
        What a node is.
    a, b : int array [edges]
        Ends of each edge, both ways round.
    edge : uint64 array [edges]
        What joins the ends.
    """

    label: Colours
    a: np.ndarray
    b: np.ndarray
    edge: Colours

    @staticmethod
    def of(fabric: Fabric) -> FabricGraph:
        """Return the graph of a fabric, failures aside."""
        label = np.zeros(fabric.nodes, dtype=np.uint64)
        label[: fabric.gpus] = _number("GPU") + np.arange(fabric.gpus, dtype=np.uint64) % np.uint64(fabric.gpus_per_server)
        for group in fabric.groups:
            label[group.first_node : group.first_node + group.count] = _number(f"switch {group.model.name}")
        cables = fabric.cables
        rate = np.where(cables.kind == CableKind.NVLINK, 0.0, cables.gbps)
        ends = np.sort(np.stack([cables.a, cables.b], axis=1), axis=1)
        # Of parallel links the rates are added up after mixing, so that their order does not matter.
        pairs, place = np.unique(ends, axis=0, return_inverse=True)
        edge = np.zeros(len(pairs), dtype=np.uint64)
        np.add.at(edge, place.ravel(), _mixed(rate.view(np.uint64)))
        a, b = np.concatenate([pairs, pairs[:, ::-1]]).T
        return FabricGraph(_mixed(label), a, b, np.concatenate([edge, edge]))

    def refined(self, colour: Colours) -> Colours:
        """Return colours that tell nodes apart by those of their neighbours, and so on, until that tells no more apart."""
        told = len(distinct(colour))
        while told < len(colour):
            around = np.zeros_like(colour)
            np.add.at(around, self.a, _mixed(colour[self.b] ^ _mixed(self.edge)))
            new = _mixed(colour + _mixed(around))
            now = len(distinct(new))
            # Rounds are counted alike in graphs of equal hashes, since these tell as many apart in each.
            if now == told:
                return new
            colour, told = new, now
        return colour

    def hash(self) -> str:
        """Return a hash, equal for graphs that differ by names alone."""
        return hashlib.sha256(np.sort(self.refined(self.label)).tobytes()).hexdigest()[:16]

    def is_same(self, other: FabricGraph) -> bool:
        """Return whether two graphs of equal hashes differ by names alone, so far as the tries go."""
        if len(self.label) != len(other.label) or len(self.a) != len(other.a):
            return False
        return _matched(self, other, self.refined(self.label), other.refined(other.label), [MOST_TRIES])


def _matched(one: FabricGraph, other: FabricGraph, mine: Colours, theirs: Colours, left: list[int]) -> bool:
    """Return whether a renaming is found that keeps colours; ``left[0]`` counts tries down."""
    values, first, counts = np.unique(mine, return_index=True, return_counts=True)
    if not np.array_equal(np.sort(mine), np.sort(theirs)):
        return False
    if len(values) == len(mine):
        return _is_renaming(one, other, np.argsort(theirs)[np.argsort(np.argsort(mine))])
    shared = np.flatnonzero(counts > 1)
    chosen = shared[np.argmin(counts[shared])]
    singled = one.refined(_singled(mine, int(first[chosen])))
    for node in np.flatnonzero(theirs == values[chosen]).tolist():
        left[0] -= 1
        if left[0] < 0:
            return False
        if _matched(one, other, singled, other.refined(_singled(theirs, node)), left):
            return True
    return False


def _singled(colour: Colours, node: int) -> Colours:
    singled = colour.copy()
    singled[node] = _mixed(singled[node : node + 1] + np.uint64(1))[0]
    return singled


def _is_renaming(one: FabricGraph, other: FabricGraph, name: np.ndarray) -> bool:
    """Return whether giving node i of one the name ``name[i]`` makes it the other."""
    if not np.array_equal(one.label, other.label[name]):
        return False
    mine, theirs = np.lexsort((name[one.b], name[one.a])), np.lexsort((other.b, other.a))
    renamed = (name[one.a][mine], name[one.b][mine], one.edge[mine])
    return all(np.array_equal(x, y) for x, y in zip(renamed, (other.a[theirs], other.b[theirs], other.edge[theirs])))


def _number(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


def _mixed(value: Colours) -> Colours:
    """Return numbers scattered over 64 bits (SplitMix64's finaliser)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))
