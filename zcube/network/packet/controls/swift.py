"""Swift's parameters."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from zcube.network.packet.controls.declared import ControlSettings, Handlers


class Swift(ControlSettings):
    """Swift: a window that keeps round trips near a target delay; Kumar et al., SIGCOMM 2020, algorithm 1 and section 3.5.

    The window for the fabric alone: hosts that are slow themselves are not modelled, nor their window. Values marked as assumed
    are not in the paper.
    """

    acknowledged: ClassVar[bool] = True

    base_target_s: float = Field(
        default=25e-6,
        gt=0,
        le=1,
        description="round trip aimed at; section 5.1: throughput is full from it on",
    )
    hop_target_s: float = Field(default=1e-6, ge=0, le=1, description="and per switch on the way; assumed")
    scaling_range_s: float = Field(
        default=60e-6,
        ge=0,
        le=1,
        description="and for small windows; assumed: 110 us of table 3 less 50 us of section 5.4",
    )
    scaling_least_window: float = Field(default=0.01, gt=0, le=1e6, description="packets, for the whole range; assumed")
    scaling_most_window: float = Field(default=100.0, gt=0, le=1e6, description="packets, from which on none of it; assumed")
    additive_increase: float = Field(
        default=0.3,
        gt=0,
        le=1e6,
        description="ai, packets per round trip; assumed: so that the round trips of figure 17 stay within 10 % of the target",
    )
    decrease: float = Field(default=0.8, gt=0, le=1, description="beta; assumed, as in TIMELY")
    most_decrease: float = Field(default=0.5, gt=0, lt=1, description="max_mdf, at most once a round trip; assumed")
    least_window: float = Field(default=0.001, gt=0, le=1, description="packets; section 3.4")
    most_window: float = Field(default=1000.0, ge=1, le=1e6, description="packets; assumed")
    first_window: float = Field(
        default=0.0, ge=0, le=1e6, description="packets; 0: what the line carries in the target of a large window; assumed"
    )
    reset_timeouts: int = Field(default=5, ge=1, le=1000, description="in a row after which the window is the least; assumed")

    @model_validator(mode="after")
    def _ordered(self) -> Swift:
        if self.scaling_most_window <= self.scaling_least_window:
            raise ValueError("scaling_most_window above scaling_least_window")
        return self

    @property
    def every_packet(self) -> bool:
        """Whether receivers acknowledge every packet: they do."""
        return True

    def handlers(self) -> Handlers:
        """Return the sender's kernels."""
        from zcube.network.packet.controls import swift_kernels

        return swift_kernels.HANDLERS
