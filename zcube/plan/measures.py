"""What a fabric costs and does: bill, power, cables, paths, shares of line rate, loss after a failure, availability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.errors import InputError
from zcube.fabric.failures import with_failures
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.modules import GRADES
from zcube.fabric.optics import Optics, optics_of
from zcube.fabric.ports import check_port_budget, native_ports_used
from zcube.network.adversary.funnels import funnel_load, several_to_one
from zcube.network.adversary.patterns import PATTERNS, segment_gpus
from zcube.network.adversary.shares import mean_share
from zcube.network.degradation import degradation
from zcube.network.link_set import LinkSet
from zcube.plan.availability import availability
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.failure_rates import HOURS_A_YEAR
from zcube.pricing.bill import NO_POWER, bill_of_materials, box_line, module_line
from zcube.routing.bisection import halving_bisection
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import path_lengths
from zcube.routing.relay import FallBack
from zcube.routing.routes import Routing

#: NIC ports up to which traffic is routed and paths are searched; fabrics of more are priced only.
MOST_ROUTED_PORTS = 65_536
#: Flows over which the share of random permutations is a mean, at least; so many permutations are drawn.
PERMUTED_FLOWS = 4096
#: Permutations of which the worst is taken, beside the random ones: those that an engine may come to send.
STRUCTURED = ("segment-shift", "transpose")
#: Families whose graph does not depend on how many ports a switch has beyond those that it needs.
GRAPH_BY_KEYS = {"dragonfly", "slim-fly", "bcube", "zcube", "zcube-pods"}
#: Queue pairs a transfer, where paths are hashed; how lost paths are made up for.
QUEUE_PAIRS = 2
FALL_BACK: FallBack = "nvlink-relay"
#: Whence the power of a device is.
POWER_RULE = "of a model as the catalogue has it, else by its rate as the power book has it, else not known"
#: What is measured of a graph, whatever its switches.
BEHAVIOUR = ("paths", "traffic", "failure", "availability")


@dataclass(frozen=True)
class Measured:
    """A candidate that was built.

    Attributes
    ----------
    candidate : Candidate
        What was built.
    figures : dict
        What was measured, JSON-ready, units in the keys; a figure that is not known is None, and ``missing`` says why.
    """

    candidate: Candidate
    figures: dict[str, Any]

    def value(self, objective: str) -> float | None:
        """Return what an objective compares, None where it is not known."""
        value = value_at(self.figures, VALUES[objective])
        return None if value is None else float(value)


def value_at(figures: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return what stands among a fabric's figures under some keys, None where it is not known."""
    value: Any = figures
    for key in path:
        value = None if value is None else value.get(key)
    return value


#: Where the value of each objective stands among the figures.
VALUES: dict[str, tuple[str, ...]] = {
    "capital_usd": ("cost", "capital_usd"),
    "power_w": ("power", "power_w_most"),
    "switches": ("counts", "switches"),
    "switch_ports": ("counts", "switch_ports"),
    "cables": ("counts", "cable_assemblies"),
    "mean_path_switches": ("paths", "mean_path_switches"),
    "bisection": ("paths", "bisection_of_nic_rate"),
    "random_share": ("traffic", "random_permutation_mean"),
    "worst_share": ("traffic", "worst_permutation_mean"),
    "kv_funnel": ("traffic", "kv_funnel_over_nic"),
    "share_after_failure": ("failure", "share_after_mean"),
    "loss_after_failure": ("failure", "rate_lost_mean"),
    "no_switch_down": ("availability", "no_switch_down"),
}


