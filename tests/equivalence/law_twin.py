"""The law of rates once more, in plain Python: the specification of the kernels of turns, marks, ways and full queues.

What is known of a link or a queue pair is kept with it: rates of late in :class:`rates_twin.Rates`, levels with their links.
"""

from __future__ import annotations

import itertools
import math

from packet_twin import ARRIVAL, NOTICE, WORD, Packet, hashed
from rates_twin import NEVER, PAST

ODD = 0x9E3779B97F4A7C15
#: Logarithm of the chance to stay unmarked of what is as good as surely marked.
SURE = -50.0
#: The first draw of places among other packets; those of marks lie before.
PLACES = 1 << 32
#: Notifications that may be on their way at once.
NOTICES = 32


def drawn(seed, pair, number):
    """Return a queue pair's draw of a number, uniform from 0 to 1."""
    draw = hashed(seed + (pair.number + 1) * ODD & WORD)
    return (hashed(draw + number * ODD & WORD) >> 11) / 2**53


class Law:
    """How a :class:`skip_twin.SkippingTwin` advances flows by rate."""

    def led(self):
        return [flow for flow in self.live if flow.frozen and flow.part.kind == "law"]

    def capacity(self, link):
        return round(link.bps / 1000) / 8e9

    def advance_by_law(self, now):
        before = min((flow.part.skipped for flow in self.led()), default=now)
        if before >= now:
            return
        self.list_pairs(self.led())
        for step in range(self.skip.steps):
            since = before + (now - before) * step // self.skip.steps
            until = before + (now - before) * (step + 1) // self.skip.steps
            if since < until:
                self.step_by_law(since, until)
        self.now = now
        for flow in self.led():
            flow.part.skipped = now

    def step_by_law(self, since, until):
        led = self.led()
        self.share_ports(led)
        for pair in (pair for flow in led for pair in flow.pairs):
            self.send_by_law(pair, since, until)
            pair.sending.note(pair.step, since, until)
            for path, reached in zip(pair.paths, pair.reached, strict=True):
                self.carry_on(pair, path, reached, since, until)
        for link in dict.fromkeys(link for flow in led for link in self.links_of(flow) if not link.from_host):
            self.level(link, since, until)

    # Turns at NIC ports

    def has_bytes(self, pair):
        return (pair.flow if self.pooled else pair).unsent > 0

    def left_bytes(self, pair):
        """Return the bytes that a queue pair has still to send by rate, or its flow where they are pooled."""
        headed = self.mtu / self.payload
        if not self.pooled:
            return pair.unsent * headed - pair.by_rate
        left = pair.flow.unsent * headed
        for each in pair.flow.pairs:
            left -= each.by_rate
        return left

    def list_pairs(self, flows):
        """Find out which queue pairs have something to send."""
        for pair in (pair for flow in flows for pair in flow.pairs):
            led = pair.flow.frozen and pair.flow.part.kind == "law"
            pair.sends = self.has_bytes(pair) and (not led or self.left_bytes(pair) > 0)

    def is_paced(self, pair):
        return pair.rate is not None or pair.capped

    def asked(self, pair):
        """Return the rate that a queue pair's control, or its cap, asks for."""
        return pair.line if pair.rate is None else pair.rate

    def rate_of(self, pair):
        """Return the rate at which a queue pair's port sends for it."""
        return pair.scale / (1.0 / self.asked(pair) + pair.wait) if self.is_paced(pair) else pair.free_rate

    def share_ports(self, flows):
        """Share every NIC port among the queue pairs of some flows that have something to send."""
        ports = {pair.paths[0][0].link: [] for flow in flows for pair in flow.pairs}
        for pair in (pair for flow in flows for pair in flow.pairs):
            pair.rate_seen = 0.0
            if pair.sends:
                ports[pair.paths[0][0].link].append(pair)
        for port, pairs in ports.items():
            port.unpaced = sum(not self.is_paced(pair) for pair in pairs)
            self.mixed_ports += 0 < port.unpaced < len(pairs)
            self.share_port(port, pairs, self.capacity(port))

    def share_port(self, port, pairs, capacity):
        asked = paced = 0.0
        for pair in pairs:
            others = port.unpaced - (not self.is_paced(pair))
            pair.wait, pair.scale = (others + 0.5) / capacity if others else 0.0, 1.0
            asked += self.rate_of(pair) if self.is_paced(pair) else 0.0
        for pair in (pair for pair in pairs if self.is_paced(pair)):
            if not port.unpaced and len(pairs) > 1:
                rate = self.rate_of(pair)
                others = asked - rate
                mean = others / (len(pairs) - 1)
                apart = abs(rate - mean) / max(rate, mean)
                pair.wait = min(apart / self.skip.rates_apart, 1.0) * others / (2.0 * capacity * capacity)
                self.waits += pair.wait > 0
            paced += self.rate_of(pair)
        free = max(capacity - paced, capacity * port.unpaced / len(pairs)) if port.unpaced else 0.0
        for pair in pairs:
            if port.unpaced:
                pair.free_rate = free / port.unpaced
            else:
                pair.free_rate = max(capacity - (paced - self.rate_of(pair)), capacity / len(pairs))
            if paced > 0:
                pair.scale = min(1.0, (capacity - free) / paced)
            pair.rate_seen = self.rate_of(pair)

    # Sending

    def send_by_law(self, pair, since, until):
        """Let a queue pair send for a time, its control told of what it sends and of notifications."""
        pair.step, left = 0.0, self.left_bytes(pair)
        if not pair.sends or left <= 0:
            return
        self.find_marked(pair, since, until)
        at = since
        while at < until:
            rate = pace = self.rate_of(pair)
            due = min(until, max(self.told_at(pair), at))
            if at < pair.due and pair.pace > 0:
                pace, due = pair.pace, min(due, pair.due)
            heard, marked = self.heard_at(pair, rate, at), self.next_out(pair, at)
            due = min(due, heard, marked)
            pair.phase = (pair.phase + pair.leaving * (due - at)) % 1.0
            size = pace * (due - at)
            pair.step += size
            at = self.now = due
            if pair.rate is not None:
                pair.control.count += int(size)
            if at == marked:
                self.draw_mark(pair, at)
            elif at == self.told_at(pair):
                pair.told.pop(0)
                pair.due, pair.pace = self.next_due(pair, rate, at), pace
                self.tell(pair, "notified")
            elif at == heard:
                self.tell(pair, "sent", 0)
                pair.due, pair.pace = at + int(self.mtu / self.rate_of(pair)), 0.0
        if pair.step >= left:
            pair.done = since + int((until - since) * (left / pair.step))
            pair.step = left
        pair.by_rate += pair.step

    def heard_at(self, pair, rate, at):
        """Return when a control is next told of a packet sent that it wants to be told of."""
        control = pair.control
        if pair.rate is None:
            return NEVER
        counted = at + max(int((control.settings.byte_counter_bytes - control.count) / rate), 0)
        timed = control.timer_at + round(control.settings.rate_timer_s * 1e12)
        return self.next_due(pair, rate, max(min(counted, timed), at))

    def next_due(self, pair, rate, since):
        """Return when the first packet from a time on is sent."""
        gap = max(int(self.mtu / rate), 1)
        return pair.due + max(-(-(since - pair.due) // gap), 0) * gap

    # Marks

    def unmarked(self, link, depth):
        """Return the logarithm of the chance that a packet which leaves a queue of a depth is not marked."""
        if not self.needs.marks or depth <= link.kmin:
            return 0.0
        chance = link.pmax * (depth - link.kmin) / (link.kmax - link.kmin)
        if depth >= link.kmax or chance >= 1.0:
            return SURE
        return max(self.payload // self.settings.packet_payload_bytes * math.log(1.0 - chance), SURE)

    def find_marked(self, pair, since, until):
        """Find how many packets leave the last queues in a step, how likely one is marked, and its way to the receiver."""
        beside = (2.0 * drawn(self.settings.seed, pair, PLACES + pair.cuts) - 1.0) * self.skip.jitter_packets * self.mtu
        pair.leaving, pair.chance, pair.way, marked, way = 0.0, 0.0, 0, 0.0, 0.0
        for path in pair.paths:
            last = max((hop for hop, queue in enumerate(path) if queue.link.backlog > 0), default=None)
            if last is None:
                continue
            link = path[last].link
            unmarked = self.unmarked(link, link.depth + beside)
            begin, end = link.since, min(link.since + int(link.passing * (until - since)), since)
            came = end - begin
            for queue in reversed(path[:last]):
                begin, end = begin - self.way_of(queue.link), end - self.way_of(queue.link)
                stood = self.stood(queue.link, (begin + end) // 2, since)
                before = self.unmarked(queue.link, stood + beside) if stood > 0 else 0.0
                self.marked_before += before < 0
                unmarked += before
                begin, end = (time - queue.link.waits.at(time, since) for time in (begin, end))
            if unmarked < 0 and came > 0:
                rate = pair.sending.between(begin, end, since) * (link.passing / came) / (self.mtu * len(pair.paths))
                marked -= rate * unmarked
                way -= rate * unmarked * sum(self.way_of(queue.link) for queue in path[last:])
                pair.leaving += rate
        if marked > 0:
            pair.chance, pair.way = 1.0 - math.exp(-marked / pair.leaving), int(way / marked)

    def stood(self, link, time, now):
        """Return what stood in a queue at a time: what had come since what left it then."""
        return link.coming.between(time - link.waits.at(time, now), time, now)

    def way_of(self, link):
        """Return how long after a packet's first byte leaves it may go on from the other end of a link."""
        cuts_through = self.settings.forwarding == "cut-through" and not link.to_host
        return link.wire(self.settings.header_bytes if cuts_through else self.mtu) + link.latency

    def next_out(self, pair, at):
        """Return when the next packet leaves a queue that marks whose mark would be told of."""
        if pair.leaving == 0.0 or len(pair.told) == NOTICES:
            return NEVER
        ahead, early = 1.0 - pair.phase, pair.notice_at - pair.way - at
        if early > 0:
            ahead += max(math.ceil(early * pair.leaving - ahead), 0)
        return at + max(int(min(ahead / pair.leaving, 1e17)), 1)

    def draw_mark(self, pair, at):
        pair.phase = 0.0
        pair.draws += 1
        if drawn(self.settings.seed, pair, pair.draws) < pair.chance:
            pair.notice_at = at + pair.way + self.notice_gap
            self.be_told(pair, at + pair.way + pair.back)

    # Queues, first in, first out

    def begin_queue(self, link, now):
        """Let what stands before a link have come at the rate of late."""
        link.coming.begin(link.carried, now)
        link.since = link.froze = now
        link.depth, link.passing = link.backlog, 1.0
        if link.carried > 0 and link.backlog > 0:
            link.since -= int(min(link.backlog / link.carried, (PAST - 1.0) * self.apart))
            link.passing = self.capacity(link) / link.carried
        link.waits.begin(now - link.since, now)
        link.waits.empty_since = NEVER if link.backlog > 0 else 0

    def early(self, pair):
        """Return how long before its bytes a packet comes whole, as they go evenly and it does not."""
        return min(int(self.mtu / pair.rate_seen) // 2, pair.paths[0][0].link.wire(self.mtu)) if pair.rate_seen > 0 else 0

    def begin_carrying(self, pair, path, reached, now):
        """Let what has come to the links of a path have been sent so long ago as the way there is."""
        back = -self.early(pair)
        for hop, queue in enumerate(path):
            reached[hop] = now - back
            back += self.way_of(queue.link) + (now - queue.link.since if queue.link.backlog > 0 else 0)

    def carry_on(self, pair, path, reached, since, until):
        """Let what a queue pair has sent come to the links of a path, as late as the way there is."""
        back = self.way_of(path[0].link) - self.early(pair)
        for hop, queue in list(enumerate(path))[1:]:
            link = queue.link
            if until - back > reached[hop]:
                link.came += pair.sending.between(reached[hop], until - back, until) / len(pair.paths)
                reached[hop] = until - back
            back += self.way_of(link)
            if link.backlog > 0:
                back += since - link.since

    def level(self, link, since, until):
        """Let a queue rise, or fall, by what has come to its link in a step and what has left."""
        taken, there, before = self.capacity(link) * (until - since), link.backlog + link.came, link.backlog
        left = min(there, taken)
        link.law_marks += (1.0 - math.exp(link.unmarked)) * left / self.mtu
        link.backlog = max(there - taken, 0.0)
        link.coming.note(link.came, since, until)
        link.came = 0.0
        self.move_since(link, since, until, left)
        link.depth = link.backlog + (link.backlog - before) / 2.0
        link.unmarked = self.unmarked(link, link.depth)

    def move_since(self, link, since, until, left):
        """Find when that came which leaves a queue now, so much having left in a step."""
        before = since - link.since
        if link.backlog == 0.0:
            link.waits.empty_since = min(link.waits.empty_since, until)
            link.since, link.passing = until, 1.0
            link.waits.note(before, 0, since, until)
            return
        link.waits.empty_since = NEVER
        time = max(link.since, link.coming.oldest(until))
        for begin, end in link.coming.pieces(time, until):
            came = link.coming.at(begin, until) * (end - begin)
            time = end
            if came >= left:
                time = begin + (int((end - begin) * (left / came)) if came > 0 else 0)
                break
            left -= came
        link.passing, link.since = (time - link.since) / (until - since), time
        link.waits.note(before, until - time, since, until)

    def sent_at(self, path, hop, time, now):
        """Return when that left its host which comes to a link of a path at a time."""
        for queue in reversed(path[:hop]):
            time -= self.way_of(queue.link)
            time -= queue.link.waits.at(time, now)
        return time

    def came_between(self, pair, path, hop, since, until, now):
        """Return what of a queue pair came by a path to a link between two times."""
        reached = next(times for other, times in zip(pair.paths, pair.reached, strict=True) if other is path)
        end = min(self.sent_at(path, hop, until, now), reached[hop])
        return pair.sending.between(self.sent_at(path, hop, since, now), end, now) / len(pair.paths)

    def standing(self, link, now):
        """Return the times, each with a rate, in which what stands before a link has come since it froze."""
        return link.coming.pieces(max(link.since, link.froze) if link.backlog > 0 else now, now)

    # Buffers

    def count_standing(self, now):
        """Count what stands in each switch, what of it is in use, were all to move, and what came by each link."""
        led = self.led()
        standing, filled = {}, dict(self.used)
        for link in dict.fromkeys(link for flow in led for link in self.links_of(flow)):
            link.inside = self.ended(link, now)
            if not link.from_host:
                standing[link.source] = standing.get(link.source, 0.0) + link.backlog
                filled[link.source] += link.backlog - link.stood
        for pair in (pair for flow in led for pair in flow.pairs):
            for path in pair.paths:
                for hop, (before, queue) in enumerate(itertools.pairwise(path), 1):
                    link, switch = queue.link, before.link.target
                    inner = link.backlog > 0 and not before.link.to_host
                    if inner and self.is_much(switch, standing[switch], filled[switch]):
                        before.link.inside += self.came_between(pair, path, hop, link.since, now, now)
        return filled

    def leave_behind(self, pair, left, now):
        """Let what a queue pair has still to send and what is on its way come to the first full queue of each path.

        What of it stands in switches is kept in mind by the links by which it came.
        """
        for path, reached in zip(pair.paths, pair.reached, strict=True):
            rest = None
            for hop, (before, queue) in enumerate(itertools.pairwise(path), 1):
                link, came = queue.link, before.link
                if link.backlog > 0:
                    size = self.came_between(pair, path, hop, link.since, now, now)
                    if rest is None:
                        rest = left / len(pair.paths) + pair.sending.between(reached[hop], now, now) / len(pair.paths)
                        link.came += rest
                        size += rest
                    came.gone = self.ended(came, now) + size, now
                    came.drained = max(came.drained, now + int((link.backlog + link.came) / self.capacity(link)))

    def ended(self, link, now):
        """Return what of flows that have ended came by a link and still stands, as if it left evenly until all has."""
        size, since = link.gone
        return size * ((link.drained - now) / (link.drained - since)) if size and now < link.drained else 0.0

    def is_filled(self, link, filled):
        """Return whether what came by a link is near a pause."""
        return not link.to_host and link.inside > 0 and self.is_much(link.target, link.inside, filled[link.target])

    def is_forgotten(self, link, now):
        """Return whether when that came which leaves a queue will soon be older than any rate of late."""
        forgotten = link.backlog > 0 and link.since - link.coming.oldest(now) < 4 * self.apart
        self.forgotten += forgotten
        return forgotten

    # Queues of a part that thaws

    def lower(self, link, now):
        """Let arrive what stood before a link when it froze and has left."""
        since = max(link.since, link.froze)
        lasting = max(link.backlog - link.coming.between(since, now, now), 0.0)
        for queue in link.queues:
            while link.stood > lasting and queue.waiting:
                packet = queue.waiting.popleft()
                link.stood -= packet.size
                self.free(queue, packet)
                self.arrive_at_once(packet, packet.hop)

    def take_back(self, pair, now):
        """Take back of what a queue pair has sent what stands in queues."""
        for path in pair.paths:
            for hop, queue in enumerate(path):
                link = queue.link
                if link.backlog > 0:
                    pair.by_rate -= self.came_between(pair, path, hop, max(link.since, link.froze), now, now)

    def put_back(self, flows, now):
        """Put packets into the queues of flows that have thawed, and let newcomers send."""
        pairs = [pair for flow in flows for pair in flow.pairs]
        for link in dict.fromkeys(link for flow in flows for link in self.links_of(flow) if not link.from_host):
            self.fill(link, [pair for pair in pairs if self.crossings(pair, link)], now)
        for pair in pairs:
            if pair.state == "idle":
                self.rouse(pair)

    def crossings(self, pair, link):
        """Return the paths of a queue pair that cross a link, first the one that its next packet takes, and where."""
        turned = [pair.paths[(pair.sent + step) % len(pair.paths)] for step in range(len(pair.paths))]
        return [(path, hop) for path in turned for hop, queue in enumerate(path) if queue.link is link]

    def fill(self, link, pairs, now):
        """Let packets stand before a link in the order in which they came, those of several queue pairs in turns."""
        owing = dict.fromkeys(pairs, self.mtu / 2.0)
        for since, until in self.standing(link, now):
            coming = {}
            for pair in pairs:
                coming[pair] = 0.0
                for path in pair.paths:
                    for hop, queue in enumerate(path):
                        if queue.link is link:
                            coming[pair] += self.came_between(pair, path, hop, since, until, now)
            rounds = int(max(coming.values(), default=0.0) / self.mtu) + 1
            for pair in pairs * rounds:
                owing[pair] += coming[pair] / rounds
                while owing[pair] >= self.mtu:
                    owing[pair] -= self.mtu
                    self.stand(pair, *self.crossings(pair, link)[0])

    def stand(self, pair, path, hop):
        """Let a queue pair have sent a packet more that stands in a queue of its path, if there is one and room for it."""
        source = pair.flow if self.pooled else pair
        packet = Packet(pair, pair.sent, self.payload, self.mtu, path)
        packet.hop = hop
        came, switch = path[hop - 1], path[hop].link.source
        full = came.held - came.extra + self.mtu > self.threshold(switch) or self.used[switch] + self.mtu > self.shared[switch]
        if source.unsent <= self.payload or full:
            return
        self.put_back_packets += 1
        self.admit(packet, came, path[hop])
        source.unsent -= self.payload
        pair.payloads.append(self.payload)
        pair.sent += 1
        for queue in path[:hop]:
            queue.link.payload += self.payload
            self.hops += 1
        path[hop].waiting.append(packet)
        path[hop].depth += self.mtu
        self.stir(path[hop].link)

    # Notifications under way

    def told_at(self, pair):
        return pair.told[0] if pair.told else NEVER

    def take_in(self, event):
        """Let a notification of a part that freezes be on its way, or that of a marked packet; False if the event stays."""
        time, kind, number, *_, action = event
        if kind == NOTICE:
            self.be_told(self.pair(number), time)
            self.told_at_freeze += 1
            return True
        if kind == ARRIVAL and action.args[0].marked:
            packet = action.args[0]
            packet.marked, pair = False, packet.pair
            if time >= pair.notice_at:
                self.be_told(pair, time + pair.back)
                self.told_at_freeze += 1
        return False

    def note_notice(self, pair):
        """Let a receiver have sent the notification that is on its way."""
        for told in pair.told:
            pair.notice_at = max(pair.notice_at, told - pair.back + self.notice_gap)

    @property
    def notice_gap(self):
        return round(self.needs.notification_gap_s * 1e12)

    def be_told(self, pair, time):
        """Let a notification be on its way, one with those less than a receiver's gap apart; of too many the last is lost."""
        same = [told for told in pair.told if abs(told - time) < max(self.notice_gap, 1)]
        if same:
            pair.told[pair.told.index(same[0])] = min(same[0], time)
        else:
            pair.told = sorted([*pair.told, time])[:NOTICES]
            self.most_told = max(self.most_told, len(pair.told))

    def notify_on(self, flows):
        """Let notifications on their way go on as events."""
        for pair in (pair for flow in flows for pair in flow.pairs):
            path = 0 if len(pair.paths) > 1 else None
            for told in pair.told:
                due = max(told, self.now)
                self.at(due, NOTICE, pair.number, lambda pair=pair, path=path: self.tell(pair, "notified", path=path))
                self.told_at_thaw += 1
            pair.told = []
