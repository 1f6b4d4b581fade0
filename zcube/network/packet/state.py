"""The records of the packet model: what a kernel needs of one thing lies together in memory.

Times are integer picoseconds. Sizes of packets are bytes on the wire, headers included, unless called payload. A *queue* is
one priority of one directed link: its egress side stands at the link's source, its ingress side counts at the link's target
what came by it and has not left. A *queue pair* is a flow's sender on one NIC port; a *path* is a row of queues that ends
with NONE.
"""

from __future__ import annotations

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
        ("standing", "f8"),  # bytes in queues that are advanced by the law of rates
        ("filled", "f8"),  # what would be in use, were these to move packet by packet; as of the last look
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
        ("rate", "f8"),  # wire bytes per picosecond at which its port sends for it
        ("turn", "f8"),  # picoseconds per byte that its packets wait for their turn
        ("scale", "f8"),  # part of the rate left so that its port has for it
        ("free", "f8"),  # rate if its control sets none
        ("gap_ps", "i8"),  # between its packets, where its part is advanced by whole periods
        ("sent", "f8"),  # wire bytes by which it has been advanced, and what was left over before
        ("step", "f8"),  # of these, in the last step
        ("due_ps", "i8"),  # when its next packet is sent at the earliest
        ("done_ps", "i8"),  # when it had sent all, 0
        ("pace", "f8"),  # rate that holds until then; 0: that of its control
        ("leaving", "f8"),  # packets that leave queues which mark, per picosecond
        ("phase", "f8"),  # part of the next that has left
        ("chance", "f8"),  # that it is marked
        ("way_ps", "i8"),  # what these take to their host
        ("draws", "i8"),  # of packets that leave queues which mark
        ("coming", "f8"),  # scratch: bytes that came to a queue in a time
        ("owing", "f8"),  # scratch: of these and of those before, bytes that are not yet in packets
        ("moved", "i8"),  # packets by which it was last advanced
    ],
    align=True,
)
#: Whose a link is, and what stands before it while it is advanced by rate.
CLAIM = _whole_lines(
    [
        ("came", "f8"),  # bytes that came to it in this step
        ("backlog", "f8"),  # bytes in its queue
        ("since_ps", "i8"),  # when what leaves its queue now came to it
        ("empty_ps", "i8"),  # since when its queue has been empty, NEVER where it is not
        ("passing", "f8"),  # of what leaves its queue now, bytes that leave per byte that came
        ("depth", "f8"),  # bytes in it in the middle of the next step, if it goes on so
        ("way_ps", "i8"),  # what a packet takes over it
        ("unmarked", "f8"),  # logarithm of the chance that a packet is not marked
        ("levelled", "i8"),  # the step that last set its level
        ("look", "i8"),  # twice the look that last saw it, plus 1 once it is counted
        ("load", "f8"),  # bytes per picosecond that queue pairs would have it carry
        ("carried", "f8"),  # and that their ports send
        ("paced", "f8"),  # of a NIC: rates of its queue pairs that have one
        ("served", "f8"),  # and these rates after what they wait for each other
        ("free", "i4"),  # and how many have none
        ("pairs", "i4"),  # and how many there are
        ("flow", "i4"),  # a flow that crosses it
        ("frozen", "i4"),  # part in which it stands still, NONE
        ("froze_ps", "i8"),  # when it froze
        ("stood", "f8"),  # bytes in its queue then, of which so much is left
        ("marks", "f8"),  # packets marked
        ("inside", "f8"),  # bytes that came by it and stand in the switch it leads to
        ("ended", "f8"),  # of these, those of flows that have ended, when the last of these did
        ("ended_ps", "i8"),  # when that was
        ("drained_ps", "i8"),  # and from when on none of them stands there
    ],
)
#: Rates of late that are kept; a power of two.
PAST = 64
#: Notifications of a queue pair that may be on their way at once while it is advanced by the law of its rates.
NOTICES = 32
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
