"""Rates of late, where parts are advanced by the law of their rates: ways take time, and queues are first in, first out.

Of every queue pair and every link the last ``PAST`` rates are kept, at which it sent, or bytes came to it, ``1 << past_shift``
picoseconds apart, and how long what left the link's queue had stood in it. What comes to a link was sent a while ago, what
leaves its queue came to it a while ago, and of what leaves a queue pair has the share that it had of what came then.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.records import (
    claim_of,
    hop_of,
    late_of,
    link_of,
    pair_of,
    path_of,
    probe_of,
    reached_of,
)
from zcube.network.packet.state import NEVER, NONE, PAST, Net
from zcube.network.packet.wire import wire_ps

#: Rates of late that are to lie before what leaves a queue came to it.
KNOWN_RATES = 4


@inner
def _coming(net: Net, link: int) -> int:
    """Return the first row of the rates at which bytes came to a link."""
    return 2 * link * PAST


@inner
def _waits(net: Net, link: int) -> int:
    """Return the first row of how long what left a link's queue had stood in it, at the end of the time of each rate."""
    return (2 * link + 1) * PAST


@inner
def _sending(net: Net, pair: int) -> int:
    """Return the first row of the rates at which a queue pair sent."""
    return (2 * (net.queues >> net.class_shift) + pair) * PAST


@inner
def _place_of(net: Net, time_ps: int) -> int:
    """Return which of the rates of late is that of a time."""
    return time_ps >> net.past_shift & (PAST - 1)


@inner
def end_of(net: Net, time_ps: int) -> int:
    """Return when the rate of late after that of a time begins."""
    return ((time_ps >> net.past_shift) + 1) << net.past_shift


@inner
def _oldest_ps(net: Net, now_ps: int) -> int:
    return now_ps - ((PAST - 1) << net.past_shift)


@inner
def _way_ps(net: Net, link: int) -> int:
    """Return how long after a switch or a host begins to send a packet the next one may."""
    taken_ps = link_of(net, link).full_ps
    if net.cut_through == 1 and link_of(net, link).to_switch != NONE:
        taken_ps = wire_ps(net, link, net.header)
    return taken_ps + link_of(net, link).latency_ps


@inner
def remember_sent(net: Net, pair: int, start_ps: int, rate: float) -> None:
    """Let a queue pair have sent at a rate since a time, and nothing before."""
    now = net.now_ps >> net.past_shift
    for back in range(PAST):
        was_sending = (now - back) << net.past_shift >= start_ps
        late_of(net, _sending(net, pair) + ((now - back) & (PAST - 1))).item = rate if was_sending else 0.0


@inner
def remember_came(net: Net, link: int, rate: float) -> None:
    """Let bytes have come to a link that now stands still at a rate, as long as its queue lasts at least, which was as deep."""
    claim = claim_of(net, link)
    claim.since_ps = claim.froze_ps = net.now_ps
    claim.depth, claim.passing, claim.way_ps = claim.backlog, 1.0, _way_ps(net, link)
    claim.empty_ps = NEVER if claim.backlog > 0 else 0
    if rate > 0 and claim.backlog > 0:
        claim.since_ps -= int(min(claim.backlog / rate, float((PAST - 1) << net.past_shift)))
        claim.passing = link_of(net, link).kbps / 8e9 / rate
    for at in range(PAST):
        late_of(net, _coming(net, link) + at).item = rate
        late_of(net, _waits(net, link) + at).item = net.now_ps - claim.since_ps


@inner
def note_sent(net: Net, pair: int, size: float, from_ps: int, to_ps: int) -> None:
    """Keep what a queue pair has sent in a step."""
    _note(net, _sending(net, pair), size / (to_ps - from_ps), from_ps, to_ps)


@inner
def note_came(net: Net, link: int, size: float, from_ps: int, to_ps: int) -> None:
    """Keep what came to a link in a step."""
    _note(net, _coming(net, link), size / (to_ps - from_ps), from_ps, to_ps)


