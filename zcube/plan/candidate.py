"""A fabric that may meet a demand, known by arithmetic before it is built; and one that cannot be built, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from zcube.errors import InputError
from zcube.fabric.spec import FabricSpec, SwitchSpec
from zcube.inputs import validate
from zcube.plan.demand import Site

#: What keeps a fabric from being built: too few switch ports for its links, for the switches it has to reach, too few planes or
#: NIC ports, or a size that the family does not have.
Binding = Literal["ports", "reach", "planes", "size"]


@dataclass(frozen=True)
class Candidate:
    """A fabric that may meet a demand.

    Attributes
    ----------
    name : str
        How results name it.
    family : str
        Generator that gave it.
    arrangement : str
        What it is, in words.
    spec : FabricSpec
        What a topology file of it declares.
    switches : mapping of int
        Switches by model, by closed form.
    switch_ports : int
        Native ports of all of them.
    nic_links, switch_links : int
        Cables between NICs and switches, and between switches.
    oversubscription : float
        Capacity down over capacity up of a switch with GPUs, as built; 1 where there is nothing above.
    gpus_per_switch : int
        Most NIC ports on one switch: what one failure touches.
    kind : str
        What it is compared within before it is built: ``roft-2-tier``, ``planes-4-ports-4``; default: the family.
    traffic : str
        Tells candidates apart that the counts do not: the wiring of rails, say.
    """

    name: str
    family: str
    arrangement: str
    spec: FabricSpec
    switches: Mapping[str, int]
    switch_ports: int
    nic_links: int
    switch_links: int
    oversubscription: float
    gpus_per_switch: int
    kind: str = ""
    traffic: str = ""

    @property
    def switch_count(self) -> int:
        """Switches of all models."""
        return sum(self.switches.values())

    def document(self) -> dict[str, Any]:
        """Return what is known by arithmetic, JSON-ready."""
        return {
            "family": self.family,
            "arrangement": self.arrangement,
            "switch_models": dict(self.switches),
            "switches": self.switch_count,
            "switch_ports": self.switch_ports,
            "nic_links": self.nic_links,
            "switch_links": self.switch_links,
            "oversubscription": self.oversubscription,
        }


@dataclass(frozen=True)
class Unbuildable:
    """A fabric that cannot be built for a demand.

    Attributes
    ----------
    family, arrangement, switch : str
        What was tried, of which switch.
    binding : str
        A :data:`Binding`.
    arithmetic : str
        What would be needed, and what there is.
    nearest : tuple of mapping
        Changes of the demand, each of which alone makes it possible: ``{"gpus": 8192}``, ``{"switch": "102.4T"}``.
    """

    family: str
    arrangement: str
    switch: str
    binding: Binding
    arithmetic: str
    nearest: tuple[Mapping[str, Any], ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """Return it, JSON-ready."""
        return {
            "family": self.family,
            "arrangement": self.arrangement,
            "switch": self.switch,
            "binding": self.binding,
            "arithmetic": self.arithmetic,
            "nearest_demands": [dict(change) for change in self.nearest],
        }


@dataclass(frozen=True)
class Ground:
    """What a generator builds on: a demand and one of its switches.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    switch : SwitchSpec
        The switch.
    gpus : int
        GPUs; the demand's, or other numbers where the nearest demand is looked for.
    """

    site: Site
    switch: SwitchSpec
    gpus: int

    @property
    def gpus_per_server(self) -> int:
        """GPUs of a server."""
        return self.site.demand.gpus_per_server

    @property
    def nic_gbps(self) -> float:
        """Line rate of a GPU, Gb/s."""
        return self.site.nic_gbps

    def ports(self, nic_ports: int = 1) -> int:
        """Return the switch's ports at the rate of a NIC port, where a GPU has so many."""
        return self.switch.switch_model().split_ports(self.nic_gbps / nic_ports)

    def ratios(self, between: Sequence[float] = ()) -> list[float]:
        """Return the oversubscriptions that are tried: none, the demand's own, and those named that lie between."""
        most = self.site.demand.max_oversubscription
        return sorted({1.0, most, *(ratio for ratio in between if ratio < most)})

    def keys(self) -> dict[str, Any]:
        """Return the keys that topology files of all families share."""
        return {
            "gpus": self.gpus,
            "gpus_per_server": self.gpus_per_server,
            "nic_gbps": self.nic_gbps,
            "switch": self.switch.model_dump(exclude_defaults=True),
        }

    def attempt(self, family: type[FabricSpec], **keys: Any) -> FabricSpec | str:
        """Return the spec of a fabric, or why there is none, in words."""
        try:
            return validate(family, {"family": family.family_name(), **self.keys(), **keys}, "")
        except InputError as error:
            return "; ".join(fault.expected for fault in error.faults)
