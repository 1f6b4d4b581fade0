"""ZCube with two NIC ports: every radix and trunking, every wiring of rails; and its pods, ZCube(n,3)-partial."""

from __future__ import annotations

import math
from collections.abc import Iterator

from zcube.fabric.families.zcube import RAIL_WIRINGS, ZCubeSpec
from zcube.fabric.families.zcube_pods import ZCubePodsSpec
from zcube.plan.candidate import Binding, Candidate, Ground, Unbuildable
from zcube.plan.nearest import nearest_demands


def zcube(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield ZCube of every number of GPUs per switch, whole servers, that the ports allow, with most parallel links."""
    found = list(_shapes(ground))
    for k, parallel in found:
        for rails in RAIL_WIRINGS:
            spec = ground.attempt(ZCubeSpec, gpus_per_switch=k, capacity_gpus=k * (k // parallel), rails=rails)
            # Some wirings are for some numbers of rails only.
            if isinstance(spec, ZCubeSpec):
                yield _candidate(spec, k, parallel)
    if not found:
        radix = ground.ports(2)
        n = math.isqrt(ground.gpus - 1) + 1
        arithmetic = (
            f"{ground.gpus} GPUs need ZCube(n,2) with n of at least {n}, {2 * n} ports of {ground.nic_gbps / 2:g}G a switch; "
            f"a {ground.switch.model} has {radix}, which reach {(radix // 2) ** 2} GPUs"
        )
        binding: Binding = "reach" if radix > 1 else "ports"
        nearest = nearest_demands(ground, lambda other: any(True for _ in _shapes(other)), [(radix // 2) ** 2])
        yield Unbuildable("zcube", "ZCube(n,2)", ground.switch.model, binding, arithmetic, nearest)


def _shapes(ground: Ground) -> Iterator[tuple[int, int]]:
    """Yield GPUs per switch and parallel links, the most for each."""
    radix, server = ground.ports(2), ground.gpus_per_server
    for k in range(server, min(radix // 2, ground.gpus) // server * server + 1, server):
        # A switch has k ports to GPUs and k to the other group; the fabric has room for k^2 / parallel GPUs.
        most = k * k // ground.gpus
        parallel = next((count for count in range(min(k, most), 0, -1) if k % count == 0), 0)
        if parallel:
            yield k, parallel


def _candidate(spec: ZCubeSpec, k: int, parallel: int) -> Candidate:
    m, rails = k // parallel, spec.rails
    segments = -(-spec.gpus // k)
    links = f", {parallel} links a pair" if parallel > 1 else ""
    size = f"ZCube({k},2)" if k == m and spec.gpus == k * k else f"ZCube, {k} GPUs a switch"
    partly = f", {spec.gpus} of {k * m} GPUs" if spec.gpus < k * m else ""
    return Candidate(
        name=f"zcube-k{k}-{spec.switch.model}" + (f"-{rails}" if rails != "plain" else ""),
        family="zcube",
        arrangement=f"{size}: {segments} A and {m} B switches{links}{partly}, {rails} rails",
        spec=spec,
        switches={spec.switch.model: segments + m},
        switch_ports=(segments + m) * spec.switch.ports,
        nic_links=2 * spec.gpus,
        switch_links=segments * k,
        oversubscription=1.0,
        gpus_per_switch=k,
        traffic=rails,
    )


def zcube_pods(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield ZCube(n,3)-partial where the GPUs are n^3."""
    radix, n = ground.ports(2), round(ground.gpus ** (1 / 3))
    spec = ground.attempt(ZCubePodsSpec, n=max(2, n))
    if not _pods_fit(ground):
        even = max(2, min(radix // 3, n) // 2 * 2)
        binding: Binding = "size" if isinstance(spec, str) else "ports"
        if isinstance(spec, str):
            arithmetic = f"pods of n^2 GPUs, n of them and n even: {spec}"
        else:
            arithmetic = f"switches of 3 n = {3 * n} ports of {ground.nic_gbps / 2:g}G, not {radix}"
        sizes = [even**3, (even + 2) ** 3] if radix >= 3 * (even + 2) else [even**3]
        nearest = nearest_demands(ground, _pods_fit, sizes)
        yield Unbuildable("zcube-pods", "ZCube(n,3)-partial", ground.switch.model, binding, arithmetic, nearest)
        return
    assert isinstance(spec, ZCubePodsSpec)
    yield Candidate(
        name=f"zcube-pods-n{n}-{spec.switch.model}",
        family="zcube-pods",
        arrangement=f"ZCube({n},3)-partial: {n} pods of {n} A and {n} B switches, {n * n // 2} joining switches",
        spec=spec,
        switches={spec.switch.model: 2 * n * n + n * n // 2},
        switch_ports=(2 * n * n + n * n // 2) * spec.switch.ports,
        nic_links=2 * spec.gpus,
        switch_links=2 * n**3,
        oversubscription=1.0,
        gpus_per_switch=n,
    )


def _pods_fit(ground: Ground) -> bool:
    n = round(ground.gpus ** (1 / 3))
    return n >= 2 and 3 * n <= ground.ports(2) and isinstance(ground.attempt(ZCubePodsSpec, n=n), ZCubePodsSpec)