@inner
def _note_wait(net: Net, link: int, from_ps: int, to_ps: int, before_ps: int, after_ps: int) -> None:
    """Keep how long what left a queue in a step had stood in it, from its beginning to its end."""
    time_ps = from_ps
    while time_ps < to_ps:
        place, time_ps = _place_of(net, time_ps), min(end_of(net, time_ps), to_ps)
        wait_ps = before_ps + (after_ps - before_ps) * ((time_ps - from_ps) / (to_ps - from_ps))
        late_of(net, _waits(net, link) + place).item = wait_ps


@inner
def _note(net: Net, first: int, rate: float, from_ps: int, to_ps: int) -> None:
    while from_ps < to_ps:
        at, end_ps = first + _place_of(net, from_ps), min(end_of(net, from_ps), to_ps)
        late_of(net, at).item = _mean(net, late_of(net, at).item, rate, from_ps, end_ps)
        from_ps = end_ps


@inner
def _mean(net: Net, before: float, rate: float, from_ps: int, to_ps: int) -> float:
    """Return the mean of a rate of late up to a time and of another until a later one."""
    begun_ps = from_ps & ((1 << net.past_shift) - 1)
    return (before * begun_ps + rate * (to_ps - from_ps)) / (begun_ps + to_ps - from_ps)


@inner
def sent_between(net: Net, pair: int, from_ps: int, to_ps: int, now_ps: int) -> float:
    """Return the bytes that a queue pair has sent between two times."""
    return _between(net, _sending(net, pair), from_ps, to_ps, now_ps)


@inner
def _between(net: Net, first: int, from_ps: int, to_ps: int, now_ps: int) -> float:
    """Return the bytes between two times, by the oldest rate those before it."""
    found, oldest_ps = 0.0, _oldest_ps(net, now_ps)
    while from_ps < to_ps:
        end_ps = min(end_of(net, from_ps) if from_ps >= oldest_ps else oldest_ps, to_ps)
        found += late_of(net, first + _place_of(net, max(from_ps, oldest_ps))).item * (end_ps - from_ps)
        from_ps = end_ps
    return found


@inner
def wait_at(net: Net, link: int, time_ps: int, now_ps: int) -> int:
    """Return how long what left a link's queue at a time had stood in it, as it is known by now."""
    if time_ps >= claim_of(net, link).empty_ps:
        return 0
    oldest_ps = end_of(net, _oldest_ps(net, now_ps))
    time_ps = max(min(time_ps, now_ps), oldest_ps + 1) - 1
    first, begin_ps = _waits(net, link), time_ps >> net.past_shift << net.past_shift
    # Kept in single precision, told apart in double.
    before = np.float64(late_of(net, first + _place_of(net, begin_ps - 1)).item)
    after = np.float64(late_of(net, first + _place_of(net, begin_ps)).item)
    return int(before + (after - before) * ((time_ps + 1 - begin_ps) / (min(end_of(net, begin_ps), now_ps) - begin_ps)))


@inner
def stood_at(net: Net, link: int, time_ps: int, now_ps: int) -> float:
    """Return the bytes that stood in a link's queue at a time: those that had come since what left it then."""
    return _between(net, _coming(net, link), time_ps - wait_at(net, link, time_ps, now_ps), time_ps, now_ps)


@inner
def _left_before_ps(net: Net, first: int, hop: int, time_ps: int, now_ps: int) -> int:
    """Return when that was sent from the first place in hops of a path which comes to the link at a place in hops at a time."""
    while hop > first:
        hop -= 1
        link = hop_of(net, hop).item >> net.class_shift
        time_ps -= claim_of(net, link).way_ps
        time_ps -= wait_at(net, link, time_ps, now_ps)
    return time_ps


@inner
def came_since(net: Net, link: int, time_ps: int, now_ps: int) -> float:
    """Return the bytes that have come to a link since a time."""
    return _between(net, _coming(net, link), time_ps, now_ps, now_ps)


