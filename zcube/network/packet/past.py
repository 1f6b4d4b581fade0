"""Rates of late, where parts are advanced by the law of their rates: ways take time, and queues are first in, first out.

Of every queue pair and every link the last ``PAST`` rates are kept, at which it sent, or bytes came to it, ``1 << past_shift``
picoseconds apart. What comes to a link was sent a while ago, what leaves its queue came to it a while ago, and of what leaves a
queue pair has the share that it had of what came then.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import (
    claim_of,
    coming_of,
    hop_of,
    link_of,
    pair_of,
    path_of,
    probe_of,
    reached_of,
    sending_of,
)
from zcube.network.packet.state import NONE, PAST, Net
from zcube.network.packet.wire import wire_ps


@inner
def _place_of(net: Net, time_ps: int) -> int:
    """Return which of the rates of late is that of a time."""
    return max(time_ps, 0) >> net.past_shift & (PAST - 1)


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
        sending_of(net, pair * PAST + ((now - back) & (PAST - 1))).item = rate if was_sending else 0.0


@inner
def remember_came(net: Net, link: int, rate: float) -> None:
    """Let bytes have come to a link that now stands still at a rate, as long as its queue lasts at least."""
    claim = claim_of(net, link)
    for at in range(PAST):
        coming_of(net, link * PAST + at).item = rate
    claim.since_ps = claim.froze_ps = net.now_ps
    claim.depth, claim.passing, claim.way_ps = claim.backlog, 1.0, _way_ps(net, link)
    if rate > 0 and claim.backlog > 0:
        claim.since_ps -= int(min(claim.backlog / rate, float((PAST - 1) << net.past_shift)))
        claim.passing = link_of(net, link).kbps / 8e9 / rate


@inner
def note_sent(net: Net, pair: int, size: float, from_ps: int, to_ps: int) -> None:
    """Keep what a queue pair has sent in a step."""
    rate = size / (to_ps - from_ps)
    while from_ps < to_ps:
        at, end_ps = pair * PAST + _place_of(net, from_ps), min(end_of(net, from_ps), to_ps)
        sending_of(net, at).item = _mean(net, sending_of(net, at).item, rate, from_ps, end_ps)
        from_ps = end_ps


@inner
def note_came(net: Net, link: int, size: float, from_ps: int, to_ps: int) -> None:
    """Keep what came to a link in a step."""
    rate = size / (to_ps - from_ps)
    while from_ps < to_ps:
        at, end_ps = link * PAST + _place_of(net, from_ps), min(end_of(net, from_ps), to_ps)
        coming_of(net, at).item = _mean(net, coming_of(net, at).item, rate, from_ps, end_ps)
        from_ps = end_ps


@inner
def _mean(net: Net, before: float, rate: float, from_ps: int, to_ps: int) -> float:
    """Return the mean of a rate of late up to a time and of another until a later one."""
    begun_ps = from_ps & ((1 << net.past_shift) - 1)
    return (before * begun_ps + rate * (to_ps - from_ps)) / (begun_ps + to_ps - from_ps)


@inner
def sent_at(net: Net, pair: int, time_ps: int, now_ps: int) -> float:
    """Return the rate at which a queue pair sent, the oldest if nothing so old is known."""
    return sending_of(net, pair * PAST + _place_of(net, max(time_ps, _oldest_ps(net, now_ps)))).item


@inner
def _sent_between(net: Net, pair: int, from_ps: int, to_ps: int, now_ps: int) -> float:
    """Return the bytes that a queue pair has sent between two times."""
    found, oldest_ps = 0.0, _oldest_ps(net, now_ps)
    while from_ps < to_ps:
        end_ps = min(end_of(net, from_ps) if from_ps >= oldest_ps else oldest_ps, to_ps)
        found += sent_at(net, pair, from_ps, now_ps) * (end_ps - from_ps)
        from_ps = end_ps
    return found


@inner
def came_since(net: Net, link: int, time_ps: int, now_ps: int) -> float:
    """Return the bytes that have come to a link since a time."""
    found = 0.0
    while time_ps < now_ps:
        end_ps = min(end_of(net, time_ps), now_ps)
        found += coming_of(net, link * PAST + _place_of(net, time_ps)).item * (end_ps - time_ps)
        time_ps = end_ps
    return found


@inner
def move_since(net: Net, link: int, from_ps: int, to_ps: int, taken: float) -> None:
    """Move on when that came to a queue which leaves it now, after a step in which so many bytes have left."""
    claim = claim_of(net, link)
    if claim.backlog == 0.0:
        claim.since_ps, claim.passing = to_ps, 1.0
        return
    since_ps = max(claim.since_ps, _oldest_ps(net, to_ps))
    while since_ps < to_ps:
        end_ps = min(end_of(net, since_ps), to_ps)
        came = coming_of(net, link * PAST + _place_of(net, since_ps)).item * (end_ps - since_ps)
        if came >= taken:
            since_ps += int((end_ps - since_ps) * (taken / came)) if came > 0 else 0
            break
        taken -= came
        since_ps = end_ps
    claim.passing = (since_ps - claim.since_ps) / (to_ps - from_ps)
    claim.since_ps = since_ps


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
            size = _sent_between(net, pair, reached_of(net, hop).item, to_ps - back_ps, to_ps)
            claim.came += size / pair_of(net, pair).paths
            reached_of(net, hop).item = to_ps - back_ps
        back_ps += claim.way_ps
        if claim.backlog > 0:
            back_ps += from_ps - claim.since_ps
        hop += 1


@inner
def on_its_way(net: Net, pair: int, hop: int, now_ps: int) -> float:
    """Return the bytes that a queue pair has sent by a path and that have not come to the link at a place in hops."""
    return _sent_between(net, pair, reached_of(net, hop).item, now_ps, now_ps) / pair_of(net, pair).paths


@inner
def came_between(net: Net, pair: int, path: int, hop: int, from_ps: int, to_ps: int, now_ps: int) -> float:
    """Return the bytes of a queue pair that came by a path to the link at a place in hops between two times.

    Waits in queues before it are taken as at present.
    """
    passing, at, back_ps = 1.0 / pair_of(net, pair).paths, path_of(net, path).item, 0
    while at < hop:
        claim = claim_of(net, hop_of(net, at).item >> net.class_shift)
        back_ps += claim.way_ps
        if claim.backlog > 0:
            back_ps += now_ps - claim.since_ps
            passing *= claim.passing
        at += 1
    to_ps = min(to_ps - back_ps, reached_of(net, hop).item)
    return _sent_between(net, pair, from_ps - back_ps, to_ps, now_ps) * passing
