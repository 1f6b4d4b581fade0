"""HPCC's parameters."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zcube.network.packet.controls.declared import ControlSettings, Handlers


class Hpcc(ControlSettings):
    """HPCC: a window from what switches write into packets; Li et al., SIGCOMM 2019, algorithm 1, values of section 5.1.

    The bytes that readings take in packets are not added: give them with `header_bytes` (42 for five hops in the paper).
    """

    acknowledged: ClassVar[bool] = True

    base_rtt_s: float = Field(
        default=13e-6, gt=0, le=1, description="T, above all round trips without queues; in the simulations of the paper"
    )
    target_utilisation: float = Field(default=0.95, gt=0, le=1, description="eta")
    increase_stages: int = Field(default=5, ge=0, le=1000, description="maxStage, round trips of additive increase in a row")
    additive_increase_bytes: float = Field(default=80.0, ge=0, le=1e9, description="W_AI, per round trip")
    least_rate: float = Field(default=0.001, gt=0, le=1, description="of the line; 100 Mb/s of 100 Gb/s in the paper's program")

    @property
    def every_packet(self) -> bool:
        """Whether receivers acknowledge every packet: they do."""
        return True

    @property
    def telemetry_s(self) -> float:
        """T."""
        return self.base_rtt_s

    def handlers(self) -> Handlers:
        """Return the sender's kernels."""
        from zcube.network.packet.controls import hpcc_kernels

        return hpcc_kernels.HANDLERS
