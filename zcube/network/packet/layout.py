"""The tables of the packet model and the one record that leads to them, by which kernels find all they need."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from zcube.network.packet.state import (
    BUCKET,
    CLAIM,
    DESCRIBED,
    DIGITS,
    ECHO,
    EVENTS,
    FLOW,
    LANE,
    LANED,
    LINK,
    PACKET,
    PAIR,
    PART,
    PAUSE_LOG,
    PROBE,
    QUEUE,
    READING,
    RECOVERY,
    SORTED_AT_ONCE,
    SWITCH,
    TIMED,
    WINDOW,
)

_WHOLE, _LONG, _BYTE, _BITS, _RATE = (np.dtype([("item", form)]) for form in ("i4", "i8", "u1", "u8", "f4"))

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
        "bits": _BITS,  # a bit per bucket that holds events
        "lanes": LANE,
        "laned": LANED,  # events in lanes, in chunks
        "spans": _WHOLE,  # first event of each of the long buckets beyond, NONE
        "far": _WHOLE,  # heap of the events beyond those
        "runs": _WHOLE,  # scratch of the sort
        "sorting": _BITS,  # likewise, twice as many as are sorted at once
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
        "listed": _WHOLE,  # scratch: queue pairs with rates, twice their number, plus 1 if one has something to send; likewise
        "reached": _LONG,  # by place in hops, when what has come to it last was sent, likewise
        "late": _RATE,  # rates of late and waits of links, then rates of queue pairs, PAST of each, likewise
        "told": _LONG,  # of each queue pair, when NOTICES notifications on their way arrive, the first first, NEVER; likewise
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
        ("ready", "i8"),  # where queue pairs span ports, the one whose READY is due now and not filed, NONE between events
        ("bucket", "i8"),  # absolute number of the calendar's current bucket
        ("reach", "i8"),  # buckets that are taken in hand at once
        ("most_reach", "i8"),
        ("current", "i8"),  # first event of the current bucket, sorted
        ("ahead", "i8"),  # in scratch: the sorted event taken next, and where these end; where is fetched ahead, else 0
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
        ("past_shift", "i8"),  # time between rates that are kept of late, as the power of two of picoseconds
        ("steps", "i8"),  # of the law, per window
        ("listed", "i8"),  # queue pairs in that list
        ("stamp", "i8"),  # number of the last step, downwards
        ("kept", "i8"),  # windows before a flow ends in which it goes packet by packet
        ("jitter", "f8"),  # packets by which queues are deeper or shallower for a queue pair than their levels
        ("rates_apart", "f8"),  # part of the larger rate by which those of a port differ that do not fall into step
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
