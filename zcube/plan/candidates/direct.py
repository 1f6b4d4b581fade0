"""Fabrics without tiers: Dragonfly, Slim Fly, BCube."""

from __future__ import annotations

import math
from collections.abc import Iterator

from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.dragonfly import DragonflySpec, capacity_gpus
from zcube.fabric.families.galois import prime_power
from zcube.fabric.families.slim_fly import SlimFlySpec, slim_fly_counts
from zcube.plan.candidate import Binding, Candidate, Ground, Unbuildable
from zcube.plan.nearest import nearest_demands


def dragonfly(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield balanced groups (a = 2 p, h = p) of every size that the ports allow, as many groups as are needed."""
    found = False
    for p in range(1, (ground.ports() + 1) // 4 + 1):
        groups = -(-ground.gpus // (2 * p * p))
        if not 2 <= groups <= 2 * p * p + 1:
            continue
        spec = ground.attempt(DragonflySpec, gpus_per_switch=p, groups=groups)
        if not isinstance(spec, DragonflySpec):
            continue
        found = True
        a, switches = 2 * p, 2 * p * groups
        per_group = a * p
        rounds, left = divmod(per_group, groups - 1)
        # Where one link is left over and no even spread exists, it stays unused.
        used = rounds * (groups - 1) + (left if groups % 2 == 0 or left % 2 == 0 else left - 1)
        yield Candidate(
            name=f"dragonfly-p{p}-{spec.switch.model}",
            family="dragonfly",
            arrangement=f"{groups} groups of {a} switches, each with {p} GPUs, {a - 1} local and {p} global links",
            spec=spec,
            switches={spec.switch.model: switches},
            switch_ports=switches * spec.switch.ports,
            nic_links=spec.gpus,
            switch_links=groups * a * (a - 1) // 2 + groups * used // 2,
            oversubscription=1.0,
            gpus_per_switch=p,
        )
    if not found:
        radix = ground.ports()
        p = next(size for size in range(1, ground.gpus + 1) if capacity_gpus(size) >= ground.gpus)
        need = (
            f"groups of a = 2 p, h = p with p of at least {p}, 4 p - 1 = {4 * p - 1} ports of {ground.nic_gbps:g}G, not {radix}"
        )
        most = capacity_gpus((radix + 1) // 4) if radix >= 3 else 0
        nearest = nearest_demands(ground, _dragonfly_fits, [most])
        yield Unbuildable("dragonfly", "balanced groups", ground.switch.model, "ports", need, nearest)


def _dragonfly_fits(ground: Ground) -> bool:
    sizes = range(1, (ground.ports() + 1) // 4 + 1)
    return any(2 <= -(-ground.gpus // (2 * p * p)) <= 2 * p * p + 1 for p in sizes)


def slim_fly(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield, for each oversubscription, the smallest graph whose switches take all GPUs."""
    yielded: set[tuple[int, int]] = set()
    for ratio in ground.ratios():
        shape = _slim_fly_shape(ground, ratio)
        if shape is None or shape in yielded:
            continue
        yielded.add(shape)
        q, p = shape
        spec = ground.attempt(SlimFlySpec, q=q, gpus_per_switch=p)
        if not isinstance(spec, SlimFlySpec):
            continue
        counts = slim_fly_counts(q, p)
        balanced = -(-counts.links_per_switch // 2)
        over = p / balanced
        yield Candidate(
            name=f"slim-fly-q{q}-{spec.switch.model}" + (f"-{over:.3g}to1" if over > 1 else ""),
            family="slim-fly",
            arrangement=f"q = {q}: {counts.switches} switches, {p} GPUs and {counts.links_per_switch} links to others each",
            spec=spec,
            switches={spec.switch.model: counts.switches},
            switch_ports=counts.switches * spec.switch.ports,
            nic_links=spec.gpus,
            switch_links=counts.switch_links,
            oversubscription=max(1.0, over),
            gpus_per_switch=p,
        )
    if not yielded:
        ratio = ground.site.demand.max_oversubscription
        need = f"a graph of 2 q^2 switches with room for {ground.gpus} GPUs on {ground.ports()} ports a switch"
        largest = [_slim_fly_most(ground, ratio)]
        nearest = nearest_demands(ground, lambda other: _slim_fly_shape(other, ratio) is not None, largest)
        yield Unbuildable("slim-fly", "MMS graph", ground.switch.model, "ports", need, nearest)


def _slim_fly_sizes(ground: Ground, ratio: float) -> Iterator[tuple[int, int, int]]:
    """Yield order, GPUs per switch and GPUs of every graph that the ports allow."""
    for q in range(3, 1025):
        if prime_power(q) is None or q % 4 == 2:
            continue
        degree = slim_fly_counts(q).links_per_switch
        p = min(int(-(-degree // 2) * ratio), ground.ports() - degree, 4096)
        if p < 1:
            return
        yield q, p, 2 * q * q * p


def _slim_fly_shape(ground: Ground, ratio: float) -> tuple[int, int] | None:
    return next(((q, p) for q, p, gpus in _slim_fly_sizes(ground, ratio) if gpus >= ground.gpus), None)


def _slim_fly_most(ground: Ground, ratio: float) -> int:
    return max((gpus for _, _, gpus in _slim_fly_sizes(ground, ratio)), default=0)


def bcube(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield BCube(n,2) where the GPUs are n^2."""
    n, radix = math.isqrt(ground.gpus), ground.ports(2)
    spec = ground.attempt(BCubeSpec)
    if isinstance(spec, BCubeSpec) and n <= radix:
        yield Candidate(
            name=f"bcube-n{n}-{spec.switch.model}",
            family="bcube",
            arrangement=f"BCube({n},2): {n} switches of each level, GPUs forward",
            spec=spec,
            switches={spec.switch.model: 2 * n},
            switch_ports=2 * n * spec.switch.ports,
            nic_links=2 * spec.gpus,
            switch_links=0,
            oversubscription=1.0,
            gpus_per_switch=n,
        )
        return
    reason = f"switches of n = {n} ports, not {radix}" if n > radix else f"n^2 GPUs: {spec}"
    sizes = [min(n, radix) ** 2, (n + 1) ** 2] if n < radix else [radix * radix]

    def fits(other: Ground) -> bool:
        return math.isqrt(other.gpus) <= other.ports(2) and isinstance(other.attempt(BCubeSpec), BCubeSpec)

    binding: Binding = "ports" if n > radix else "size"
    nearest = nearest_demands(ground, fits, sizes)
    yield Unbuildable("bcube", "BCube(n,2)", ground.switch.model, binding, reason, nearest)
