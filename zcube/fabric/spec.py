"""What every topology file declares, whatever its family."""

from __future__ import annotations

from pydantic import Field, model_validator

from zcube.fabric.model import SwitchModel
from zcube.inputs import Declared

#: Cables beyond which a fabric is refused before memory is taken (about 1.5 GB of arrays).
MAX_CABLES = 20_000_000
MAX_GPUS = 1 << 20


class SwitchSpec(Declared):
    """The switch bought for a fabric, as ports at their native rate."""

    model: str = Field(min_length=1, max_length=60, description="name on the bill, e.g. 25.6T")
    ports: int = Field(ge=2, le=4096, description="front-panel ports")
    port_gbps: float = Field(gt=0, le=1e6, description="native rate of a port, Gb/s")

    def switch_model(self) -> SwitchModel:
        """Return the frozen value used by the fabric."""
        return SwitchModel(self.model, self.ports, self.port_gbps)


class FabricSpec(Declared):
    """Keys shared by every family.

    Delays default to what public fabric studies exchange in SimAI topology files: 0.5 us for a link with the device it
    leads into, 25 ns for NVLink; NVLink defaults to 450 GB/s a direction (H100, H200).
    """

    description: str = Field(default="", max_length=400)
    gpus: int = Field(ge=1, le=MAX_GPUS, description="GPUs in the cluster")
    gpus_per_server: int = Field(default=8, ge=1, le=256)
    nic_gbps: float = Field(default=400.0, gt=0, le=1e6, description="line rate of one GPU, all NIC ports together, Gb/s")
    nvlink_gbps: float = Field(default=3600.0, gt=0, le=1e6, description="NVLink rate of one GPU, each direction, Gb/s")
    link_latency_s: float = Field(default=5e-7, ge=0, le=1.0)
    nvlink_latency_s: float = Field(default=2.5e-8, ge=0, le=1.0)
    switch: SwitchSpec

    @model_validator(mode="after")
    def _whole_servers(self) -> FabricSpec:
        if self.gpus % self.gpus_per_server:
            raise ValueError(f"gpus = {self.gpus} to be whole servers of {self.gpus_per_server} GPUs")
        return self