@inner
def move_since(net: Net, link: int, from_ps: int, to_ps: int, taken: float) -> None:
    """Move on when that came to a queue which leaves it now, after a step in which so many bytes have left."""
    claim = claim_of(net, link)
    before_ps = from_ps - claim.since_ps
    if claim.backlog == 0.0:
        if claim.empty_ps == NEVER:
            claim.empty_ps = to_ps
        claim.since_ps, claim.passing = to_ps, 1.0
        _note_wait(net, link, from_ps, to_ps, before_ps, 0)
        return
    claim.empty_ps = NEVER
    since_ps = max(claim.since_ps, _oldest_ps(net, to_ps))
    while since_ps < to_ps:
        end_ps = min(end_of(net, since_ps), to_ps)
        came = late_of(net, _coming(net, link) + _place_of(net, since_ps)).item * (end_ps - since_ps)
        if came >= taken:
            since_ps += int((end_ps - since_ps) * (taken / came)) if came > 0 else 0
            break
        taken -= came
        since_ps = end_ps
    claim.passing = (since_ps - claim.since_ps) / (to_ps - from_ps)
    claim.since_ps = since_ps
    _note_wait(net, link, from_ps, to_ps, before_ps, to_ps - since_ps)


@inner
def is_forgotten(net: Net, link: int) -> bool:
    """Return whether when that came which leaves a queue now will soon no longer be known."""
    claim = claim_of(net, link)
    return claim.backlog > 0 and claim.since_ps - _oldest_ps(net, net.now_ps) < KNOWN_RATES << net.past_shift


@inner
def _early_ps(net: Net, pair: int) -> int:
    """Return how long before its bytes at its rate a packet comes whole: half of the time to the next, or all it takes."""
    rate = probe_of(net, pair).rate
    if rate <= 0:
        return 0
    return min(int(net.mtu / rate) // 2, link_of(net, pair_of(net, pair).queue >> net.class_shift).full_ps)


@inner
def begin_carrying(net: Net, pair: int, path: int, now_ps: int) -> None:
    """Let what has come to the links of a path by now have been sent so long ago as ways and waits to them are."""
    back_ps, hop = -_early_ps(net, pair), path_of(net, path).item
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        reached_of(net, hop).item = now_ps - back_ps
        back_ps += claim.way_ps
        if claim.backlog > 0:
            back_ps += now_ps - claim.since_ps
        hop += 1


@inner
def carry_on(net: Net, pair: int, path: int, from_ps: int, to_ps: int) -> None:
    """Let bytes of a queue pair come to the links behind its port in a step; all of them come once, however waits change."""
    hop = path_of(net, path).item
    back_ps = claim_of(net, hop_of(net, hop).item >> net.class_shift).way_ps - _early_ps(net, pair)
    hop += 1
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        if to_ps - back_ps > reached_of(net, hop).item:
            size = sent_between(net, pair, reached_of(net, hop).item, to_ps - back_ps, to_ps)
            claim.came += size / pair_of(net, pair).paths
            reached_of(net, hop).item = to_ps - back_ps
        back_ps += claim.way_ps
        if claim.backlog > 0:
            back_ps += from_ps - claim.since_ps
        hop += 1


@inner
def on_its_way(net: Net, pair: int, hop: int, now_ps: int) -> float:
    """Return the bytes that a queue pair has sent by a path and that have not come to the link at a place in hops."""
    return sent_between(net, pair, reached_of(net, hop).item, now_ps, now_ps) / pair_of(net, pair).paths


@inner
def came_between(net: Net, pair: int, path: int, hop: int, from_ps: int, to_ps: int, now_ps: int) -> float:
    """Return the bytes of a queue pair that came by a path to the link at a place in hops between two times."""
    first = path_of(net, path).item
    from_ps = _left_before_ps(net, first, hop, from_ps, now_ps)
    to_ps = min(_left_before_ps(net, first, hop, to_ps, now_ps), reached_of(net, hop).item)
    return sent_between(net, pair, from_ps, to_ps, now_ps) / pair_of(net, pair).paths
