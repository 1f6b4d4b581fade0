"""Slim Fly: 2 q^2 switches at most two links apart, the graphs of McKay, Miller and Siran.

q = 4 w + delta is a prime power, delta -1, 0 or 1. Switches are (0, x, y) and (1, m, c) over GF(q). With generator sets X, X'

* (0, x, y) is joined to (0, x, y') where y - y' is in X,
* (1, m, c) is joined to (1, m, c') where c - c' is in X',
* (0, x, y) is joined to (1, m, c) where y = m x + c.

So a switch has k' = (3 q - delta) / 2 links to others. Sources: McKay, Miller and Siran (J. Combinatorial Theory B, 1998);
generator sets for every delta: Hafner, "Geometric realisation of the graphs of McKay-Miller-Siran" (J. Combinatorial Theory B,
2004); as a network with p = ceil(k' / 2) endpoints a switch: Besta and Hoefler, "Slim Fly" (SC 2014).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from zcube.arrays import IntArray
from zcube.fabric.families.galois import GaloisField, prime_power
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import MAX_CABLES, FabricSpec
from zcube.fabric.structure import Structure


@dataclass(frozen=True)
class SlimFlyCounts:
    """What a Slim Fly of some q consists of, whether or not its graph exists.

    Attributes
    ----------
    switches, switch_links : int
        2 q^2, and the cables between them.
    links_per_switch : int
        k', to other switches.
    gpus_per_switch, gpus : int
        p, and those of the full machine.
    """

    switches: int
    switch_links: int
    links_per_switch: int
    gpus_per_switch: int
    gpus: int


def slim_fly_counts(q: int, gpus_per_switch: int | None = None) -> SlimFlyCounts:
    """Return the counts that the formulas give for any q = 4 w + delta; ``gpus_per_switch`` is ceil(k' / 2) unless given.

    Raises
    ------
    ValueError
        If q is below 3 or leaves 2 on division by 4.
    """
    if q < 3 or q % 4 == 2:
        raise ValueError(f"q = {q} to be 4 w + delta, w at least 1 and delta -1, 0 or 1")
    degree = (3 * q - _delta(q)) // 2
    p = gpus_per_switch or -(-degree // 2)
    return SlimFlyCounts(2 * q * q, q * q * degree, degree, p, 2 * q * q * p)


@dataclass(frozen=True)
class SlimFlyStructure(Structure):
    """Switch ``x q + y`` is (0, x, y), switch ``q^2 + m q + c`` is (1, m, c); GPUs fill switches in order."""

    q: int
    gpus_per_switch: int


class SlimFlySpec(FabricSpec):
    """A Slim Fly. All switches are there; GPUs fill them in order."""

    routings: ClassVar[tuple[str, ...]] = ("slimfly-minimal", "valiant", "shortest-path", "ecmp", "hash")

    family: str = "slim-fly"
    q: int | None = Field(default=None, ge=3, le=1024, description="prime power above 2; default: the smallest that has room")
    gpus_per_switch: int | None = Field(
        default=None, ge=1, le=4096, description="p; default: half of the links to other switches, rounded up"
    )

    @property
    def field_order(self) -> int:
        """The prime power q."""
        if self.q is not None:
            return self.q
        return next(q for q in _orders(3, 1) if slim_fly_counts(q, self.gpus_per_switch).gpus >= self.gpus)

    @field_validator("q")
    @classmethod
    def _prime_power(cls, q: int | None) -> int | None:
        if q is not None and prime_power(q) is None:
            near = [next(_orders(q, step), None) for step in (-1, 1)]
            nearest = " and ".join(str(one) for one in near if one is not None)
            graph = f"no graph of McKay, Miller and Siran with q = {q} exists"
            raise ValueError(f"a prime power: {graph}; the nearest are those of q = {nearest}")
        return q

    @model_validator(mode="after")
    def _sizes_fit(self) -> SlimFlySpec:
        q = self.field_order
        counts = slim_fly_counts(q, self.gpus_per_switch)
        if self.gpus > counts.gpus:
            sizes = f"q = {q}: {counts.switches} switches of {counts.gpus_per_switch} GPUs"
            raise ValueError(f"gpus = {self.gpus} of at most {counts.gpus} with {sizes}")
        cables = 2 * self.gpus + counts.switch_links
        if cables > MAX_CABLES:
            raise ValueError(f"at most {MAX_CABLES} cables; q = {q} needs {cables}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric.

        Cables inside the rows of the first half come first, then those of the second; then those between row x of both, which
        share a rack as Besta and Hoefler lay them out; then those between racks. A switch's ports are in the same order.
        """
        q = self.field_order
        counts = slim_fly_counts(q, self.gpus_per_switch)
        p, degree = counts.gpus_per_switch, counts.links_per_switch
        field = GaloisField.of(q)
        copper: list[tuple[IntArray, IntArray, int]] = []
        for first, generators in zip((self.gpus, self.gpus + q * q), generator_sets(field)):
            low, high = _rows(field, generators)
            copper.append((first + low, first + high, p))
        x, m, c = (axis.ravel() for axis in np.indices((q, q, q)))
        one, other = self.gpus + x * q + field.add(field.multiply(m, x), c), self.gpus + q * q + m * q + c
        copper.append((one[x == m], other[x == m], p + degree - q))
        trunks = [self.switch_cables(a, b, (first, first), self.nic_gbps, medium=CableMedium.COPPER) for a, b, first in copper]
        far = (p + degree - q + 1,) * 2
        return self.assemble(
            name,
            self.groups_of({"sw": counts.switches}),
            [self.nic_cables(0, self.gpus + np.arange(self.gpus) // p, medium=CableMedium.COPPER)],
            [*trunks, self.switch_cables(one[x != m], other[x != m], far, self.nic_gbps)],
            SlimFlyStructure(q, p),
        )


def generator_sets(field: GaloisField) -> tuple[IntArray, IntArray]:
    """Return Hafner's sets X and X' of differences along which switches of one half are joined, each with -d for every d."""
    q = field.order
    delta, w = _delta(q), (q - _delta(q)) // 4
    if delta == -1:
        even, odd = np.arange(0, 2 * w - 1, 2), np.arange(2 * w - 1, 4 * w - 2, 2)
        exponents = np.concatenate([even, odd])
    else:
        exponents = np.arange(0, q - 1, 2)
    return field.powers[exponents], field.powers[(exponents + 1) % (q - 1)]


def _rows(field: GaloisField, generators: IntArray) -> tuple[IntArray, IntArray]:
    """Return both ends of the cables of one half: inside each of its q rows, where elements differ by a generator."""
    low, high = np.triu_indices(field.order, 1)
    joined = np.isin(field.subtract(low, high), generators)
    row = np.repeat(np.arange(field.order), joined.sum()) * field.order
    return row + np.tile(low[joined], field.order), row + np.tile(high[joined], field.order)


def _delta(q: int) -> int:
    return -1 if q % 4 == 3 else q % 4


def _orders(start: int, step: int) -> Iterator[int]:
    """Yield the prime powers above 2 from a number on, upwards or downwards."""
    return (q for q in (count(start) if step > 0 else range(start, 2, -1)) if prime_power(q))
