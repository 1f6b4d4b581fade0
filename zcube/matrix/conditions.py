"""What a matrix's fabrics suffer under every seed: failed links between switches, slow NICs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.routes import Routes
from zcube.seeds import stream


@dataclass(frozen=True, slots=True)
class Conditions:
    """Failures drawn from a seed.

    Attributes
    ----------
    failed_links : int
        Cables between switches that have failed, drawn among those that the transfers would use under the family's own routing,
        then among others; under one seed the same whatever the transport.
    slow_nics : int
        GPUs whose NIC is slow, drawn among those that send or receive; the same on every fabric.
    slow_nic_share : float
        Part of its line rate that a slow NIC has left.
    """

    failed_links: int = 0
    slow_nics: int = 0
    slow_nic_share: float = 0.25

    def faults(self, fabrics: Mapping[str, Fabric]) -> list[Fault]:
        """Return what fabrics cannot suffer."""
        found = []
        for label, fabric in fabrics.items():
            most = {"failed_links": int((fabric.cables.kind == CableKind.SWITCH).sum()), "slow_nics": fabric.gpus}
            for name, count in most.items():
                if getattr(self, name) > count:
                    option = f"--{name.replace('_', '-')}"
                    found.append(Fault(option, str(getattr(self, name)), f"at most the {count} that {label} has"))
        return found

    def of(self, fabric: Fabric, seed: int, gpus: IntArray | None = None, routes: Callable[[], Routes] | None = None) -> Fabric:
        """Return a fabric under these conditions.

        Parameters
        ----------
        fabric : Fabric
            As declared.
        seed : int
            Of what is drawn.
        gpus : int array, optional
            Those that send or receive, among which slow NICs are drawn; default: all.
        routes : callable, optional
            Gives the paths of the transfers on the fabric as declared; links of these fail before others.

        Raises
        ------
        InputError
            If there are fewer such NICs, or links between switches.
        """
        if self.slow_nics:
            among = np.arange(fabric.gpus) if gpus is None else gpus
            fabric = slow_nics(fabric, _drawn(among, self.slow_nics, seed, "slow NICs"), self.slow_nic_share)
        if self.failed_links:
            between = np.flatnonzero(fabric.cables.kind == CableKind.SWITCH)
            used = between if routes is None else np.intersect1d(between, np.asarray(routes().link) // 2)
            others = np.setdiff1d(between, used)
            wanted = min(self.failed_links, len(used))
            failed = _drawn(used, wanted, seed, "failed links of a matrix")
            more = _drawn(others, self.failed_links - wanted, seed, "further failed links of a matrix")
            fabric = _without(fabric, np.concatenate([failed, more]))
        return fabric


def slow_nics(fabric: Fabric, gpus: IntArray, share: float) -> Fabric:
    """Return a fabric in which the NICs of some GPUs have a part of their line rate."""
    gbps = fabric.cables.gbps.copy()
    gbps[fabric.nic_cable[gpus]] *= share
    parameters = MappingProxyType({**fabric.parameters, "slow_nics": tuple(map(int, gpus))})
    return replace(fabric, cables=replace(fabric.cables, gbps=gbps), parameters=parameters)


def _without(fabric: Fabric, cables: IntArray) -> Fabric:
    up = fabric.cable_up.copy()
    up[cables] = False
    names = tuple(
        f"link:{fabric.node_name(int(fabric.cables.a[one]))}-{fabric.node_name(int(fabric.cables.b[one]))}" for one in cables
    )
    parameters = MappingProxyType({**fabric.parameters, "failures": (*fabric.parameters.get("failures", ()), *names)})
    return replace(fabric, cable_up=up, parameters=parameters)


def _drawn(among: IntArray, count: int, seed: int, purpose: str) -> IntArray:
    if count > len(among):
        raise InputError(Fault(purpose, str(count), f"at most the {len(among)} that there are"))
    return np.sort(stream(seed, purpose).choice(among, count, replace=False))
