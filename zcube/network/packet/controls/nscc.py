"""Parameters of the Ultra Ethernet Consortium's NSCC, and of MRC, which steers paths beside it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zcube.network.packet.controls.declared import ControlSettings, Handlers


class Nscc(ControlSettings):
    """NSCC: a window steered by marks and delay in four cases; Ultra Ethernet Specification 1.0, values of its htsim.

    Meant for sprayed and trimmed packets, without PFC. Names of htsim's variables stand in brackets. Windows count bytes
    on the wire, headers included. Steps scale with what the network holds in a round trip over the 150,000 bytes of 100 Gb/s in
    12 us.
    """

    marks: ClassVar[bool] = True
    acknowledged: ClassVar[bool] = True

    network_rtt_s: float = Field(
        default=0.0, ge=0, le=1, description="longest round trip without queues (network_rtt); 0: each queue pair's own"
    )
    target_delay: float = Field(
        default=0.75, gt=0, le=100, description="queueing aimed at, of network_rtt_s (target_Qdelay); 1 if nothing is trimmed"
    )
    most_window: float = Field(default=1.5, gt=0, le=100, description="of what the line carries in a round trip (maxwnd)")
    first_window: float = Field(default=1.5, gt=0, le=100, description="likewise (cwnd)")
    fair_increase: float = Field(default=5.0, ge=0, le=1e6, description="packets per window, unmarked and late (fi)")
    proportional_increase: float = Field(
        default=4.0, ge=0, le=1e6, description="packets per window for each 12 us below the target, unmarked (alpha)"
    )
    steady_increase: float = Field(default=0.15, ge=0, le=1e6, description="packets per round trip in any case (eta)")
    fast_increase: float = Field(
        default=0.25, ge=0, le=1e3, description="of what is acknowledged, after a window without queueing (fi_scale)"
    )
    fast_delay_s: float = Field(default=1e-6, ge=0, le=1, description="queueing below which there is none")
    decrease: float = Field(default=0.8, ge=0, le=1, description="of the mean delay's excess over the target, marked (gamma)")
    most_decrease: float = Field(default=0.5, gt=0, lt=1, description="at most, once a round trip")
    delay_gain: float = Field(default=0.0125, gt=0, le=1, description="weight of a round trip in the mean delay (delay_alpha)")
    adjust_packets: float = Field(default=8.0, ge=0, le=1e6, description="increases are added each so many packets")
    acknowledge_each: bool = Field(
        default=True,
        description="receivers acknowledge every packet; false: each `ack_every_packets`, so many of which may then always be "
        "under way, at half the cost of a run",
    )
    quick_adapt: bool = Field(default=True, description="fall to what has arrived in a round trip after trims or long delays")
    quick_adapt_window: float = Field(
        default=0.125, gt=0, le=1, description="where that is less than this part of the largest window (2 to the -qa_gate)"
    )
    quick_adapt_delay: float = Field(default=4.0, gt=0, le=100, description="a long delay, of the target (qa_threshold)")

    @property
    def every_packet(self) -> bool:
        """Whether receivers acknowledge every packet."""
        return self.acknowledge_each

    def handlers(self) -> Handlers:
        """Return the sender's kernels."""
        from zcube.network.packet.controls import nscc_kernels

        return nscc_kernels.HANDLERS


class Mrc(Nscc):
    """MRC, Multipath Reliable Connection: NSCC's window, and paths that rest; arXiv 2605.04333 and 2606.18170.

    A path on which a packet was marked is left out for a while; one on which a packet was lost, not trimmed, is taken as failed
    and left out for longer, after which packets find out whether it still is. Switches mark on all but the last link. Meant for
    packets sprayed over all paths and NIC ports, trimming, selective recovery, `reorder_gap_packets`, a `retransmit_timeout_s`
    of tens of microseconds (a packet lost again as it is repeated waits for it), and no PFC. The papers give no times: values
    marked as assumed are open there.
    """

    rests: ClassVar[bool] = True
    marks_last_hop: ClassVar[bool] = False

    mark_rest: float = Field(default=1.0, ge=0, le=1e6, description="round trips that a marked path rests; assumed")
    trim_rest: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="round trips that the path of a trimmed packet rests; assumed: marks alone count",
    )
    loss_rest_s: float = Field(default=1e-3, ge=0, le=10, description="time that a path rests that lost a packet; assumed")

    def handlers(self) -> Handlers:
        """Return the sender's kernels."""
        from zcube.network.packet.controls import mrc_kernels

        return mrc_kernels.HANDLERS
