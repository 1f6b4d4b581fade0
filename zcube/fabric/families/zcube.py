"""ZCube with two NIC ports per GPU: two switch groups, complete bipartite between them, no link inside a group.

Source: ATOP/ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503) for ZCube(n,2); Z.ai's article of 2026-05-21 for the general
form with ``gpus_per_switch`` = k GPUs on each of 2N/k switches. With N = k^2 the two are the same fabric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec
from zcube.fabric.structure import Structure

Rails = Literal["plain", "skewed", "twisted", "xor"]
RAIL_WIRINGS: tuple[Rails, ...] = get_args(Rails)


@dataclass(frozen=True)
class ZCubeStructure(Structure):
    """Switch groups A and B, and the cables between them: by A switch, by B switch, parallel ones together."""

    gpus_per_switch: int
    segments: int
    group_switches: int
    parallel_links: int
    rails: Rails


class ZCubeSpec(FabricSpec):
    """A two-port ZCube, full or partly filled.

    Port 0 of GPU ``g`` goes to switch ``A[g // k]`` (a segment of k consecutive GPUs), port 1 to ``B[g mod m]``, where m =
    capacity_gpus / k is the number of B switches. Every A-B pair has ``k / m`` parallel links, so that up- and down-link
    capacity of every switch are equal; k / m must be whole. Partly filled, GPUs come in order and only the A switches of
    begun segments are there.

    Other ``rails`` are other Latin squares of segments and rails: the same graph with GPUs renamed inside each segment, in
    which GPUs of one local index meet all rails. ``skewed`` connects port 1 to ``B[(g + g // k) mod m]``, ``twisted`` to
    ``B[(g + c (g // k)) mod m]``, where c is the largest number up to 0.618 m without a factor in common with m, and ``xor``,
    where m is a power of two, to ``B[(g mod m) xor (g // k mod m)]``. No publication mentions any.
    """

    routings: ClassVar[tuple[str, ...]] = ("zcube-paths", "zcube-detours", "shortest-path", "ecmp", "hash")

    family: str = "zcube"
    gpus_per_switch: int | None = Field(default=None, ge=1, description="k; default: the square root of capacity_gpus")
    capacity_gpus: int | None = Field(default=None, ge=1, description="GPUs when full; default: gpus")
    rails: Rails = "plain"

    @property
    def full_gpus(self) -> int:
        """GPUs of the full fabric."""
        return self.capacity_gpus or self.gpus

    @property
    def segment_gpus(self) -> int:
        """GPUs per switch, k."""
        return self.gpus_per_switch or math.isqrt(self.full_gpus)

    @model_validator(mode="after")
    def _sizes_fit(self) -> ZCubeSpec:
        k, full = self.segment_gpus, self.full_gpus
        if full < self.gpus:
            raise ValueError(f"capacity_gpus = {full} of at least gpus = {self.gpus}")
        if self.gpus_per_switch is None and k * k != full:
            raise ValueError(f"gpus = {full} to be a square, or gpus_per_switch to be given")
        if full % k:
            raise ValueError(f"gpus = {full} to be a multiple of gpus_per_switch = {k}")
        m = full // k
        if k % m:
            links = f"gpus_per_switch^2 / gpus = {k}^2 / {full} = {k * k / full:g} parallel links per switch pair"
            raise ValueError(f"{links} to be a whole number")
        if self.rails == "xor" and m & (m - 1):
            raise ValueError(f"other rails than xor, which needs a power of two of them, not {m}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        k, m = self.segment_gpus, self.full_gpus // self.segment_gpus
        segments, trunk = -(-self.gpus // k), k // m
        gpu = np.arange(self.gpus)
        first_a, first_b = self.gpus, self.gpus + segments
        a, b, _ = (axis.ravel() for axis in np.indices((segments, m, trunk)))
        return self.assemble(
            name,
            self.groups_of({"A": segments, "B": m}),
            [
                # A server's port 0 all go to one switch, beside which it can stand.
                self.nic_cables(0, first_a + gpu // k, ports=2, medium=CableMedium.COPPER),
                self.nic_cables(1, first_b + _rail(gpu, k, m, self.rails), ports=2),
            ],
            [self.switch_cables(first_a + a, first_b + b, (k, k), self.nic_gbps / 2)],
            ZCubeStructure(k, segments, m, trunk, self.rails),
        )


def skewed_twin(fabric: Fabric) -> Fabric | None:
    """Return a plain two-port ZCube with skewed rails instead, all else as it is; None for other fabrics."""
    plain = fabric.structure
    if not isinstance(plain, ZCubeStructure) or plain.rails != "plain" or fabric.parameters.get("cabled_as"):
        return None
    rail = _rail(np.arange(fabric.gpus), plain.gpus_per_switch, plain.group_switches, "skewed")
    b = fabric.cables.b.copy()
    b[fabric.nic_cable[:, 1]] = fabric.gpus + plain.segments + rail
    return replace(
        fabric,
        name=f"{fabric.name}, skewed rails",
        cables=replace(fabric.cables, b=b),
        parameters=MappingProxyType({**fabric.parameters, "rails": "skewed"}),
        structure=replace(plain, rails="skewed"),
    )


def _rail(gpu: IntArray, k: int, m: int, rails: Rails) -> IntArray:
    """Return the B switch of each GPU, counted from 0."""
    segment = gpu // k
    if rails == "xor":
        return (gpu % m) ^ (segment % m)
    return (gpu + segment * _shift(m, rails)) % m


def _shift(m: int, rails: Rails) -> int:
    """Return by how many rails each segment is turned against the one before."""
    if rails != "twisted":
        return int(rails == "skewed")
    return next((c for c in range(int(0.618 * m), 0, -1) if math.gcd(c, m) == 1), 1)
