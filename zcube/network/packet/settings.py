"""Parameters of the packet model, with published defaults."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from zcube.arrays import FloatArray, IntArray
from zcube.inputs import Declared
from zcube.network.packet.controls import BUILT_IN, controls
from zcube.network.packet.controls.dcqcn import Dcqcn
from zcube.network.packet.controls.declared import ControlSettings
from zcube.network.packet.skip_settings import Skip
from zcube.network.packet.switch_settings import (
    MARKING,
    LinkFailure,
    MarkingLaw,
    MarkingThreshold,
    SwitchClass,
    TierBuffer,
    buffer_of,
)
from zcube.seeds import stream

#: ``static``: a queue pair per path, as routing gives them. With the others a queue pair has many paths, all that the transfer
#: has by its NIC port: ``spray`` has its packets take them in turn, ``spray-random`` draws one for each packet, ``flowlet`` one
#: for all that follow each other without a gap. ``adaptive``: the first switch puts each packet into the shortest queue of all
#: paths. ``adaptive-every-switch``: packets take paths in turn, and every switch puts them into the shortest of the queues by
#: which equal paths go on.
PathChoice = Literal["static", "spray", "spray-random", "flowlet", "adaptive", "adaptive-every-switch"]
#: What a queue pair of many paths sends by: ``one`` NIC port, so that there is one for each; ``all`` that the paths have.
QueuePairPorts = Literal["one", "all"]

Forwarding = Literal["store-and-forward", "cut-through"]
Threshold = Literal["dynamic", "static"]
#: ``go-back-n``: a receiver takes packets in order only, and everything from the first lost one on is sent again.
#: ``selective``: it takes them in any order within a window, and what is asked for or was away too long is sent again, before
#: new packets.
Recovery = Literal["go-back-n", "selective"]
#: ``notified``: what a receiver tells a sender arrives after the delay of the way back and takes no bandwidth. ``packets``:
#: acknowledgements and notifications are packets of a priority of their own.
Acknowledgements = Literal["notified", "packets"]

#: What packets of one queue pair cost that come behind a later one: ``cost`` delays the transfer by ``reorder_cost_s`` for
#: each. ``buffer``: the NIC holds what lies so close behind the missing one, and what lies further is as if the NIC could not
#: reorder. ``go-back-n``: it cannot, and everything from the missing one on is sent again.
Reorder = Literal["cost", "buffer", "go-back-n"]

MIB = 1 << 20

#: Packets of a window whose state lies in one row.
WINDOW_BITS = 64

#: What a switch does with what waits for a port that the PFC watchdog has given up on; SONiC's ``drop`` and ``forward``.
WatchdogAction = Literal["drop", "forward"]

#: Bytes of a pause's quantum, 512 bits.
QUANTUM_BYTES = 64

#: How a port serves two classes of traffic: that of experts first, or by turns of so many packets each.
ClassService = Literal["strict", "weighted"]


class PacketSettings(Declared):
    """What the packet model simulates.

    Every congestion control has a table of its own under its name; that of one chosen is there even if it is not given.
    """

    packet_payload_bytes: int = Field(default=4096, ge=64, le=65536, description="payload of a packet")
    header_bytes: int = Field(default=82, ge=0, le=1024, description="RoCEv2 62, preamble and gap 20")
    cell_bytes: int | None = Field(
        default=None, ge=64, le=1 << 24, description="payload of packets merged into one; None: none are"
    )
    least_threshold_cells: int = Field(
        default=4, ge=1, le=1024, description="where there are cells: least value of a threshold"
    )
    forwarding: Forwarding = Field(
        default="store-and-forward", description="whether a switch sends a packet on when all of it is there, or its header"
    )
    buffer_bytes: int = Field(default=32 * MIB, ge=1 << 16, le=1 << 40, description="of a switch, shared by its ports")
    switch_class: SwitchClass | None = Field(
        default=None, description="its buffer in place of `buffer_bytes`, as a vendor's sheet has it; None: none"
    )
    tier_buffers: tuple[TierBuffer, ...] = Field(
        default=(), max_length=8, description="of tiers whose switches have another; a tier that a fabric has not is left out"
    )
    pfc: bool = Field(default=True, description="whether switches pause what fills them, and lose nothing")
    pfc_threshold: Threshold = Field(
        default="dynamic", description="`dynamic`: XOFF at `pfc_alpha` of the free buffer; `static`: at `xoff_bytes`"
    )
    pfc_alpha: float = Field(default=1 / 8, gt=0, le=64, description="XOFF at this part of the free buffer, per ingress queue")
    xoff_bytes: int = Field(default=512 * 1024, ge=1, le=1 << 40, description="XOFF where the threshold is static")
    xon_gap_bytes: int = Field(default=8192, ge=0, le=1 << 40, description="XON lies so far below XOFF")
    headroom_bytes: int | None = Field(default=None, ge=0, le=1 << 40, description="per ingress queue; None: what a link needs")
    pfc_watchdog_s: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="a switch gives up on a port paused for so long, until the pause ends; None: none does, and a ring of "
        "pauses ends the run",
    )
    pfc_watchdog_action: WatchdogAction = Field(
        default="drop", description="then: `drop` what waits for the port and all that comes; `forward` it, paused or not"
    )
    pause_quanta: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="a pause expires after so many times 512 bits of its link (IEEE 802.1Qbb); None: it holds until let go",
    )
    pause_refresh: float | None = Field(
        default=0.5,
        ge=0.01,
        lt=1,
        description="part of the quanta after which a frame that still holds is sent again; None: none is, and what comes "
        "after the pause is lost where the buffer is full",
    )
    pause_frame_bytes: int = Field(default=84, ge=0, le=4096, description="on the wire; 64, preamble and gap 20")
    pause_reaction_s: float = Field(default=0.0, ge=0, le=1e-3, description="from the arrival of a pause to its effect")
    drop_alpha: float = Field(default=1.0, gt=0, le=64, description="no PFC: part of the free buffer an egress queue may hold")
    priorities: Literal[1, 2, 4] = Field(
        default=1, description="a packet's rises by one with every link between switches it has crossed"
    )
    traffic_classes: Literal[1, 2] = Field(
        default=1, description="2: expert traffic has queues, headroom and pauses of its own beside those of all other traffic"
    )
    class_service: ClassService = Field(
        default="strict", description="two classes: `strict`, that of experts first; `weighted`, in turn"
    )
    class_weights: tuple[int, int] = Field(
        default=(1, 1), description="`weighted`: packets in a row, of other traffic and of experts, while both wait"
    )
    congestion_control: str = Field(
        default="dcqcn", description=", ".join(f"`{name}`" for name in BUILT_IN) + ", or one that a package brings"
    )
    marking_law: MarkingLaw = Field(default="table", description="`table`: thresholds of `marking`; `time`: the three below")
    marking: tuple[MarkingThreshold, ...] = Field(default=MARKING, min_length=1, max_length=64)
    marking_kmin_s: float = Field(default=16e-6, ge=0, le=1, description="`time`: KMIN over the link's rate")
    marking_kmax_s: float = Field(default=64e-6, gt=0, le=1, description="`time`: KMAX over the link's rate")
    marking_pmax: float = Field(default=0.2, ge=0, le=1, description="`time`: PMAX")
    dcqcn: Dcqcn = Dcqcn()
    path_choice: PathChoice = Field(
        default="static", description="who of the paths that routing gives a packet takes; docs/packets.md has each"
    )
    spread_queue_pairs: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="queue pairs of a transfer with the same paths each, where path_choice is not static",
    )
    queue_pair_ports: QueuePairPorts = Field(default="one", description="ports of its NIC that a queue pair sends by")
    flowlet_gap_s: float = Field(
        default=16e-6, ge=0, le=1, description="`flowlet`: a queue pair that has sent nothing for longer draws a path anew"
    )
    reorder_cost_s: float = Field(default=0.0, ge=0, le=1e-3, description="delay of a transfer per packet behind a later one")
    acknowledgements: Acknowledgements = Field(
        default="notified", description="`notified`: known after the delay of the way back; `packets`: sent as packets"
    )
    ack_bytes: int = Field(default=86, ge=1, le=4096, description="RoCEv2 66, preamble and gap 20")
    ack_every_packets: int = Field(default=4, ge=1, le=1 << 20, description="packets that one acknowledgement stands for")
    retransmit_timeout_s: float = Field(
        default=500e-6, gt=0, le=10, description="without anything new arriving, after which is sent again"
    )
    retry_limit: int = Field(
        default=7,
        ge=0,
        le=1 << 20,
        description="where links go down: timeouts in a row, with nothing arrived, after which a queue pair ends the run; "
        "InfiniBand's retry count has 7",
    )
    link_failures: tuple[LinkFailure, ...] = Field(default=(), max_length=64)
    failure_detection_s: float = Field(
        default=1e-3, ge=0, le=10, description="after which all know of a link that has gone down or come up"
    )
    reorder: Reorder = Field(default="cost", description="what a receiver does with packets out of order")
    reorder_buffer_packets: int = Field(
        default=256,
        ge=64,
        le=1 << 16,
        description="`reorder=buffer`: a queue pair's packets fewer than so many behind the first missing one are held; "
        "a power of two",
    )
    recovery: Recovery = Field(
        default="go-back-n",
        description="`go-back-n`: everything from a lost packet on is sent again; `selective`: only what is asked for or has "
        "been away for one to two timeouts, before new packets",
    )
    selective_window_packets: int = Field(
        default=1024,
        ge=WINDOW_BITS,
        le=1 << 16,
        description="`selective`: a sender is so many packets ahead of the first that has not arrived, at most; a power of two",
    )
    reorder_gap_packets: int | None = Field(
        default=None,
        ge=0,
        le=1 << 16,
        description="`selective`, several paths: a packet is asked for once one so many later has arrived; None: only if "
        "trimmed",
    )
    trimming: bool = Field(
        default=False,
        description="without PFC: a packet that a switch has no room for loses its payload, and its header goes on before all "
        "data",
    )
    trim_bytes: int = Field(default=84, ge=1, le=4096, description="left of a trimmed packet: 64, preamble and gap 20")
    trim_queue_bytes: int = Field(
        default=MIB, ge=1, le=1 << 40, description="headers that a port holds beside the buffer; more are dropped"
    )
    trim_run: int = Field(
        default=10, ge=1, le=1 << 20, description="headers that go in a row before a data packet that waits goes in between"
    )
    skip: Skip = Skip()
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="of marks; the run sets it")

    @field_validator("marking")
    @classmethod
    def _ascending(cls, marking: tuple[MarkingThreshold, ...]) -> tuple[MarkingThreshold, ...]:
        rates = [entry.up_to_gbps for entry in marking]
        if rates != sorted(set(rates)):
            raise ValueError("rates in ascending order, each once")
        return marking

    @field_validator("selective_window_packets", "reorder_buffer_packets")
    @classmethod
    def _power_of_two(cls, packets: int) -> int:
        if packets & (packets - 1):
            raise ValueError("a power of two")
        return packets

    @field_validator("class_weights")
    @classmethod
    def _weights(cls, weights: tuple[int, int]) -> tuple[int, int]:
        if not all(1 <= weight <= 1 << 20 for weight in weights):
            raise ValueError("two weights from 1 to 1048576")
        return weights

    @model_validator(mode="after")
    def _one_law_one_buffer(self) -> PacketSettings:
        if self.marking_kmax_s <= self.marking_kmin_s:
            raise ValueError("marking_kmax_s above marking_kmin_s")
        if self.switch_class is not None and self.buffer_bytes != PacketSettings.model_fields["buffer_bytes"].default:
            raise ValueError("buffer_bytes or switch_class, not both")
        tiers = [entry.tier for entry in self.tier_buffers]
        if len(set(tiers)) < len(tiers):
            raise ValueError("tier_buffers with each tier once")
        return self

    @model_validator(mode="after")
    def _trims_what_is_repeated(self) -> PacketSettings:
        if self.trimming and self.pfc:
            raise ValueError("pfc false where trimming is on: with PFC a packet always has room")
        if self.pfc_watchdog_s is not None and not self.pfc:
            raise ValueError("pfc true where there is a pfc_watchdog_s: without it nothing is paused")
        if self.pause_quanta is not None and not self.pfc:
            raise ValueError("pfc true where there are pause_quanta: without it nothing is paused")
        if self.skip.mode != "off" and (self.pfc_watchdog_s is not None or self.pause_quanta is not None):
            raise ValueError("skip.mode off where there is a pfc_watchdog_s or pause_quanta: their events are never steady")
        if self.skip.mode != "off" and self.traffic_classes == 2:
            raise ValueError("skip.mode off where there are two traffic classes: the law knows one queue a link")
        if self.trimming and self.recovery != "selective":
            raise ValueError("recovery selective where trimming is on: a trimmed packet is asked for by its number")
        if self.recovery == "selective" and self.reorder != "cost":
            raise ValueError("reorder cost where recovery is selective: packets are taken in any order")
        if self.skip.mode != "off" and self.recovery == "selective":
            raise ValueError("skip.mode off where recovery is selective: what is repeated is never steady")
        return self

    @model_validator(mode="after")
    def _skips_with_pfc(self) -> PacketSettings:
        if self.skip.mode != "off" and not self.pfc:
            raise ValueError("skip.mode off where pfc is off: what is lost is never steady")
        if self.skip.mode != "off" and (
            self.path_choice not in ("static", "spray", "adaptive")
            or self.spread_queue_pairs > 1
            or self.queue_pair_ports == "all"
            or self.control.rests
            or self.link_failures
            or self.reorder != "cost"
        ):
            raise ValueError(
                "skip.mode off where paths are drawn, rest, are shared, chosen at every switch or of several ports, "
                "where links go down or receivers cannot reorder all"
            )
        if self.skip.mode == "reuse" and self.acknowledgements == "packets":
            raise ValueError("skip.mode off or steady where acknowledgements are packets: these outlive their transfers")
        if self.skip.mode != "off" and self.control.telemetry_s is not None:
            raise ValueError("skip.mode off where switches write telemetry: what they have written is not advanced by rate")
        return self

    @model_validator(mode="after")
    def _failures(self) -> PacketSettings:
        if self.link_failures and self.acknowledgements == "packets":
            raise ValueError("acknowledgements notified where link_failures are given: a lost one is not sent again")
        return self

    @model_validator(mode="after")
    def _many_paths(self) -> PacketSettings:
        if self.path_choice == "static" and self.spread_queue_pairs > 1:
            raise ValueError("spread_queue_pairs 1 where path_choice is static: every path has a queue pair of its own")
        if self.queue_pair_ports == "all" and self.path_choice in ("static", "adaptive"):
            raise ValueError(
                "queue_pair_ports one where path_choice is static or adaptive; adaptive-every-switch chooses ports too"
            )
        return self

    @field_validator("congestion_control")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BUILT_IN and name not in controls():
            raise ValueError("one of " + ", ".join(sorted(controls())))
        return name

    def __new__(cls, **data: Any) -> PacketSettings:
        """Return an instance of the class that has the tables of all controls named as keys."""
        return super().__new__(cls._with_tables(data))

    def __reduce__(self) -> tuple[Any, ...]:
        """Make it anew in another process: classes with the tables of further controls are made when they are needed."""
        return PacketSettings.model_validate, (self.model_dump(exclude_unset=True),)

    @model_validator(mode="wrap")
    @classmethod
    def _read_by_its_class(cls, data: Any, handler: ModelWrapValidatorHandler[PacketSettings]) -> PacketSettings:
        further = cls._with_tables(data) if isinstance(data, Mapping) else cls
        return handler(data) if further is cls else further.model_validate(data)

    @model_serializer(mode="wrap")
    def _with_all_tables(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Write the tables of further controls also where this class is the declared one."""
        further = type(self).model_fields.keys() - PacketSettings.model_fields.keys()
        return handler(self) | {name: getattr(self, name).model_dump(mode=info.mode) for name in sorted(further)}

    @classmethod
    def _with_tables(cls, data: Mapping[str, Any]) -> type[PacketSettings]:
        named = {name for name in (*data, data.get("congestion_control")) if isinstance(name, str)} - cls.model_fields.keys()
        further = {name for name in named - {"none"} if name in controls()}
        return _with_controls(tuple(sorted(further))) if further else cls

    @property
    def control(self) -> ControlSettings:
        """The parameters of the congestion control chosen."""
        given: ControlSettings | None = getattr(self, self.congestion_control, None)
        return given or controls()[self.congestion_control]()

    @property
    def ordered(self) -> bool:
        """Whether receivers take packets in order only, and ask again from what is missing."""
        ends = self.pfc_watchdog_s is not None or (self.pause_quanta is not None and self.pause_refresh is None)
        lossy = not self.pfc or self.reorder != "cost" or len(self.link_failures) > 0 or ends
        return lossy and self.recovery == "go-back-n"

    @property
    def window_packets(self) -> int:
        """Packets of a queue pair of which each one's arrival is noted: a window's, or a reorder buffer's; 0 if none are."""
        if self.recovery == "selective":
            return self.selective_window_packets
        return self.reorder_buffer_packets if self.reorder == "buffer" else 0

    @property
    def path_seed(self) -> int:
        """Seed of the paths that are drawn."""
        return int(stream(self.seed, "paths of packets").integers(1 << 63))

    @property
    def unit_payload_bytes(self) -> int:
        """Payload of what is simulated as one: a packet or a cell."""
        return max(self.packet_payload_bytes, self.cell_bytes or 0)

    @property
    def unit_bytes(self) -> int:
        """Bytes on the wire of a full packet or cell; a cell has the headers of its packets."""
        return self.wire_bytes(self.unit_payload_bytes)

    def wire_bytes(self, payload_bytes: int) -> int:
        """Return the bytes on the wire of a packet or cell of some payload."""
        return payload_bytes + -(-payload_bytes // self.packet_payload_bytes) * self.header_bytes

    @property
    def least_threshold_bytes(self) -> int:
        """Least value of any threshold."""
        return self.least_threshold_cells * self.unit_bytes

    @property
    def data_queues(self) -> int:
        """Queues of a link for data: those of the second class behind those of the first."""
        return self.priorities * self.traffic_classes

    @property
    def memory_bytes(self) -> int:
        """Buffer of a switch, headroom included."""
        return buffer_of(self.buffer_bytes, self.switch_class)

    def memory_of(self, tier: IntArray) -> IntArray:
        """Return the buffers of switches by their tiers, headroom included."""
        found = np.full(len(tier), self.memory_bytes)
        for entry in self.tier_buffers:
            found[tier == entry.tier] = buffer_of(entry.buffer_bytes or 0, entry.switch_class)
        return found

    def marking_of(self, capacity_bps: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return KMIN and KMAX in bytes and PMAX of links; beyond the last rate as for it.

        Where units are large, KMIN and the distance to KMAX are at least ``least_threshold_cells`` of them.
        """
        if self.marking_law == "time":
            kmin, kmax = (np.round(time_s * capacity_bps / 8) for time_s in (self.marking_kmin_s, self.marking_kmax_s))
            kmax, pmax = np.maximum(kmax, kmin + 1), np.full(len(capacity_bps), self.marking_pmax)
        else:
            rates = np.array([entry.up_to_gbps for entry in self.marking]) * 1e9
            row = np.minimum(np.searchsorted(rates, capacity_bps), len(rates) - 1)
            kmin, kmax, pmax = (
                np.array([getattr(entry, name) for entry in self.marking], dtype=float)[row]
                for name in ("kmin_bytes", "kmax_bytes", "pmax")
            )
        least = self.least_threshold_bytes if self.cell_bytes else 0
        low = np.maximum(kmin, least)
        return low, low + np.maximum(kmax - kmin, least), pmax

    def headroom_of(self, capacity_bps: FloatArray, latency_s: FloatArray) -> FloatArray:
        """Return the headroom of ingress queues: what arrives between XOFF and its effect.

        A link brings what is under way, what its source sends until the frame is there, the packet then begun, and the packet
        that caused XOFF; one more for rounding.
        """
        if self.headroom_bytes is not None:
            return np.full(len(capacity_bps), float(self.headroom_bytes))
        travel = capacity_bps / 8 * (2 * latency_s + self.pause_reaction_s)
        return np.asarray(np.ceil(travel) + self.pause_frame_bytes + 3 * self.unit_bytes)


@cache
def _with_controls(names: tuple[str, ...]) -> type[PacketSettings]:
    """Return packet settings with the tables of further controls."""
    tables: dict[str, Any] = {name: (controls()[name], controls()[name]()) for name in names}
    return create_model("PacketSettings", __base__=PacketSettings, **tables)
