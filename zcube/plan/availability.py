"""How often switches are down, and what that does: by drawing states of all switches, beside the closed form.

Switches fail and are repaired independently; at any moment each is down with one probability. Nothing is known of repair times
in public, so the probability, or a rate of failures with a time of repair, is an input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.model import CableKind, Fabric
from zcube.seeds import stream

#: States drawn; different states with a failed switch whose connection is looked at; coverage of the intervals.
SAMPLES = 20_000
MOST_STATES = 200
COVERAGE = 0.99


@dataclass(frozen=True, slots=True)
class Availability:
    """What is up of a fabric.

    Attributes
    ----------
    switch_down : float
        Probability that a switch is down.
    no_switch_down : float
        That none is, (1 - p)^switches.
    samples, none_down : int
        States drawn, and those of them without a failed switch.
    gpus_joined : float
        Mean part of the GPUs that have a NIC port joined to most of the fabric, over the states drawn; paths over NVLink and
        over other servers' GPUs are left out.
    all_joined : float
        Part of the states in which that is all of them.
    states : int
        States with a failed switch over which the last two were taken; the others drawn are known by them.
    """

    switch_down: float
    no_switch_down: float
    samples: int
    none_down: int
    gpus_joined: float
    all_joined: float
    states: int

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval of the probability that no switch is down, from the states drawn."""
        n, k, tail = self.samples, self.none_down, (1 - COVERAGE) / 2
        low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
        high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
        return low, high

    def document(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        low, high = self.interval
        return {
            "switch_down_probability": self.switch_down,
            "no_switch_down": self.no_switch_down,
            "no_switch_down_drawn": {
                "share": self.none_down / self.samples,
                "interval": [low, high],
                "coverage": COVERAGE,
                "samples": self.samples,
            },
            "gpus_joined_mean": self.gpus_joined,
            "all_gpus_joined": self.all_joined,
            "states_with_a_failure_looked_at": self.states,
        }


def availability(fabric: Fabric, switch_down: float, seed: int) -> Availability:
    """Draw states of a fabric's switches.

    Parameters
    ----------
    fabric : Fabric
        With nothing failed.
    switch_down : float
        Probability that a switch is down.
    seed : int
        Of the draw.
    """
    draw = stream(seed, "switches down")
    switches = fabric.switches
    count = draw.binomial(switches, switch_down, SAMPLES)
    failed = count[count > 0]
    looked = failed[:MOST_STATES]
    joined = np.empty(len(looked))
    graph = _Graph(fabric)
    for place, number in enumerate(looked.tolist()):
        up = np.ones(switches, dtype=bool)
        up[draw.choice(switches, number, replace=False)] = False
        joined[place] = graph.gpus_joined(up)
    part = len(failed) / SAMPLES
    broken = float(joined.mean()) if len(joined) else 1.0
    whole = float((joined == 1.0).mean()) if len(joined) else 1.0
    return Availability(
        switch_down=switch_down,
        no_switch_down=math.exp(switches * math.log1p(-switch_down)),
        samples=SAMPLES,
        none_down=int((count == 0).sum()),
        gpus_joined=1 - part + part * broken,
        all_joined=1 - part + part * whole,
        states=len(looked),
    )


class _Graph:
    """Which switches are joined by cables, and to which each NIC port leads."""

    def __init__(self, fabric: Fabric):
        trunk = fabric.cables.kind == CableKind.SWITCH
        ends = np.stack([fabric.cables.a[trunk], fabric.cables.b[trunk]]) - fabric.gpus
        ends = ends.astype(np.int64)
        self.nic_switch: IntArray = fabric.cables.b[fabric.nic_cable].astype(np.int64) - fabric.gpus
        if fabric.structure.hosts_forward:
            # GPUs pass on: the two switches of each are joined while both are up.
            first = self.nic_switch[:, 0]
            more = [np.stack([first, self.nic_switch[:, port]]) for port in range(1, fabric.nic_ports)]
            ends = np.concatenate([ends, *more], axis=1)
        self.switches = fabric.switches
        pairs = np.unique(ends[0] * self.switches + ends[1])
        self.a, self.b = np.divmod(pairs, self.switches)

    def gpus_joined(self, up: BoolArray) -> float:
        """Return the part of the GPUs with a port on the part of the fabric that holds most of them."""
        kept = up[self.a] & up[self.b]
        shape = (self.switches, self.switches)
        table = coo_array((np.ones(int(kept.sum()), dtype=np.int8), (self.a[kept], self.b[kept])), shape=shape)
        _, part = connected_components(table, directed=False)
        of_port = np.where(up[self.nic_switch], part[self.nic_switch], -1)
        gpus = len(of_port)
        most = 0
        for column in range(of_port.shape[1]):
            live = of_port[of_port[:, column] >= 0, column]
            if len(live):
                largest = int(np.bincount(live).argmax())
                most = max(most, int((of_port == largest).any(axis=1).sum()))
        return most / gpus
