"""The records of the packet model: what a kernel needs of one thing lies together in memory.

Times are integer picoseconds. Sizes of packets are bytes on the wire, headers included, unless called payload. A *queue* is
one priority of one directed link: its egress side stands at the link's source, its ingress side counts at the link's target
what came by it and has not left. A *queue pair* is a flow's sender on one NIC port; a *path* is a row of queues that ends
with NONE.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

PS = 1e12

NONE = -1

CACHE_LINE = 64

#: The record of NET, as kernels pass it on: one pointer.
Net = Any

#: A time that is never reached.
NEVER = 1 << 62

#: Kinds of events in the order in which those of one picosecond are taken; flow starts come after all of them.
PAUSE, ARRIVAL, TRIMMED, NOTICE, REPEAT, ACKNOWLEDGED, READY, TIMEOUT, ALARM, WAKE, CHANGE, STORM, EXPIRY, REFRESH = range(14)
#: Numbers of control packets: an acknowledgement, a congestion notification; a packet asked for again lies below these.
ACKNOWLEDGE, CONGESTION = -1, -2

#: What a congestion control's record can hold of its queue pair from the start; see
#: :mod:`zcube.network.packet.controls.declared`.
DESCRIBED = ("packet_bytes", "hops", "base_rtt_ps")
#: What is the matter with a link: it is down; this is known.
BROKEN, AVOIDED = 1, 2

#: What the PFC watchdog makes of a queue that has been paused for too long.
DROPS, FORWARDS = 1, 2

#: How a sender chooses a path for each packet: in turn, by a draw, by a draw for each flowlet; or it has but one.
IN_TURN, DRAWN, FLOWLETS, ONE_PATH = range(4)
#: Which switches choose a path by the depth of queues.
NOWHERE, FIRST_SWITCH, EVERY_SWITCH = range(3)

#: What a congestion control can be told of; see :mod:`zcube.network.packet.controls`.
EVENTS = ("started", "sent", "acknowledged", "notified", "lost", "trimmed", "expired")
#: Bits of an event's key below its kind: the number of the link, queue or queue pair it belongs to.
KEY_BITS = 28
LARGEST_NUMBER = (1 << KEY_BITS) - 1

#: Why a kernel returned: the time was reached, packets or bins ran short, a flow starts in a part that
#: stands still, flows start that may be as others were, it has processed as many events as it was given, or a queue pair has
#: sent again too often.
REACHED, NEEDS_PACKETS, NEEDS_BINS, NEEDS_THAW, NEEDS_MATCH, SPENT, GIVES_UP = range(7)

#: Where a queue pair stands: not started, able to send, waiting for its pace, for its window, out of bytes.
IDLE, LISTED, PACED, HELD, EMPTY = range(5)


def picoseconds(seconds: float) -> int:
    """Return a time in whole picoseconds."""
    return round(seconds * PS)


def _whole_lines(fields: list[tuple[str, str | np.dtype[Any]]]) -> np.dtype[Any]:
    """Return a record type that fills whole cache lines, what is used together first."""
    plain = np.dtype(fields, align=True)
    offsets = [plain.fields[name][1] for name in plain.names] if plain.fields and plain.names else []
    size = -(-plain.itemsize // CACHE_LINE) * CACHE_LINE
    names, formats = [name for name, _ in fields], [form for _, form in fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


_WHOLE, _LONG, _BYTE = (np.dtype([("item", form)]) for form in ("i4", "i8", "u1"))

#: A packet, or an event of another kind, for which the last four fields mean what its kind says.
PACKET = np.dtype(
    [
        ("time_ps", "i8"),  # when the event is due; in a queue, when the packet came there
        ("key", "u4"),  # kind << KEY_BITS | number
        ("next", "i4"),  # in a bucket of the calendar, a queue or the free list
        ("pair", "i4"),
        ("hop", "i4"),  # place in hops: the queue it stands in or has just left
        ("size", "i4"),  # twice the bytes on the wire, plus 1 if marked
        ("number", "i4"),  # sequence number within its queue pair
    ],
    align=True,
)
#: A bucket of the calendar: its only event, or the block with its last ones.
BUCKET = np.dtype([("first", "i4"), ("count", "i4")])
#: Numbers of a block: of the block before it, and of events.
BLOCK = 8
#: Events sorted at once, so that they stay near the processor, and values of a digit that they are sorted by.
PLACE_BITS = 11
SORTED_AT_ONCE, DIGITS = 1 << PLACE_BITS, 256
#: Rows of a chunk of a lane, the first of which leads to the next chunk; lanes there are at most.
CHUNK, MOST_LANES = 64, 16
#: Bits of an event's key.
KEY_WIDTH = 32
#: Bits of a bucket's picoseconds. An event that is sorted is one number: these, its key, and its place in scratch.
MOST_BUCKET_BITS = 64 - KEY_WIDTH - PLACE_BITS
LINK = _whole_lines(
    [
        ("busy_ps", "i8"),  # until when it transmits
        ("full_ps", "i8"),  # what a full packet takes
        ("latency_ps", "i8"),
        ("payload", "i8"),  # bytes of transfers carried
        ("packets", "i8"),
        ("kmin", "i8"),
        ("wakes", "i1"),  # 1 while a WAKE is in the calendar
        ("end_lane", "i1"),  # of the ends of full packets on links of its rate, NONE
        ("arrival_lane", "i1"),  # of arrivals of full packets by links of its rate and latency, NONE
        ("relay_turn", "i1"),  # 1: packets of others go before the host's own
        ("from_switch", "i4"),  # NONE: a host
        ("to_switch", "i4"),
        ("relay_head", "i4"),  # at a host: packets of others on their way through it
        ("relay_tail", "i4"),
        ("turn", "i4"),  # priority that goes first next
        ("kbps", "i8"),
        ("kmax", "i8"),
        ("pmax", "f8"),
        ("mark_draws", "i8"),
        ("active", "i4"),  # paths of flows under way that cross it
        ("peak", "i4"),
        ("down", "i4"),  # whether it is, and is known to be
        ("header_run", "i4"),  # trimmed packets sent in a row
        ("class_run", "i4"),  # packets of the second traffic class sent in a row; below 0: of the first
    ],
)
QUEUE = _whole_lines(
    [
        ("head", "i4"),  # packets; at a NIC the queue pairs that may send
        ("tail", "i4"),
        ("paused", "i1"),
        ("storm", "i1"),  # DROPS or FORWARDS from a pause that lasted too long until it is let go
        ("watched", "i1"),  # 1 while a STORM is in the calendar
        ("off", "i1"),  # 1 from XOFF to XON
        ("root", "i4"),  # congested queue at the end of the chain of pauses that stopped this one
        ("bytes", "i8"),
        ("peak", "i8"),
        ("resumed_ps", "i8"),  # and let go
        ("in_bytes", "i8"),  # ingress side from here
        ("in_headroom", "i8"),  # of these, what was put into headroom
        ("in_peak", "i8"),
        ("headroom", "i8"),  # limit of in_headroom
        ("marks", "i8"),
        ("paused_ps", "i8"),  # last time it was stopped
        ("pause_total_ps", "i8"),
        ("drops", "i4"),
        ("trims", "i4"),
        ("pauses", "i4"),
        ("noted_bin", "i4"),  # bin of time in which its depth was last noted
        ("cause", "i4"),  # egress queue wanted by the packet that caused XOFF
        ("pause_cause", "i4"),  # cause as it was when the pause began
        ("frames", "i4"),  # pause and resume frames sent
        ("applied", "i4"),  # number of the last frame that took effect at the link's source
    ],
)
#: Beside a queue's record, where pauses expire.
TIMED = np.dtype(
    [
        ("until_ps", "i8"),  # when its pause expires
        ("sent_ps", "i8"),  # when a frame that stops it was last sent
        ("expiring", "i1"),  # 1 while an EXPIRY is in the calendar
        ("refreshing", "i1"),  # 1 while a REFRESH is
    ],
    align=True,
)
#: A lane: where its first event stands, and where the next one goes; equal: it has none.
LANE = np.dtype(
    [
        ("next_ps", "i8"),  # when the first is due; NEVER: none
        ("last_ps", "i8"),  # when the last one put there is
        ("head", "i8"),
        ("tail", "i8"),
    ]
)
LANED = np.dtype([("time_ps", "i8"), ("key", "u4"), ("slot", "i4")])
SWITCH = np.dtype(
    [
        ("shared", "i8"),  # buffer beside headroom
        ("used", "i8"),  # of it
        ("peak", "i8"),
        ("headroom", "i8"),  # of all ingress queues
    ],
    align=True,
)
#: What a congestion control sees and decides of a queue pair; rates are bytes on the wire per picosecond.
SENDER = np.dtype(
    [
        ("heeds", "i1"),  # decided: 1 while bytes are counted and it is to be told of packets sent
        ("paced", "i1"),  # decided: 1 while the rate holds; 0: as fast as the port takes packets
        ("capped", "i1"),  # 1 where the line is below the port, so that the rate holds even without control
        ("cuts", "i4"),  # counted by the control: how often it lowered its rate or window
        ("rate", "f8"),  # decided
        ("sent_bytes", "i8"),  # on the wire, while it heeds
        ("heed_bytes", "i8"),  # decided: it is told of packets from so many of these on
        ("heed_ps", "i8"),  # decided: or from a time on
        ("line", "f8"),  # rate without control: that of the NIC port, or less under a cap
        ("window_bytes", "i8"),  # decided: what may be sent and not acknowledged, where receivers acknowledge
        ("alarm_ps", "i8"),  # decided: when it is to be told the time; NEVER: not at all
        ("rest_ps", "i8"),  # decided: for so long from now the path told of is not used; the engine sets it back to 0
        ("utilisation", "f8"),  # of the fullest link of the path, estimated by what packets report; the control begins it
        ("told_path", "i4"),  # which of its paths what it is told of has gone by, NONE: not known
    ],
    align=True,
)
#: What is used for every packet that is sent lies on the first cache line.
PAIR = _whole_lines(
    [
        ("since_ps", "i8"),  # since when it could have sent, or could but for its window
        ("next", "i4"),  # in the NIC's round
        ("sent", "i4"),  # number of the next packet
        ("ahead", "i4"),  # place in hops of the next packet's path, where it is known: there is one, or ports are chosen ahead
        ("state", "i4"),
        ("sender", SENDER),
        ("queue", "i4"),  # of its NIC port
        ("most", "i4"),  # packets ever sent, where some may be repeated
        ("first_path", "i4"),  # place in paths
        ("paths", "i4"),
        ("turn", "i4"),  # path of the next packet; with flowlets, of the present one
        ("short_number", "i4"),  # the packet that is not full
        ("unsent", "i8"),  # payload of its own, where shares are fixed
        ("acknowledged", "i4"),  # packets, as the sender knows
        ("short_payload", "i4"),
        ("alarm_due_ps", "i8"),  # the ALARM in the calendar that holds; NEVER: none
        ("notice_ps", "i8"),  # receiver: when it may next send a congestion notification
        ("reverse_ps", "i8"),  # what a notification takes back to the sender
        ("reverse", "i4"),  # place in hops of the way back, where acknowledgements are packets
        ("wanted", "i4"),  # receiver: number of the next packet in order
        ("highest", "i4"),  # receiver: one more than the largest number seen
        ("asked", "i4"),  # receiver: number for which it last asked again
        ("arrived", "i4"),  # receiver: packets taken
        ("marked", "i4"),  # receiver: of these, marked ones not yet told of
        ("seen", "i4"),  # sender: wanted when the timeout was last checked
        ("timeout", "i4"),  # 1 while a TIMEOUT is in the calendar
        ("late", "i4"),  # packets that came behind a later one
        ("tries", "i4"),  # timeouts in a row behind which nothing had arrived
        ("draws", "i4"),  # of paths
        ("sent_ps", "i8"),  # with flowlets: when the last packet was sent
    ],
)
#: What an acknowledgement carries beside a packet's record; of a data packet, when it was sent; of a request to repeat, in
#: place of ``arrived``, one more than the last number asked for.
ECHO = np.dtype([("sent_ps", "i8"), ("arrived", "i4"), ("marked", "i4"), ("path", "i4"), ("wanted", "i4")], align=True)
#: Beside a queue pair's record, where packets are repeated one by one.
RECOVERY = np.dtype(
    [
        ("owed", "i4"),  # sender: packets to be sent again
        ("known", "i4"),  # sender: all before this number have arrived, as it has been told
        ("checked", "i4"),  # sender: number of the next packet when the timeout was last checked
        ("told", "i4"),  # receiver: wanted when it last acknowledged
    ],
    align=True,
)
#: Bits of 64 packets of a queue pair's window, which lie at their number modulo the window.
WINDOW = np.dtype(
    [
        ("arrived", "u8"),
        ("asked", "u8"),  # the receiver has asked for it, and the sender has not heard
        ("owed", "u8"),  # to be sent again
        ("again", "u8"),  # sent again since the timeout was last checked
    ],
    align=True,
)
#: What a switch writes into a packet as it sends it; the first of a packet's rows counts them (in ``hop``).
READING = np.dtype(
    [
        ("time_ps", "i8"),
        ("sent", "i8"),  # bytes that the link has sent before
        ("queue", "i8"),  # bytes behind the packet
        ("hop", "i4"),  # place in hops; of what a sender knows of a place: 1 once it does
    ],
    align=True,
)
#: Rows of a packet, one more than switches that can write.
READINGS = 9
FLOW = _whole_lines(
    [
        ("unsent", "i8"),  # of the common pool
        ("size", "i8"),  # payload
        ("received", "i8"),
        ("delivering", "i8"),  # payload put on the last link of a path
        ("latest_ps", "i8"),  # when the last of it arrives
        ("latest_link", "i4"),  # and by which link
        ("latest_seen", "i1"),  # 1: its arrival is an event
        ("frozen", "i1"),  # 1 while the part is advanced by rate
        ("blocked_until_ps", "i8"),
        ("victim_until_ps", "i8"),
        ("blocked_ps", "i8"),  # time that packets stood behind a pause
        ("start_ps", "i8"),
        ("finish_ps", "i8"),  # NEVER until done
        ("victim_ps", "i8"),  # of it, behind pauses whose root is not on the packet's path
        ("drain", "f8"),  # rate of its last links together, bytes per picosecond
        ("tail_ps", "i8"),  # least delay of its last links
        ("place", "i4"),  # in live
        ("first_pair", "i4"),
        ("end_pair", "i4"),
        ("part", "i4"),  # the part's first flow, as last seen
    ],
)
#: How a part is advanced: packet by packet, by whole periods, by the law of its rates.
MOVING, PERIODIC, BY_LAW = range(3)
#: A set of flows under way that share links with each other and with no others; its row is that of its first flow.
PART = np.dtype(
    [
        ("members", "u8"),  # sum of its flows' hashes
        ("was", "u8"),  # at the look before
        ("look", "i8"),  # the look that last saw it
        ("age", "i8"),  # looks since a flow came or went, or a queue was paused or near it
        ("calm", "i8"),  # of these, looks since a packet was marked
        ("pauses", "i8"),  # of its ports so far
        ("pauses_before", "i8"),
        ("marks", "i8"),
        ("marks_before", "i8"),
        ("period_ps", "i8"),  # after which its packets stand as before
        ("frozen_ps", "i8"),  # from when it is advanced by rate
        ("skipped_ps", "i8"),  # up to when its rates have been applied
        ("until_ps", "i8"),  # and until when at least they hold
        ("held", "i4"),  # its events, chained
        ("kind", "i4"),  # how it is advanced
        ("busy", "i4"),  # 1: a queue is paused or near the threshold at which it would be
        ("marking", "i4"),  # 1: a queue is so deep that packets may be marked
        ("bursting", "i4"),  # 1: a queue holds more than its control lets it hold for long
        ("over", "i4"),  # 1: a link is asked for more than it has
        ("steered", "i4"),  # 1: a queue pair's rate is the control's
    ],
    align=True,
)
#: What is known of a queue pair of a part.
PROBE = np.dtype(
    [
        ("rate", "f8"),  # wire bytes per picosecond
        ("scale", "f8"),  # part of the rate it asks for that its NIC port has for it
        ("gap_ps", "i8"),  # between its packets, where its part is advanced by whole periods
        ("sent", "f8"),  # wire bytes by which it has been advanced, and what was left over before
        ("step", "f8"),  # of these, in the last step
        ("due_ps", "i8"),  # when its next packet is sent at the earliest
        ("told_ps", "i8"),  # when a notification on its way arrives, NEVER
        ("draws", "i8"),  # of times until a packet is marked
        ("moved", "i8"),  # packets by which it was last advanced
    ],
    align=True,
)
#: Whose a link is, and what stands before it while it is advanced by rate.
CLAIM = np.dtype(
    [
        ("look", "i8"),  # twice the look that last saw it, plus 1 once it is counted
        ("load", "f8"),  # bytes per picosecond that queue pairs would have it carry
        ("paced", "f8"),  # of a NIC: rates of its queue pairs that have one
        ("free", "i4"),  # and how many have none
        ("pairs", "i4"),  # and how many there are
        ("flow", "i4"),  # a flow that crosses it
        ("frozen", "i4"),  # part in which it stands still, NONE
        ("came", "f8"),  # bytes that came to it in this step
        ("levelled", "i8"),  # the step that last set its level
        ("last", "f8"),  # and in the step before
        ("backlog", "f8"),  # bytes in its queue
        ("stood", "f8"),  # when it froze
        ("passing", "f8"),  # bytes that leave per byte that comes
        ("unmarked", "f8"),  # logarithm of the chance that a packet is not marked
        ("marks", "f8"),  # packets marked
    ],
    align=True,
)
#: A pause that has ended.
PAUSE_LOG = np.dtype(
    [
        ("from_ps", "i8"),
        ("until_ps", "i8"),
        ("queue", "i4"),  # that was stopped
        ("cause", "i4"),  # queue that the packet wanted which caused XOFF
        ("root", "i4"),  # congested queue at the end of the chain of pauses
        ("unused", "i4"),
    ],
    align=True,
)
#: Tables the kernels read and write, by the type of a row.
TABLES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "packets": PACKET,  # row l is the WAKE of link l
        "echoes": ECHO,  # the same rows, where receivers acknowledge to the control
        "readings": READING,  # READINGS rows for each of them, where switches write telemetry
        "known": READING,  # by place in hops, what its sender was told last, likewise
        "sent": _LONG,  # bytes that each link has sent, likewise
        "buckets": BUCKET,
        "blocks": _WHOLE,  # of events in buckets
        "bits": np.dtype([("item", "u8")]),  # a bit per bucket that holds events
        "lanes": LANE,
        "laned": LANED,  # events in lanes, in chunks
        "spans": _WHOLE,  # first event of each of the long buckets beyond, NONE
        "far": _WHOLE,  # heap of the events beyond those
        "runs": _WHOLE,  # scratch of the sort
        "sorting": np.dtype([("item", "u8")]),  # likewise, twice as many as are sorted at once
        "sorted": _WHOLE,  # likewise: their records, by places in scratch
        "tallies": _WHOLE,  # likewise, a row per digit
        "links": LINK,
        "queues": QUEUE,
        "timed": TIMED,  # by the number of a queue, where pauses expire
        "switches": SWITCH,
        "pairs": PAIR,
        "owners": _WHOLE,  # flow of each queue pair
        "recoveries": RECOVERY,  # by the number of a queue pair, where packets are repeated one by one
        "windows": WINDOW,  # so many rows a queue pair, likewise
        "states": _BYTE,  # record of the congestion control, per queue pair
        "parameters": _BYTE,  # of the congestion control, one record
        "flows": FLOW,
        "hops": _WHOLE,  # queues of paths, NONE behind each
        "ways": _WHOLE,  # place in hops of the next of the links on which equal paths go on, where every switch chooses
        "paths": _WHOLE,  # place in hops of each path
        "gone_by": _WHOLE,  # of each packet of a window which path it took, where lost packets make paths rest
        "rests": _LONG,  # until when each path is not used, where paths rest
        "starts": _WHOLE,  # heap of the flows not started
        "done": _WHOLE,  # flows completed and not yet handed over
        "live": _WHOLE,  # flows under way
        "parts": PART,  # by the number of a part's first flow, where parts are skipped
        "probes": PROBE,  # by the number of a queue pair, likewise
        "claims": CLAIM,  # by the number of a link, likewise
        "log": PAUSE_LOG,  # pauses that have ended, the first so many
        "depth_bins": _LONG,  # deepest made by packets that joined, per bin of time and queue
        "pause_bins": _LONG,  # picoseconds paused per bin of time and queue
    }
)
#: Rows of tables that nothing but the sort of events uses.
SCRATCH: Mapping[str, int] = MappingProxyType(
    {"runs": 64, "sorting": 2 * SORTED_AT_ONCE, "sorted": SORTED_AT_ONCE, "tallies": DIGITS}
)
#: What there is one of: where the tables lie, sizes, counts, and the settings.
NET = np.dtype(
    [
        *((f"{table}_at", "i8") for table in TABLES),  # address of its first row
        ("buckets", "i8"),
        ("spans", "i8"),
        ("queues", "i8"),
        ("log_room", "i8"),
        ("logged", "i8"),  # pauses that have ended
        ("now_ps", "i8"),
        ("ready", "i8"),  # queue pair whose READY is due now and not in the calendar, NONE between events
        ("bucket", "i8"),  # absolute number of the calendar's current bucket
        ("reach", "i8"),  # buckets that are taken in hand at once
        ("most_reach", "i8"),
        ("current", "i8"),  # first event of the current bucket, sorted
        ("ahead", "i8"),  # in scratch: the event sorted last of which one is in hand, and where these end
        ("ahead_end", "i8"),
        ("filed", "i8"),  # events in later buckets
        ("free_block", "i8"),  # first one given back, 0: none
        ("blocks_used", "i8"),  # ever taken
        ("lanes", "i8"),
        ("lane_ps", "i8"),  # when the first event of all lanes is due, NEVER
        ("free_chunk", "i8"),  # first row of a chunk that no lane has, 0: none
        ("span", "i8"),  # absolute number of the first long bucket not yet dealt out
        ("spanned", "i8"),  # events in long buckets
        ("far_count", "i8"),
        ("fetching", "i8"),  # 1: tables are so large that what events read is fetched ahead
        ("free", "i8"),  # first free packet
        ("free_count", "i8"),
        ("waiting", "i8"),  # flows not started
        ("done_count", "i8"),  # completed flows in the list
        ("events", "i8"),
        ("unseen", "i8"),  # 1: arrivals of which nothing else hangs are counted ahead of their time
        ("until_ps", "i8"),  # as far as the network is being advanced
        ("unseen_ps", "i8"),  # the latest of them
        ("packet_hops", "i8"),  # packets transmitted over a link
        ("control_hops", "i8"),
        ("marks", "i8"),
        ("notices", "i8"),
        ("drops", "i8"),
        ("repeats", "i8"),
        ("timeouts", "i8"),
        ("late", "i8"),
        ("lost", "i8"),  # packets on links that went down
        ("duplicates", "i8"),
        ("trims", "i8"),
        ("headers_lost", "i8"),
        ("storms", "i8"),  # pauses that the PFC watchdog has ended waiting for
        ("expiries", "i8"),  # pauses that ended because no further frame came
        ("pauses", "i8"),
        ("active", "i8"),  # flows under way
        ("looks", "i8"),  # at parts
        ("calm", "i8"),  # looks for which a part has to be as it is
        ("look_ps", "i8"),  # when to look next
        ("window_ps", "i8"),  # between looks
        ("steps", "i8"),  # of the law, per window
        ("stamp", "i8"),  # number of the last step, downwards
        ("kept", "i8"),  # windows before a flow ends in which it goes packet by packet
        ("near", "f8"),  # part of a threshold at which a buffer counts as near it
        ("taken", "i8"),  # scratch: events just taken out of a chain
        ("skips", "i8"),  # how often a part was advanced by rate
        ("frozen", "i8"),  # flows under way whose part is advanced by rate
        ("joining", "i8"),  # 1: flows join parts that are advanced by law
        ("in_way", "i8"),  # part that a flow about to start meets
        ("matching", "i8"),  # 1: parts about to start may be as others were
        ("matched_ps", "i8"),  # flows that start until then have been looked at for it
        ("reused", "i8"),  # flows whose completion was taken over
        ("mtu_payload", "i8"),  # payload of a full packet or cell
        ("mtu", "i8"),  # and its bytes on the wire
        ("packet_payload", "i8"),  # payload of the packets a cell stands for
        ("header", "i8"),  # bytes beside the payload, per packet
        ("bucket_shift", "i8"),
        ("span_shift", "i8"),  # from buckets to long buckets, of half the calendar each
        ("relaying", "i8"),  # 1: paths lead through hosts
        ("class_shift", "i8"),  # link = queue >> class_shift
        ("classes", "i8"),  # queues of data
        ("second_class", "i8"),  # the first of those of the second traffic class; 0: there is one class
        ("strict", "i8"),  # 1: the second class goes first
        ("first_weight", "i8"),  # else packets in a row
        ("second_weight", "i8"),
        ("control", "i8"),  # priority of acknowledgements, NONE where they are no packets
        ("headers", "i8"),  # priority of trimmed packets, NONE where none are trimmed
        ("trim_bytes", "i8"),  # what is left of a packet
        ("trim_room", "i8"),  # that a port's queue of trimmed packets holds
        ("trim_run", "i8"),  # of them sent in a row while data waits
        ("lossless", "i8"),
        ("storm_ps", "i8"),  # of a pause, after which the PFC watchdog acts; 0: there is none
        ("storm_action", "i8"),  # what it does, DROPS or FORWARDS
        ("hold_bytes", "i8"),  # a pause lasts as long as these take on its link; 0: until it is let go
        ("refresh", "f8"),  # part of it after which a frame that still holds is sent again; 0: none is
        ("ordered", "i8"),  # 1: receivers take packets in order only
        ("holds", "i8"),  # packets from the first missing one on that a receiver which takes them in order can hold
        ("repeating", "i8"),  # 1: senders see to what has not arrived
        ("failing", "i8"),  # 1: links go down
        ("avoided", "i8"),  # links that are known to be down
        ("retry_limit", "i8"),
        ("given_up", "i8"),  # queue pair that has sent again too often
        ("selective", "i8"),  # packets are repeated one by one
        ("window", "i8"),  # packets that a sender is ahead of the first that has not arrived, at most; a power of two
        ("gap", "i8"),  # of several paths: a packet is asked for once one so much later has arrived
        ("cut_through", "i8"),
        ("dynamic_off", "i8"),  # 1: XOFF by alpha, 0: static
        ("off_bytes", "i8"),
        ("on_gap", "i8"),  # XON lies so far below XOFF
        ("alpha", "f8"),  # part of the free buffer an ingress queue may take, or an egress queue where there is no PFC
        ("pause_bytes", "i8"),
        ("pause_ps", "i8"),  # reaction to a pause frame
        ("ack_bytes", "i8"),
        ("ack_every", "i8"),
        ("pooled", "i8"),
        ("choice", "i8"),  # how senders pick paths
        ("adaptive", "i8"),  # which switches pick them
        ("spanning", "i8"),  # 1: a queue pair sends by all NIC ports of its paths
        ("resting", "i8"),  # 1: paths may rest
        ("flowlet_ps", "i8"),  # after such a gap a queue pair draws a path anew
        ("path_seed", "u8"),
        ("reorder_ps", "i8"),
        ("seed", "u8"),
        ("marking", "i8"),  # the control has switches mark packets
        ("acknowledging", "i8"),  # the control has receivers acknowledge
        ("recalling", "i8"),  # 1: senders know of every packet by which path it went
        ("telemetry_ps", "i8"),  # T of in-band telemetry; 0: switches write none
        ("notice_ps", "i8"),  # least time between congestion notifications of a queue pair
        ("state_bytes", "i8"),  # from one queue pair's record of the control to the next
        *((f"{name}_place", "i8") for name in DESCRIBED),  # where in it what is known of a queue pair goes; NONE: nowhere
        *((f"on_{event}", "i8") for event in EVENTS),  # address of what the control does on an event; 0: nothing
        ("timeout_ps", "i8"),
        ("bin_ps", "i8"),
        ("bins_end_ps", "i8"),
    ],
    align=True,
)