@dataclass(frozen=True)
class Measuring:
    """Measures fabrics for a demand.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    """

    site: Site

    def bill(self, candidate: Candidate) -> dict[str, Any]:
        """Return counts, cost, power and cables of a candidate.

        Raises
        ------
        InputError
            If its switches run out of ports, or its cables cannot be had.
        """
        fabric = candidate.spec.build(candidate.name)
        check_port_budget(fabric, candidate.name)
        return self._counts_and_cost(fabric)

    def behaviour(self, candidate: Candidate, parts: Collection[str] = BEHAVIOUR) -> dict[str, Any]:
        """Return what a candidate's graph does: paths, traffic, a failure, availability; it is the same on any switch.

        ``parts`` names those of them that are wanted.
        """
        fabric = candidate.spec.build(candidate.name)
        routed = fabric.nic_cable.size <= MOST_ROUTED_PORTS
        ways: dict[str, Callable[[Fabric], dict[str, Any] | None]] = {
            "paths": lambda built: self._paths(built) if routed else None,
            "traffic": lambda built: self._traffic(built) if routed else None,
            "failure": lambda built: self._failure(built) if routed else None,
            "availability": self._availability,
        }
        return {part: ways[part](fabric) for part in BEHAVIOUR if part in parts}

    def _counts_and_cost(self, fabric: Fabric) -> dict[str, Any]:
        site, missing = self.site, []
        optics = optics_of(fabric, site.demand.optics, site.layout if site.demand.optics == "by-length" else None)
        bill = bill_of_materials(fabric, site.book, optics)
        document = bill.document()
        capital = bill.capital_usd(site.covers)
        unpriced = [line["item"] for line in document["lines"] if line["usd"] is None and not _is_cable(line["item"])]
        if capital is None:
            missing.append(f"capital: {site.book.name} has no price of {', '.join(unpriced[:3])}")
        power = self._power(fabric, optics, missing)
        if fabric.nic_cable.size > MOST_ROUTED_PORTS:
            missing.append(
                f"paths and traffic: of fabrics with more than {MOST_ROUTED_PORTS} NIC ports only the bill is worked out"
            )
        return {
            "counts": {
                "switches": fabric.switches,
                "switch_models": _by_model(fabric),
                "switch_ports": sum(group.count * group.model.ports for group in fabric.groups),
                "switch_ports_used": int(native_ports_used(fabric).sum()),
                "switch_capacity_gbps": sum(g.count * g.model.ports * g.model.port_gbps for g in fabric.groups),
                "nic_ports_per_gpu": fabric.nic_ports,
                "nic_links": fabric.nic_cable.size,
                "switch_links": len(fabric.cables) - fabric.gpus - fabric.nic_cable.size,
                "switch_modules": int((optics.module & ~optics.at_nic).sum()),
                "nic_modules": int((optics.module & optics.at_nic).sum()),
                "cable_assemblies": len(distinct(optics.assembly)),
                **self._cable_km(fabric, missing),
            },
            "cost": {
                "capital_usd": capital,
                "capital_usd_per_gpu": None if capital is None else capital / fabric.gpus,
                "covers": site.covers,
                "switch_usd": document["switch_usd"],
                "optics_usd": document["optics_usd"]
                if site.covers == "switch-side"
                else document["with_nic_side"]["optics_usd"],
                "bill": document,
            },
            "power": power,
            "missing": missing,
        }

    def _power(self, fabric: Fabric, optics: Optics, missing: list[str]) -> dict[str, Any]:
        """Return power and energy, and whence that of each device is: as :data:`POWER_RULE` says."""
        catalogue, book, known = self.site.catalogue, self.site.power, True
        least = most = 0.0
        parts: list[tuple[int, tuple[float, float] | None, float | None, str]] = []
        sources: dict[str, str | None] = {}
        for name, count in _by_model(fabric).items():
            entry = catalogue.switch[name]
            by_port = box_line(name, entry.ports, entry.port_gbps, 1, self.site.book, book).unit_watts
            parts.append((count, entry.power_w, by_port, f"switch {name}"))
        kinds = Counter((kind.gbps, kind.name) for kind, held in zip(optics.kinds(), optics.module.tolist()) if held)
        for (gbps, kind), count in sorted(kinds.items()):
            by_rate = module_line(kind, "", gbps, 1, self.site.book, book).unit_watts
            parts.append((count, catalogue.module_power_w(gbps, kind), by_rate, f"module {gbps}G {kind}"))
        for count, of_model, by_rate, what in parts:
            power_w = of_model or _alike(by_rate)
            sources[what] = "catalogue" if of_model else None if power_w is None else f"by rate, {book.name}"
            if power_w is None:
                known = False
                missing.append(f"power: the catalogue has none of {what}{_nor(self.site)}")
            else:
                least, most = least + count * power_w[0], most + count * power_w[1]
        year, price = HOURS_A_YEAR / 1000, self.site.demand.usd_per_kwh
        return {
            "power_w_least": least if known else None,
            "power_w_most": most if known else None,
            "energy_kwh_per_year_least": least * year if known else None,
            "energy_kwh_per_year_most": most * year if known else None,
            "energy_usd_per_year_most": most * year * price if known and price is not None else None,
            "sources": sources,
        }

    def _cable_km(self, fabric: Fabric, missing: list[str]) -> dict[str, float | None]:
        """Return kilometres of cable in the machine room by medium, the least grade that reaches."""
        try:
            optics = optics_of(fabric, "by-length", self.site.layout)
        except InputError as error:
            missing.append(f"cable lengths: {error.faults[0].found}, expected {error.faults[0].expected}")
            return {"copper_km": None, "fibre_km": None}
        grade = optics.grade[optics.cages.of_end[:, 0]]
        copper = np.array([one.medium == CableMedium.COPPER for one in GRADES])[grade]
        return {
            "copper_km": float(optics.length_m[copper].sum() / 1000),
            "fibre_km": float(optics.length_m[~copper].sum() / 1000),
        }

    def _paths(self, fabric: Fabric) -> dict[str, float | None]:
        lengths = path_lengths(fabric)
        mean = None if np.isnan(lengths.mean_links) else lengths.mean_links - 1
        return {
            "mean_path_switches": mean,
            "diameter_switches": lengths.diameter_switches,
            # Rails that only NVLink joins have no path of their own; see the routing.
            "pairs_without_path": lengths.unreachable_pairs,
            "bisection_of_nic_rate": halving_bisection(fabric),
        }

    def _route(self, fabric: Fabric) -> Routing:
        """Return a fabric's routing as its family is operated, relays over NVLink after failures."""
        return routing_for(fabric, queue_pairs=QUEUE_PAIRS, seed=self.site.demand.seed, fall_back=FALL_BACK)

    def _traffic(self, fabric: Fabric) -> dict[str, Any]:
        seed = self.site.demand.seed
        routing = self._route(fabric)
        links, segment = LinkSet.of_fabric(fabric), segment_gpus(fabric)

        def share(name: str, its_seed: int) -> float:
            return mean_share(fabric, routing, links, *PATTERNS[name](fabric.gpus, segment, its_seed))

        random = [share("random", seed + number) for number in range(-(-PERMUTED_FLOWS // fabric.gpus))]
        structured = {name: share(name, seed) for name in STRUCTURED}
        if fabric.nic_ports > 1:
            structured["transpose of NIC switches"] = mean_share(fabric, routing, links, *_wired_transpose(fabric))
        known = {name: value for name, value in structured.items() if not np.isnan(value)}
        worst = min(known, key=known.__getitem__) if known else None
        funnel = funnel_load(fabric, routing, *several_to_one(fabric.servers, fabric.gpus_per_server, 0, seed))
        return {
            "routing": routing.name,
            "random_permutation_mean": float(np.mean(random)),
            "random_permutations": len(random),
            "worst_permutation_mean": min([*known.values(), *random]),
            "worst_permutation": worst if worst and known[worst] < min(random) else "random",
            "kv_funnel_over_nic": funnel.over_nic,
        }

    def _availability(self, fabric: Fabric) -> dict[str, Any]:
        rates = self.site.failure_rates
        switch_down = rates["switch"].down
        assert switch_down is not None  # the demand's default
        links = {f"{part}_down": rates[part].down for part in ("nic_link", "switch_link", "nic")}
        return availability(fabric, switch_down, self.site.demand.seed, **links).document(rates)

    def _failure(self, fabric: Fabric) -> dict[str, Any]:
        """Return the loss after the first switch with GPUs has failed."""
        switch = fabric.node_name(int(fabric.cables.b[fabric.nic_cable].min()))
        broken = with_failures(fabric, [f"switch:{switch}"], fabric.name)
        lost = degradation(broken, self._route, self.site.demand.failure_partners, self.site.demand.seed)
        document = lost.document()
        keys = ("slower_mean", "slower_worst", "rate_lost_mean", "share_after_mean", "transfers", "transfers_without_path")
        return {"switch": switch, "partners": self.site.demand.failure_partners, **{key: document[key] for key in keys}}


def graph_key(candidate: Candidate) -> str:
    """Return what is equal for candidates of one graph and routing.

    Families whose graph follows from their own keys are alike on any switch that has the ports; of the others, whose tiers
    follow from the ports, every candidate is its own.
    """
    if candidate.family not in GRAPH_BY_KEYS:
        return candidate.name
    return candidate.spec.model_dump_json(exclude={"switch", "description"})


def _wired_transpose(fabric: Fabric) -> tuple[IntArray, IntArray]:
    """Return the transpose of the grid of first and last NIC switches: those of one first switch send to one last switch.

    However GPUs are named, so that wirings that differ by names alone are met alike.
    """
    switch = fabric.cables.b[fabric.nic_cable].astype(np.int64)
    first, last = switch[:, 0], switch[:, -1]
    target = np.empty(fabric.gpus, dtype=np.int64)
    target[np.lexsort((first, last))] = np.lexsort((last, first))
    return np.arange(fabric.gpus), target


def _by_model(fabric: Fabric) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for group in fabric.groups:
        counts[group.model.name] += group.count
    return dict(counts)


def _alike(watts: float | None) -> tuple[float, float] | None:
    """Return a single figure as least and most."""
    return None if watts is None else (watts, watts)


def _nor(site: Site) -> str:
    return "" if site.power == NO_POWER else f", nor has power book {site.power.name}"


def _is_cable(item: str) -> bool:
    return item.startswith(("cable", "splitter"))
