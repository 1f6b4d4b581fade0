"""Independent planes: rail-only, multi-plane with 1, 2, 4 and 8 planes, and HPN's two."""

from __future__ import annotations

import math
from collections.abc import Iterator

from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import MultiPlaneSpec, PlanesSpec, RailOnlySpec
from zcube.plan.candidate import Binding, Candidate, Ground, Unbuildable
from zcube.plan.nearest import nearest_demands

PLANES = (1, 2, 4, 8)
#: NIC ports of a GPU up to which planes are tried with oversubscription too.
MOST_OVERSUBSCRIBED = 2
#: Down ports tried of a top-of-rack switch of HPN, from the most on.
HPN_STEPS = 64


def rail_only(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield one plane per rail, at each oversubscription; multi-plane with as many planes is the same fabric."""
    yield from _planes(ground, RailOnlySpec, "rail-only", {}, ground.gpus_per_server, 1)


def multi_plane(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield 1, 2, 4 and 8 planes, GPUs on one of them or on all."""
    for planes in PLANES:
        if planes == ground.gpus_per_server:
            # The same fabric as rail-only.
            pass
        elif ground.gpus_per_server % planes == 0:
            yield from _planes(ground, MultiPlaneSpec, f"planes-{planes}", {"planes": planes, "ports_per_gpu": 1}, planes, 1)
        else:
            arithmetic = f"GPUs of a server, {ground.gpus_per_server}, on {planes} planes evenly"
            nearest = ({"gpus_per_server": planes * max(1, ground.gpus_per_server // planes)},)
            yield Unbuildable("multi-plane", f"planes-{planes}", ground.switch.model, "planes", arithmetic, nearest)
        if planes > 1:
            keys = {"planes": planes, "ports_per_gpu": planes}
            yield from _planes(ground, MultiPlaneSpec, f"planes-{planes}-ports-{planes}", keys, planes, planes)


def _planes(
    ground: Ground, family: type[PlanesSpec], name: str, keys: dict[str, int], planes: int, nic_ports: int
) -> Iterator[Candidate | Unbuildable]:
    reason = ""
    most = ground.site.demand.max_oversubscription if nic_ports <= MOST_OVERSUBSCRIBED else 1.0
    for ratio in sorted({1.0, most}):
        spec = ground.attempt(family, oversubscription=ratio, **keys)
        if isinstance(spec, PlanesSpec):
            yield _candidate(name, spec, planes, nic_ports)
        else:
            reason = reason or str(spec)
    if not reason:
        return
    radix = ground.ports(nic_ports)

    def fits(other: Ground) -> bool:
        return isinstance(other.attempt(family, oversubscription=most, **keys), PlanesSpec)

    largest = int(radix * radix * most / (1 + most)) * planes // nic_ports
    binding: Binding = "reach" if radix > 1 else "ports"
    nearest = nearest_demands(ground, fits, [largest])
    yield Unbuildable(family.family_name(), name, ground.switch.model, binding, f"{planes} planes: {reason}", nearest)


def _candidate(name: str, spec: PlanesSpec, planes: int, nic_ports: int) -> Candidate:
    sizes = spec.sizes()
    ratio = sizes.down / sizes.up if sizes.up else 1.0
    spines = f", {planes * sizes.spines_per_pod} spines" if sizes.up else ""
    switches = sizes.leaves + planes * sizes.spines_per_pod
    return Candidate(
        name=f"{name}-{spec.switch.model}" + (f"-{ratio:.3g}to1" if ratio > 1 else ""),
        family=spec.family,
        arrangement=f"{planes} planes, {sizes.leaves} leaves of {sizes.down} down and {sizes.up} up{spines}",
        spec=spec,
        switches={spec.switch.model: switches},
        switch_ports=switches * spec.switch.ports,
        nic_links=nic_ports * spec.gpus,
        switch_links=sizes.leaves * sizes.up,
        oversubscription=max(1.0, ratio),
        gpus_per_switch=min(sizes.down, spec.gpus),
        kind=name,
    )


def hpn(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield HPN's two planes at each oversubscription."""
    reason = ""
    for ratio in ground.ratios():
        spec = _hpn_spec(ground, ratio)
        if isinstance(spec, str):
            reason = reason or spec
            continue
        sizes = spec.sizes()
        per_down = spec.nic_gbps / 2
        built = sizes.down * per_down / (sizes.up * spec.uplink_gbps) if sizes.up else 1.0
        aggs = 2 * sizes.spines_per_pod
        yield Candidate(
            name=f"hpn-{spec.switch.model}" + (f"-{built:.3g}to1" if built > 1 else ""),
            family="hpn",
            arrangement=f"2 planes, {sizes.leaves} racks' switches of {sizes.down} down and {sizes.up} up, {aggs} aggregation",
            spec=spec,
            switches={spec.switch.model: sizes.leaves + aggs},
            switch_ports=(sizes.leaves + aggs) * spec.switch.ports,
            nic_links=2 * spec.gpus,
            switch_links=sizes.leaves * sizes.up,
            oversubscription=max(1.0, built),
            gpus_per_switch=min(sizes.down, spec.gpus // spec.gpus_per_server),
        )
    if reason:
        radix = ground.ports(2)
        most = radix * radix // 4

        def fits(other: Ground) -> bool:
            return isinstance(_hpn_spec(other, ground.site.demand.max_oversubscription), HpnSpec)

        binding: Binding = "reach" if radix > 1 else "ports"
        nearest = nearest_demands(ground, fits, [most])
        yield Unbuildable("hpn", "HPN, 2 planes", ground.switch.model, binding, f"2 planes: {reason}", nearest)


def _hpn_spec(ground: Ground, ratio: float) -> HpnSpec | str:
    """Return HPN of fewest switches, then cables, at an oversubscription; or why there is none with the most down ports."""
    radix = ground.ports(2)
    uplink_gbps = min(ground.nic_gbps, ground.switch.port_gbps)
    most = int(radix * ratio / (1 + ratio))
    reason, best = f"two NIC ports of {ground.nic_gbps / 2:g}G on ports of {ground.switch.port_gbps:g}G", None
    fewest = (0, 0)
    for down in range(most, max(0, most - HPN_STEPS), -1):
        up = max(1, math.ceil(down * ground.nic_gbps / 2 / ratio / uplink_gbps - 1e-9))
        spec = ground.attempt(HpnSpec, tor_down_ports=down, tor_uplinks=up, uplink_gbps=uplink_gbps)
        if isinstance(spec, str):
            reason = spec if down == most else reason
            continue
        assert isinstance(spec, HpnSpec)
        sizes = spec.sizes()
        cost = sizes.switches, sizes.trunks
        if best is None or cost < fewest:
            best, fewest = spec, cost
    return reason if best is None else best
