"""How often parts of a fabric are down, and what that does: by drawing states of all parts, beside the closed forms.

Parts fail and are repaired independently; at any moment each of one kind is down with one probability. Kinds of which no
probability is known never fail here, and are named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import betaincinv

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.model import CableKind, Fabric
from zcube.plan.failure_rates import PARTS, FailureRate, Part
from zcube.routing.routes import row_starts
from zcube.seeds import stream

#: States drawn; different states with a failure whose connection is looked at; coverage of the intervals.
SAMPLES = 20_000
MOST_STATES = 200
COVERAGE = 0.99

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Availability:
    """What is up of a fabric.

    Attributes
    ----------
    parts : mapping of int
        How many there are, by kind.
    down : mapping of float
        Probability that a part is down, by kind; kinds that are not there were left out.
    no_switch_down, nothing_down : float
        That no switch is, and that no part of any kind is: products of (1 - p)^parts.
    samples, none_down, all_up : int
        States drawn, those of them without a failed switch, and those without any failed part.
    gpu_attached : float
        That a GPU's NIC is up and one of its ports leads over a link that is up to a switch that is up, in closed form.
    gpus_joined, gpus_joined_interval : float, tuple of float
        Mean part of the GPUs that have a NIC port joined to most of the fabric, and its interval; paths over NVLink and over
        other servers' GPUs are left out. States without a failure weigh by closed form, the others as drawn.
    all_joined, all_joined_interval : float, tuple of float
        Probability that that is all of them, likewise.
    states : int
        States with a failure that were looked at.
    """

    parts: Mapping[Part, int]
    down: Mapping[Part, float]
    no_switch_down: float
    nothing_down: float
    samples: int
    none_down: int
    all_up: int
    gpu_attached: float
    gpus_joined: float
    gpus_joined_interval: Interval
    all_joined: float
    all_joined_interval: Interval
    states: int

    @property
    def interval(self) -> Interval:
        """Interval of the probability that no switch is down, from the states drawn."""
        return clopper_pearson(self.none_down, self.samples)

    def document(self, rates: Mapping[Part, FailureRate] | None = None) -> dict[str, Any]:
        """Return the figures, JSON-ready; with rates also how many failures of each kind a year brings, and the sources."""
        return {
            "switch_down_probability": self.down["switch"],
            "no_switch_down": self.no_switch_down,
            "no_switch_down_drawn": self._drawn(self.none_down),
            "nothing_down": self.nothing_down,
            "nothing_down_drawn": self._drawn(self.all_up),
            "gpu_attached": self.gpu_attached,
            "gpus_joined_mean": self.gpus_joined,
            "gpus_joined_interval": list(self.gpus_joined_interval),
            "all_gpus_joined": self.all_joined,
            "all_gpus_joined_interval": list(self.all_joined_interval),
            "states_with_a_failure_looked_at": self.states,
            "coverage": COVERAGE,
            "parts": {part: self._part(part, None if rates is None else rates[part]) for part in PARTS},
            "left_out": [part for part in PARTS if part not in self.down],
        }

    def _drawn(self, count: int) -> dict[str, Any]:
        interval = list(clopper_pearson(count, self.samples))
        return {"share": count / self.samples, "interval": interval, "coverage": COVERAGE, "samples": self.samples}

    def _part(self, part: Part, rate: FailureRate | None) -> dict[str, Any]:
        per_year = None if rate is None else rate.per_year
        return {
            "count": self.parts[part],
            "failures_per_year_of_one": per_year,
            "failures_per_year": None if per_year is None else per_year * self.parts[part],
            "down_probability": self.down.get(part),
            "source": None if rate is None else rate.source,
        }


def clopper_pearson(count: int, trials: int) -> Interval:
    """Return the interval of a probability of which so many trials came true."""
    tail = (1 - COVERAGE) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, trials - count + 1, tail))
    high = 1.0 if count == trials else float(betaincinv(count + 1, trials - count, 1 - tail))
    return low, high


def availability(
    fabric: Fabric,
    switch_down: float,
    seed: int,
    *,
    nic_link_down: float | None = None,
    switch_link_down: float | None = None,
    nic_down: float | None = None,
) -> Availability:
    """Draw states of a fabric's parts.

    Parameters
    ----------
    fabric : Fabric
        With nothing failed.
    switch_down : float
        Probability that a switch is down.
    seed : int
        Of the draw.
    nic_link_down, switch_link_down, nic_down : float, optional
        Likewise of links and NICs; a kind of which nothing is known does not fail.
    """
    given = {"switch": switch_down, "nic_link": nic_link_down, "switch_link": switch_link_down, "nic": nic_down}
    down = {part: chance for part in PARTS if (chance := given[part]) is not None}
    graph = _Graph(fabric)
    parts = graph.parts
    draw = {part: stream(seed, f"{_STREAMS[part]} down") for part in down}
    counts = {part: draw[part].binomial(parts[part], down[part], SAMPLES) for part in down}
    failed = np.sum([*counts.values()], axis=0) > 0
    looked = np.flatnonzero(failed)[:MOST_STATES]
    joined = np.empty(len(looked))
    for place, state in enumerate(looked.tolist()):
        up = {part: np.ones(parts[part], dtype=bool) for part in PARTS}
        for part, count in counts.items():
            if count[state]:
                up[part][draw[part].choice(parts[part], int(count[state]), replace=False)] = False
        joined[place] = graph.gpus_joined(up)
    log_up = {part: parts[part] * math.log1p(-down[part]) for part in down}
    nothing_down = math.exp(sum(log_up.values()))
    some = 1.0 - nothing_down
    whole = int((joined == 1.0).sum())
    all_joined = _mixed(some, whole / len(joined) if len(joined) else 1.0)
    low, high = clopper_pearson(whole, len(joined)) if len(joined) else (0.0, 1.0)
    mean, spread = (float(joined.mean()), _half_width(joined)) if len(joined) else (1.0, 0.0)
    return Availability(
        parts=parts,
        down=down,
        no_switch_down=math.exp(log_up["switch"]),
        nothing_down=nothing_down,
        samples=SAMPLES,
        none_down=int((counts["switch"] == 0).sum()),
        all_up=int((~failed).sum()),
        gpu_attached=_attached(fabric, down),
        gpus_joined=_mixed(some, mean),
        gpus_joined_interval=(_mixed(some, max(0.0, mean - spread)), _mixed(some, min(1.0, mean + spread))),
        all_joined=all_joined,
        all_joined_interval=(_mixed(some, low), _mixed(some, high)),
        states=len(looked),
    )


#: How the random stream of each kind is named.
_STREAMS: Mapping[Part, str] = {"switch": "switches", "nic_link": "NIC links", "switch_link": "switch links", "nic": "NICs"}


def _mixed(some: float, broken: float) -> float:
    """Return a mean over all states: 1 without a failure, another value with some."""
    return 1.0 - some * (1.0 - broken)


def _half_width(values: FloatArray) -> float:
    """Return half the width of the interval of a mean of values from 0 to 1, whatever their distribution.

    The empirical Bernstein bound, Maurer and Pontil (COLT 2009), theorem 4, at both sides.
    """
    count = len(values)
    if count < 2:
        return 1.0
    log = math.log(2 / ((1 - COVERAGE) / 2))
    return math.sqrt(2 * float(values.var(ddof=1)) * log / count) + 7 * log / (3 * (count - 1))


def _attached(fabric: Fabric, down: Mapping[Part, float]) -> float:
    port_up = (1 - down["switch"]) * (1 - down.get("nic_link", 0.0))
    return (1 - down.get("nic", 0.0)) * (1 - (1 - port_up) ** fabric.nic_ports)


class _Graph:
    """Which switches are joined by cables, and to which each NIC port leads."""

    def __init__(self, fabric: Fabric):
        trunk = fabric.cables.kind == CableKind.SWITCH
        ends = np.stack([fabric.cables.a[trunk], fabric.cables.b[trunk]]).astype(np.int64) - fabric.gpus
        self.nic_switch: IntArray = fabric.cables.b[fabric.nic_cable].astype(np.int64) - fabric.gpus
        self.hosts_forward = fabric.structure.hosts_forward
        self.switches = fabric.switches
        pairs, self.pair = np.unique(ends[0] * self.switches + ends[1], return_inverse=True)
        self.links = np.bincount(self.pair, minlength=len(pairs))
        self.a, self.b = np.divmod(pairs, self.switches)
        self.parts: dict[Part, int] = {
            "switch": fabric.switches,
            "nic_link": int(self.nic_switch.size),
            "switch_link": int(trunk.sum()),
            "nic": fabric.gpus,
        }

    def gpus_joined(self, up: Mapping[Part, BoolArray]) -> float:
        """Return the part of the GPUs with a port on the part of the fabric that holds most of them."""
        lost = np.bincount(self.pair[~up["switch_link"]], minlength=len(self.links))
        kept = up["switch"][self.a] & up["switch"][self.b] & (lost < self.links)
        port_up = up["switch"][self.nic_switch] & up["nic"][:, None] & up["nic_link"].reshape(self.nic_switch.shape)
        a, b = self.a[kept], self.b[kept]
        if self.hosts_forward:
            # GPUs pass on: the switches of each are joined over those of its ports that are up.
            first = self.nic_switch[np.arange(len(port_up)), port_up.argmax(axis=1)]
            gpu, port = np.nonzero(port_up)
            a, b = np.concatenate([a, first[gpu]]), np.concatenate([b, self.nic_switch[gpu, port]])
            order = a.argsort(kind="stable")
            a, b = a[order], b[order]
        # By rows, as SciPy would have it: where it puts them in order itself, that takes longer than the search.
        starts = row_starts(np.bincount(a, minlength=self.switches))
        table = csr_array((np.ones(len(a)), b, starts), shape=(self.switches, self.switches))
        _, part = connected_components(table, directed=False)
        of_port = np.where(port_up, part[self.nic_switch], -1)
        gpus = len(of_port)
        most = 0
        for column in range(of_port.shape[1]):
            live = of_port[of_port[:, column] >= 0, column]
            if len(live):
                largest = int(np.bincount(live).argmax())
                most = max(most, int((of_port == largest).any(axis=1).sum()))
        return most / gpus
