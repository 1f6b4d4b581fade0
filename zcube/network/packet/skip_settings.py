"""Parameters of what the packet model advances by rate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zcube.inputs import Declared

#: ``off``: all packet by packet. ``steady``: parts in which nothing is paused go by rate once they have been as they are for a
#: while, by whole periods or by the law of their congestion control. ``reuse``: parts that start as others have started are
#: moreover settled once, :mod:`zcube.network.packet.reuse`.
SkipMode = Literal["off", "steady", "reuse"]


class Skip(Declared):
    """What is advanced by rate and not packet by packet, :mod:`zcube.network.packet.steady`."""

    mode: SkipMode = Field(default="off", description="`off`, `steady` or `reuse`; the latter not without PFC")
    window_packets: int = Field(default=16, ge=4, le=1 << 20, description="looks lie so many packets of a NIC port apart")
    steps: int = Field(default=2, ge=1, le=1024, description="in which a window is advanced by rates and levels of queues")
    calm_windows: int = Field(
        default=1, ge=1, le=1 << 20, description="a part is advanced by rate that has been as it is for so many windows"
    )
    kept_windows: int = Field(
        default=2,
        ge=2,
        le=1 << 20,
        description="of a transfer that ends, what it sends in so many windows goes packet by packet",
    )
    near: float = Field(
        default=0.9, gt=0, le=1, description="part of a pause's threshold from which on a buffer counts as near it"
    )
    joins: bool = Field(
        default=True,
        description="a transfer that starts in parts advanced by the law of their rates is advanced so from its first byte; "
        "false: these parts go packet by packet for a while",
    )
    jitter_packets: float = Field(
        default=1.0,
        ge=0,
        le=64,
        description="by up to so many packets a queue pair finds queues deeper or shallower than their levels [infer], as its "
        "packets come before or behind those of others",
    )
    rates_apart: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="queue pairs of a NIC port whose rates differ by this part of the larger wait for each other as if they "
        "sent at random [infer]; those with equal rates fall into step and do not wait",
    )
    reuse_quantum: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="`reuse`: part of a buffer within which what others hold of it counts as equal, as do marks drawn at "
        "random; 0: only what is equal to the bit and drew nothing is reused",
    )
    reuse_bytes: int = Field(
        default=64 << 20,
        ge=0,
        le=1 << 40,
        description="`reuse`: memory for what is known of parts; what was not met for longest is forgotten",
    )
