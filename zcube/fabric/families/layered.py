"""Layered fabrics: GPUs and up to three layers of switches, joined and wired inside by the hyper-parameters of ATOP.

Source: ATOP (SIGCOMM 2025, doi 10.1145/3718958.3750503), whose eleven kinds of hyper-parameters these are. Everything is
counted from 0 here. Layer 0 are the GPUs.

* A join of layers i < j cuts both into blocks; block k of layer i goes to block k mod ``upper_blocks`` of layer j. Node x of a
  block has ``links`` links, link m to node (links x + m) mod (nodes of the upper block); more links than nodes are parallel.
* Inside a layer nodes are points of a grid of ``sizes``; a target gives for each dimension d the coordinate
  (``factor[d]`` x + ``offset[d]``) mod ``sizes[d]`` that the node at coordinate x is linked to.

*Inferred*, since the paper does not say: x counts inside the block; a link of a node to itself is none; a link and the same
link from the other end are one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableKind, CableMedium, Cables, Fabric
from zcube.fabric.port_numbers import links_per_port, numbered_ports
from zcube.fabric.spec import LEAST_GBPS, FabricSpec
from zcube.inputs import Declared

#: Limits of ATOP's search: four layers with the GPUs, four dimensions inside one.
MOST_SWITCH_LAYERS, MOST_DIMENSIONS = 3, 4
MOST_RATE_UNITS = 4


class Join(Declared):
    """How the nodes of a layer are linked to those of a later one."""

    lower: int = Field(ge=0, lt=MOST_SWITCH_LAYERS, description="layer; 0 are the GPUs")
    upper: int = Field(ge=1, le=MOST_SWITCH_LAYERS, description="layer above it")
    lower_blocks: int = Field(default=1, ge=1, description="equal blocks of the lower layer")
    upper_blocks: int = Field(default=1, ge=1, description="equal blocks of the upper layer")
    links: int = Field(ge=1, le=4096, description="of every node of the lower layer")
    rate_units: int = Field(default=1, ge=1, le=MOST_RATE_UNITS, description="rate of a link, in `unit_gbps`")


class Target(Declared):
    """Where one link of every node of a layer leads, by affine coordinates."""

    factor: tuple[int, ...] = Field(
        min_length=1, max_length=MOST_DIMENSIONS, description="what each coordinate is multiplied by"
    )
    offset: tuple[int, ...] = Field(min_length=1, max_length=MOST_DIMENSIONS, description="what is then added to it")


class Inner(Declared):
    """Links inside a layer of switches."""

    layer: int = Field(ge=1, le=MOST_SWITCH_LAYERS, description="of switches")
    sizes: tuple[int, ...] = Field(
        min_length=1, max_length=MOST_DIMENSIONS, description="extents of the grid in which its switches stand"
    )
    targets: tuple[Target, ...] = Field(min_length=1, max_length=64)
    rate_units: int = Field(default=1, ge=1, le=MOST_RATE_UNITS, description="rate of a link, in `unit_gbps`")


@dataclass(frozen=True, eq=False)
class Links:
    """Links of a join between switches, of one NIC port of all GPUs, or of one inner target.

    Attributes
    ----------
    a, b : int array [links]
        Nodes at both ends: GPUs, then the switches of layer 1, 2 and 3.
    gbps : float
        Rate.
    lower : int
        Layer of end a.
    """

    a: IntArray
    b: IntArray
    gbps: float
    lower: int


class LayeredSpec(FabricSpec):
    """GPUs and layers of switches, joined by ATOP's hyper-parameters.

    ``layers`` gives the switches of each layer. Rates are ``rate_units`` of ``unit_gbps`` each; those of a GPU's links come to
    ``nic_gbps``.
    """

    routings: ClassVar[tuple[str, ...]] = ("dual-plane", "shortest-path", "ecmp", "hash")

    family: str = "layered"
    layers: tuple[int, ...] = Field(min_length=1, max_length=MOST_SWITCH_LAYERS)
    joins: tuple[Join, ...] = Field(min_length=1, max_length=6)
    inner: tuple[Inner, ...] = Field(default=(), max_length=MOST_SWITCH_LAYERS)
    unit_gbps: float = Field(default=200.0, ge=LEAST_GBPS, le=1e6, description="rate of one unit, Gb/s")

    @model_validator(mode="after")
    def _fits(self) -> LayeredSpec:
        nodes = self.nodes
        if any(not 1 <= count <= 1 << 20 for count in self.layers):
            raise ValueError("layers of 1 to 1048576 switches")
        for join in self.joins:
            if not join.lower < join.upper < len(nodes):
                raise ValueError(f"joins of layers 0 to {len(self.layers)}, lower before upper")
            for layer, blocks in ((join.lower, join.lower_blocks), (join.upper, join.upper_blocks)):
                if nodes[layer] % blocks:
                    raise ValueError(f"blocks that part the {nodes[layer]} nodes of layer {layer} evenly, not {blocks}")
        for grid in self.inner:
            if grid.layer >= len(nodes) or math.prod(grid.sizes) != nodes[grid.layer]:
                raise ValueError(f"sizes of layer {grid.layer} whose product is the number of its switches")
            if any({len(one.factor), len(one.offset)} != {len(grid.sizes)} for one in grid.targets):
                raise ValueError(f"a factor and an offset for each of the {len(grid.sizes)} dimensions of layer {grid.layer}")
        gpu_gbps = sum(join.links * join.rate_units for join in self.joins if join.lower == 0) * self.unit_gbps
        if not math.isclose(gpu_gbps, self.nic_gbps):
            raise ValueError(f"links of a GPU that come to nic_gbps = {self.nic_gbps:g}, not {gpu_gbps:g}")
        return self

    @property
    def nodes(self) -> tuple[int, ...]:
        """Nodes of every layer, the GPUs first."""
        return (self.gpus, *self.layers)

    def cable_estimate(self) -> int:
        """Return how many cables there are at most."""
        joined = sum(self.nodes[join.lower] * join.links for join in self.joins)
        return self.gpus + joined + sum(self.nodes[grid.layer] * len(grid.targets) for grid in self.inner)

    def links(self) -> Iterator[Links]:
        """Yield all links, those of GPUs first."""
        first = np.concatenate([[0], np.cumsum(self.nodes)])
        for join in sorted(self.joins, key=lambda one: (one.lower, one.upper)):
            for a, b in _joined(join, self.nodes):
                yield Links(first[join.lower] + a, first[join.upper] + b, join.rate_units * self.unit_gbps, join.lower)
        for grid in self.inner:
            for target in grid.targets:
                a, b = _inside(grid, target)
                yield Links(first[grid.layer] + a, first[grid.layer] + b, grid.rate_units * self.unit_gbps, grid.layer)

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        links = [part for part in self.links() if len(part.a)]
        ports = numbered_legs(links, self.gpus, sum(self.layers), self.switch.port_gbps)
        nic: list[Cables] = []
        trunks: list[Cables] = []
        for part, (a_port, b_port) in zip(links, ports, strict=True):
            kind = CableKind.SWITCH if part.lower else CableKind.NIC
            if part.lower == 0:
                a_port = np.full(len(part.a), len(nic))
            cables = Cables.of(
                part.a,
                part.b,
                a_port,
                b_port,
                gbps=part.gbps,
                latency_s=self.link_latency_s,
                kind=kind,
                medium=self._medium(part),
            )
            (trunks if part.lower else nic).append(cables)
        groups = self.groups_of({f"L{number}": count for number, count in enumerate(self.layers, 1)})
        return self.assemble(name, groups, nic, trunks)

    def _medium(self, part: Links) -> CableMedium:
        """Return copper where every server has all its links of one NIC port on one switch, beside which it can stand."""
        if part.lower:
            return CableMedium.FIBRE
        by_server = part.b.reshape(-1, self.gpus_per_server)
        return CableMedium.COPPER if (by_server == by_server[:, :1]).all() else CableMedium.FIBRE


def numbered_legs(links: list[Links], gpus: int, switches: int, port_gbps: float) -> list[tuple[IntArray, IntArray]]:
    """Return the port numbers at both ends of links, counted at their rates.

    Links of one rate share the native ports of a switch that a split leaves over; those of another rate begin on a native
    port of their own.
    """
    node = np.concatenate([np.stack([part.a, part.b], axis=1).ravel() for part in links])
    gbps = np.concatenate([np.full(2 * len(part.a), part.gbps) for part in links])
    number, used = np.zeros(len(node), dtype=np.int64), np.zeros(gpus + switches, dtype=np.int64)
    for rate in dict.fromkeys(part.gbps for part in links):
        rows = np.flatnonzero((gbps == rate) & (node >= gpus))
        legs = int(links_per_port(port_gbps, rate))
        number[rows] = used[node[rows]] * legs + numbered_ports(node[rows])
        used += -(-np.bincount(node[rows], minlength=len(used)) // legs)
    ends = number.reshape(-1, 2)
    cuts = np.cumsum([len(part.a) for part in links])[:-1]
    return [(part[:, 0], part[:, 1]) for part in np.split(ends, cuts)]


def _joined(join: Join, nodes: tuple[int, ...]) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the nodes at both ends: of GPUs those of link 0, of link 1 and so on, of switches all, switch by switch."""
    lower, upper = nodes[join.lower] // join.lower_blocks, nodes[join.upper] // join.upper_blocks
    node = np.arange(nodes[join.lower])
    block, inside = np.divmod(node, lower)
    link = np.arange(join.links)
    goal = (block % join.upper_blocks * upper)[:, None] + (join.links * inside[:, None] + link) % upper
    if join.lower:
        yield np.repeat(node, join.links), goal.ravel()
    else:
        yield from ((node, goal[:, one]) for one in link)


def _inside(grid: Inner, target: Target) -> tuple[IntArray, IntArray]:
    """Return the nodes at both ends of an inner target's links, each link once."""
    node = np.arange(math.prod(grid.sizes))
    at = np.unravel_index(node, grid.sizes)
    moved = [
        (factor * place + offset) % size
        for place, factor, offset, size in zip(at, target.factor, target.offset, grid.sizes, strict=True)
    ]
    goal = np.ravel_multi_index(moved, grid.sizes)
    pairs = np.unique(np.sort(np.stack([node, goal], axis=1)[node != goal], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]
