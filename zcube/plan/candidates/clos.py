"""Spine-leaf in two and three tiers, rail-optimised (ROFT), with one model of switch or with larger spines."""

from __future__ import annotations

from collections.abc import Iterator

from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.plan.candidate import Candidate, Ground, Unbuildable
from zcube.plan.nearest import nearest_demands

#: Tiers by the name of what is tried.
TIERS = {"roft-2-tier": 2, "roft-3-tier": 3}
#: Oversubscriptions tried between none and the demand's own.
RATIOS = (1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0)


def spine_leaf(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield the cheapest arrangement of each number of tiers and oversubscription, and two tiers with other spines."""
    for name, tiers in TIERS.items():
        if tiers == 3 and ground.gpus <= ground.ports():
            continue
        reason = ""
        for ratio in ground.ratios(RATIOS):
            spec = ground.attempt(SpineLeafSpec, tiers=tiers, oversubscription=ratio)
            if isinstance(spec, SpineLeafSpec):
                yield _candidate(name, spec)
            else:
                reason = reason or str(spec)
        if reason:
            yield _unbuildable(ground, name, tiers, reason)
    for other in ground.site.switches.values():
        mixed = ground.site.demand.mixed_switches and other != ground.switch
        if mixed and other.switch_model().split_ports(ground.nic_gbps):
            for ratio in ground.ratios(RATIOS):
                spec = ground.attempt(
                    SpineLeafSpec, oversubscription=ratio, spine_switch=other.model_dump(exclude_defaults=True)
                )
                if isinstance(spec, SpineLeafSpec) and spec.sizes().spines_per_pod:
                    yield _candidate("roft-2-tier", spec)


def _candidate(name: str, spec: SpineLeafSpec) -> Candidate:
    sizes = spec.sizes()
    spine = spec.spine_switch or spec.switch
    above = sizes.switches - sizes.leaves
    switches = {spec.switch.model: sizes.leaves}
    if above:
        switches[spine.model] = switches.get(spine.model, 0) + above
    ratio = sizes.down / sizes.up if sizes.up else 1.0
    models = spec.switch.model if spine == spec.switch else f"{spec.switch.model}+{spine.model}"
    tiers = f"{sizes.leaves} leaves of {sizes.down} down and {sizes.up} up, {sizes.pods * sizes.spines_per_pod} spines"
    return Candidate(
        name=f"{name}-{models}" + (f"-{_short(ratio)}to1" if ratio > 1 else ""),
        family="spine-leaf",
        arrangement=tiers + (f", {sizes.cores} cores" if sizes.cores else ""),
        spec=spec,
        switches=switches,
        switch_ports=sizes.leaves * spec.switch.ports + above * spine.ports,
        nic_links=spec.gpus,
        switch_links=sizes.trunks,
        oversubscription=max(1.0, ratio),
        gpus_per_switch=min(sizes.down, spec.gpus),
        kind=name,
    )


def _short(ratio: float) -> str:
    return f"{ratio:.3g}"


def _unbuildable(ground: Ground, name: str, tiers: int, reason: str) -> Unbuildable:
    radix = ground.ports()
    ratio = ground.site.demand.max_oversubscription

    def fits(other: Ground) -> bool:
        return isinstance(other.attempt(SpineLeafSpec, tiers=tiers, oversubscription=ratio), SpineLeafSpec)

    reach = f"{ground.gpus} GPUs on switches of {radix} x {ground.nic_gbps:g}G: {reason}"
    most = int(radix * radix * ratio / (1 + ratio)) if tiers == 2 else radix**3 // 4
    return Unbuildable(
        "spine-leaf", name, ground.switch.model, "reach" if radix > 1 else "ports", reach, nearest_demands(ground, fits, [most])
    )
