"""Parameters of the packet model's switches and links: when they mark packets, how much they hold, when they fail."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field, model_validator

from zcube.inputs import Declared

#: ``table``: KMIN, KMAX and PMAX by link rate, a vendor's. ``time``: as what stands in the queue takes to leave it, the same on
#: every link, as HPCC's authors set up DCQCN (SIGCOMM 2019, section 5.1: in proportion to the rate).
MarkingLaw = Literal["table", "time"]

#: Packet buffers of switches, all of it, by the chip; megabytes of Juniper's table of common packet buffer memory (QFX5200-32C,
#: 5210, 5220, 5230, 5240; "Understanding CoS Buffer Configuration"), taken as millions.
SWITCH_BUFFERS: Mapping[str, int] = MappingProxyType(
    {f"tomahawk-{number}": megabytes * 1_000_000 for number, megabytes in ((1, 16), (2, 42), (3, 64), (4, 112), (5, 165))}
)
SwitchClass = Literal["tomahawk-1", "tomahawk-2", "tomahawk-3", "tomahawk-4", "tomahawk-5"]


class MarkingThreshold(Declared):
    """When a link of up to a rate marks packets (RED on the egress queue)."""

    up_to_gbps: float = Field(gt=0, description="rate of the fastest link that it holds for")
    kmin_bytes: int = Field(ge=0, le=1 << 40, description="queue from which on packets are marked")
    kmax_bytes: int = Field(gt=0, le=1 << 40, description="queue from which on all are")
    pmax: float = Field(ge=0, le=1, description="part of the packets marked just below `kmax_bytes`")

    @model_validator(mode="after")
    def _ordered(self) -> MarkingThreshold:
        if self.kmax_bytes <= self.kmin_bytes:
            raise ValueError("kmax_bytes above kmin_bytes")
        return self


#: As SimAI.conf of the SimAI simulator has them for Ethernet; KB are 1,000 bytes there too.
MARKING = tuple(
    MarkingThreshold(up_to_gbps=gbps, kmin_bytes=kmin * 1000, kmax_bytes=kmax * 1000, pmax=pmax)
    for gbps, kmin, kmax, pmax in ((25, 100, 400, 0.2), (50, 200, 800, 0.2), (100, 400, 1600, 0.2), (200, 300, 1200, 0.8),
                                   (400, 800, 3200, 0.2))
)  # fmt: skip


class TierBuffer(Declared):
    """The buffer of the switches of a tier."""

    tier: int = Field(ge=1, le=8, description="1: switches with hosts; 2: those next to them, and so on")
    buffer_bytes: int | None = Field(default=None, ge=1 << 16, le=1 << 40, description="of each of them")
    switch_class: SwitchClass | None = Field(default=None, description="or that of a chip")

    @model_validator(mode="after")
    def _one(self) -> TierBuffer:
        if (self.buffer_bytes is None) == (self.switch_class is None):
            raise ValueError("buffer_bytes or switch_class, one of them")
        return self


def buffer_of(given_bytes: int, switch_class: SwitchClass | None) -> int:
    """Return a switch's buffer, bytes: as given, or its chip's."""
    return given_bytes if switch_class is None else SWITCH_BUFFERS[switch_class]


class LinkFailure(Declared):
    """Links that go down for a time."""

    link: str = Field(
        min_length=1, max_length=200, description="ends, `leaf0->spine3`; `*` stands for any text, `spine3->*` for a switch"
    )
    down_s: float = Field(ge=0, le=1e5, description="when they go down")
    up_s: float | None = Field(default=None, ge=0, le=1e5, description="None: never")

    @model_validator(mode="after")
    def _ordered(self) -> LinkFailure:
        if self.up_s is not None and self.up_s <= self.down_s:
            raise ValueError("up_s above down_s")
        return self
