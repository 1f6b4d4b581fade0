"""What every topology file declares, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableKind, CableMedium, Cables, Fabric, NicModel, SwitchGroup, SwitchModel
from zcube.fabric.port_numbers import numbered_ports
from zcube.fabric.recabling import recabled
from zcube.fabric.structure import NO_STRUCTURE, Structure
from zcube.inputs import Declared
from zcube.node import GPUS_PER_NODE

#: Cables beyond which a fabric is refused before memory and time are taken (about 0.3 GB of arrays, 15 s).
MAX_CABLES = 4_000_000
MAX_GPUS = 1 << 20
#: Slowest port, Gb/s; so many times slower than the fastest that parts of a port stay countable.
LEAST_GBPS = 1e-3


class SwitchSpec(Declared):
    """The switch bought for a fabric, as ports at their native rate."""

    model: str = Field(min_length=1, max_length=60, description="name on the bill, e.g. 25.6T")
    ports: int = Field(ge=2, le=4096, description="front-panel ports")
    port_gbps: float = Field(ge=LEAST_GBPS, le=1e6, description="native rate of a port, Gb/s")
    lane_gbps: Literal[10, 25, 50, 100, 200] | None = Field(
        default=None, description="rate of a lane of its modules, Gb/s; default: whatever the far end has"
    )

    def switch_model(self) -> SwitchModel:
        """Return the frozen value used by the fabric."""
        return SwitchModel(self.model, self.ports, self.port_gbps, self.lane_gbps)


class NicSpec(Declared):
    """The NIC of every GPU."""

    cages: Literal["shared", "per-port"] = Field(
        default="shared", description="all NIC ports of a GPU in one cage (2x200G of a 400G NIC, one twin module), or one each"
    )
    lane_gbps: Literal[10, 25, 50, 100, 200] | None = Field(
        default=None, description="rate of a lane of its modules, Gb/s; default: whatever the far end has"
    )

    def nic_model(self) -> NicModel:
        """Return the frozen value used by the fabric."""
        return NicModel(self.cages, self.lane_gbps)


class FabricSpec(Declared):
    """Keys shared by every family.

    A family derives from this class, gives its name as the default of ``family``, adds its keys and ``build(name) -> Fabric``,
    and names under ``routings`` the policies that fit it, the one it is operated with first.

    Delays default to what public fabric studies exchange in SimAI topology files: 0.5 us for a link with the device it
    leads into, 25 ns for NVLink; NVLink defaults to 450 GB/s a direction (H100, H200).
    """

    routings: ClassVar[tuple[str, ...]] = ("ecmp", "shortest-path", "hash")
    #: Whether GPUs may take each other's cables: not where the family's routing goes by the numbers of GPUs.
    recables: ClassVar[bool] = True

    family: str = Field(default="", description="which family of fabrics the file declares")
    description: str = Field(default="", max_length=400, description="one line, shown with results")
    gpus: int = Field(ge=1, le=MAX_GPUS, description="GPUs in the cluster")
    gpus_per_server: int = Field(default=GPUS_PER_NODE, ge=1, le=1024, description="GPUs that the scale-up link joins")
    nic_gbps: float = Field(
        default=400.0, ge=LEAST_GBPS, le=1e6, description="line rate of one GPU, all NIC ports together, Gb/s"
    )
    nvlink_gbps: float = Field(
        default=3600.0, ge=LEAST_GBPS, le=1e6, description="NVLink rate of one GPU, each direction, Gb/s"
    )
    link_latency_s: float = Field(default=5e-7, ge=0, le=1.0, description="delay of a link and of the device it leads into")
    nvlink_latency_s: float = Field(default=2.5e-8, ge=0, le=1.0, description="delay of NVLink")
    switch: SwitchSpec
    nic: NicSpec = NicSpec()
    cabled_as: tuple[int, ...] | None = Field(
        default=None, description="for every GPU the one whose NIC cables it has instead of its own; each once"
    )

    @classmethod
    def family_name(cls) -> str:
        """Return the name under which topology files, entry points and results know the family."""
        return str(cls.model_fields["family"].default)

    @field_validator("family")
    @classmethod
    def _own_name(cls, family: str) -> str:
        if family != cls.family_name():
            raise ValueError(f"'{cls.family_name()}'")
        return family

    @model_validator(mode="after")
    def _whole_servers(self) -> FabricSpec:
        if self.gpus % self.gpus_per_server:
            raise ValueError(f"gpus = {self.gpus} to be whole servers of {self.gpus_per_server} GPUs")
        return self

    @model_validator(mode="after")
    def _each_cabled_once(self) -> FabricSpec:
        if self.cabled_as is None:
            return self
        if not self.recables:
            raise ValueError(f"no cabled_as with family {self.family}, whose routing goes by the numbers of GPUs")
        if self.gpus and sorted(self.cabled_as) != list(range(self.gpus)):
            raise ValueError(f"cabled_as of all {self.gpus} GPUs from 0 on, each once")
        return self

    def cable_estimate(self) -> int:
        """Return about how many cables the fabric has, to refuse one that would not fit in memory before it is built."""
        return 5 * self.gpus

    def located(self, folder: Path) -> FabricSpec:
        """Return the spec with files it names found beside its topology file, which lies in ``folder``."""
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric; every family has its own."""
        raise TypeError(f"{type(self).__name__} declares no fabric")

    def groups_of(self, counts: Mapping[str, int]) -> tuple[SwitchGroup, ...]:
        """Return switch groups in node order, of one model, empty ones left out."""
        model, first, groups = self.switch.switch_model(), self.gpus, []
        for name, count in counts.items():
            groups.append(SwitchGroup(name, first, count, model))
            first += count
        return tuple(group for group in groups if group.count)

    def nic_cables(
        self, port: int, switch: IntArray, *, ports: int = 1, first_port: int = 0, medium: CableMedium = CableMedium.FIBRE
    ) -> Cables:
        """Return the cables of one NIC port of every GPU; each switch takes its GPUs in order.

        Parameters
        ----------
        port : int
            The NIC port.
        switch : int array [gpus]
            Node at the other end.
        ports : int
            NIC ports per GPU, over which ``nic_gbps`` is split evenly.
        first_port : int
            First port of the block that these cables fill on every switch.
        medium : CableMedium
            Copper or fibre.
        """
        gpu = np.arange(self.gpus)
        rate, delay = self.nic_gbps / ports, self.link_latency_s
        nic_port, switch_port = np.full(self.gpus, port), first_port + numbered_ports(switch)
        return Cables.of(gpu, switch, nic_port, switch_port, gbps=rate, latency_s=delay, kind=CableKind.NIC, medium=medium)

    def switch_cables(
        self,
        a: IntArray,
        b: IntArray,
        first_port: tuple[int, int],
        gbps: float,
        *,
        medium: CableMedium = CableMedium.FIBRE,
        order: tuple[IntArray, IntArray] | None = None,
    ) -> Cables:
        """Return inter-switch cables, ports numbered by :func:`~zcube.fabric.port_numbers.numbered_ports`.

        Parameters
        ----------
        a, b : int array [cables]
            Switches at both ends.
        first_port : tuple of int
            First port of the block that these cables fill, at ends a and b.
        gbps : float
            Rate, Gb/s.
        medium : CableMedium
            Copper or fibre.
        order : tuple of int array [cables], optional
            What the cables of a switch are ordered by, at ends a and b; default: as they are listed.
        """
        # Both ends together: a switch may be end a of one cable and end b of another.
        ends = np.stack([a, b], axis=1)
        port = numbered_ports(ends.ravel(), None if order is None else np.stack(order, axis=1).ravel()).reshape(-1, 2)
        a_port, b_port = (port + first_port).T
        return Cables.of(a, b, a_port, b_port, gbps=gbps, latency_s=self.link_latency_s, kind=CableKind.SWITCH, medium=medium)

    def assemble(
        self,
        name: str,
        groups: tuple[SwitchGroup, ...],
        nic: Sequence[Cables],
        trunks: Sequence[Cables],
        structure: Structure = NO_STRUCTURE,
    ) -> Fabric:
        """Put a fabric together: NIC cables port by port, inter-switch cables, NVLink.

        Parameters
        ----------
        name : str
            The fabric's name.
        groups : tuple of SwitchGroup
            Switches in node order.
        nic : sequence of Cables
            One entry per NIC port, each in GPU order.
        trunks : sequence of Cables
            Inter-switch cables.
        structure : Structure
            What the family's own routing needs of it.
        """
        gpu = np.arange(self.gpus)
        server, local = np.divmod(gpu, self.gpus_per_server)
        nvswitch = self.gpus + sum(group.count for group in groups) + server
        nvlink = Cables.of(
            gpu,
            nvswitch,
            np.zeros_like(gpu),
            local,
            gbps=self.nvlink_gbps,
            latency_s=self.nvlink_latency_s,
            kind=CableKind.NVLINK,
            medium=CableMedium.COPPER,
        )
        cables = Cables.join([*nic, *trunks, nvlink])
        fabric = Fabric(
            name=name,
            family=self.family,
            gpus=self.gpus,
            gpus_per_server=self.gpus_per_server,
            groups=groups,
            cables=cables,
            nic_cable=np.stack([port * self.gpus + gpu for port in range(len(nic))], axis=1),
            nvlink_cable=len(cables) - self.gpus + gpu,
            routings=self.routings,
            parameters=MappingProxyType({**self.model_dump(), **asdict(structure)}),
            cable_up=np.ones(len(cables), dtype=bool),
            nic=self.nic.nic_model(),
            structure=structure,
        )
        return fabric if self.cabled_as is None else recabled(fabric, self.cabled_as)
