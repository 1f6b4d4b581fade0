"""Advancing what is steady by rate once more, in plain Python: the specification of the kernels of parts, looks and the law.

Parts are connected sets of flows, members are sets of flows, and what a frozen part holds are events taken out of the heap.
Nothing is shared with the kernels but the settings and the hash. Like :mod:`packet_twin` it leaves out acknowledgements as
packets, and cells.
"""

from __future__ import annotations

import heapq
import math
from types import SimpleNamespace

from packet_twin import ARRIVAL, READY, START, WAKE, WORD, Packet, Twin, hashed

NEVER = 1 << 62
ODD = 0x9E3779B97F4A7C15


def drawn(seed, pair):
    """A draw from the exponential distribution of mean 1."""
    draw = hashed(seed + (pair.number + 1) * ODD & WORD)
    draw = hashed(draw + pair.draws * ODD & WORD)
    pair.draws += 1
    return -math.log(((draw >> 11) + 0.5) / 2**53)


class Part:
    def __init__(self, first):
        self.first, self.members, self.look, self.kind, self.frozen_at = first, None, None, "moving", None
        self.age = self.calm = self.pauses_before = self.marks_before = 0


class SkippingTwin(Twin):
    """A twin that looks at its flows a window apart."""

    def __init__(self, link_set, routes, flows, settings, path_split="pooled"):
        self.skip, self.live, self.parts, self.looks, self.look_at = settings.skip, [], {}, 0, NEVER
        self.skips, self.joins, self.kinds_seen = 0, 0, set()
        self.starts = sorted((round(start * 1e12), number) for number, start in enumerate(flows.start_s))
        full, up = settings.unit_bytes * 8, link_set.capacity_bps > 0
        packets = self.skip.window_packets * full / link_set.capacity_bps[link_set.leaves_gpu & up].min()
        hop = (full / link_set.capacity_bps[up] + link_set.latency_s[up]).max()
        self.window = round(max(packets, 8 * hop) * 1e12)
        self.mtu, self.payload = settings.unit_bytes, settings.unit_payload_bytes
        super().__init__(link_set, routes, flows, settings, path_split)

    def run(self):
        while True:
            if self.starts:
                self.look_at = min(self.look_at, self.starts[0][0] + self.window)
            if self.heap and self.heap[0][0] <= self.look_at:
                self.now, kind, *_, action = event = heapq.heappop(self.heap)
                part = self.in_way(self.flows[event[2]]) if kind == START else None
                if part and not self.join(self.flows[event[2]], self.now):
                    self.thaw(part, self.now)
                    heapq.heappush(self.heap, event)
                elif part:
                    continue
                else:
                    action()
            elif self.live:
                self.look(self.look_at)
            elif self.heap:
                self.look_at = NEVER
            else:
                return

    def admit_flow(self, flow):
        flow.part, flow.frozen = None, False
        self.live.append(flow)
        for pair in flow.pairs:
            pair.rate_seen, pair.scale, pair.by_rate, pair.step = 0.0, 1.0, 0.0, 0.0
            pair.gap, pair.told, pair.draws = 0, NEVER, 0
        super().admit_flow(flow)

    def start(self, flow):
        self.starts.remove((flow.start, flow.number))
        super().start(flow)

    def complete(self, flow):
        place, last = self.live.index(flow), self.live.pop()
        if last is not flow:
            self.live[place] = last
        super().complete(flow)

    def in_way(self, flow):
        return next((part for link in self.links_of(flow) if (part := getattr(link, "frozen", None))), None)

    def links_of(self, flow):
        return [queue.link for pair in flow.pairs for path in pair.paths for queue in path]

    def has_bytes(self, pair):
        return (pair.flow if self.pooled else pair).unsent > 0

    def capacity(self, link):
        return round(link.bps / 1000) / 8e9

    def led(self):
        return [flow for flow in self.live if flow.frozen and flow.part.kind == "law"]

    # Looks

    def look(self, now):
        self.advance_by_law(now)
        self.now = now
        self.looks += 1
        self.thaw_due(now)
        self.divide()
        for flow in [flow for flow in self.led() if self.left(flow) <= self.window]:
            self.end(flow, now + max(int(self.left(flow)), 0) + self.behind(flow))
            self.now = now
        chosen = self.judge()
        if chosen and self.measure(chosen, now):
            self.freeze(now)
        self.look_at = now + self.window
        if all(flow.frozen for flow in self.live):
            self.look_at = max(self.look_at, min((flow.part.until for flow in self.live), default=NEVER))

    def thaw_due(self, now):
        for flow in list(self.live):
            if flow.frozen:
                part, due = flow.part, flow.part.until <= now
                if part.kind == "law":
                    due, part.until = False, now + self.window
                tight = any(
                    self.is_near(queue) or self.is_deep(queue.link, queue.link.backlog)
                    for pair in flow.pairs
                    for path in pair.paths
                    for queue in path
                )
                if due or tight:
                    self.thaw(part, now)
                    if tight:
                        part.look = None

    def divide(self):
        weighed = [flow for flow in self.live if not flow.frozen or flow.part.kind == "law"]
        groups = {}
        for flow in weighed:
            if flow.frozen:
                groups.setdefault(flow.part.first, ([], set()))[0].append(flow)
                continue
            links, members = set(self.links_of(flow)), [flow]
            for first, (others, theirs) in list(groups.items()):
                if theirs & links:
                    members, links = others + members, links | theirs
                    del groups[first]
            groups[min(member.number for member in members)] = members, links
        ports = {}
        for pair in (pair for flow in weighed for pair in flow.pairs if self.has_bytes(pair)):
            port = ports.setdefault(pair.paths[0][0].link, SimpleNamespace(paced=0.0, free=0, pairs=0))
            port.pairs += 1
            if pair.rate is not None or pair.capped:
                port.paced += pair.line if pair.rate is None else pair.rate
            else:
                port.free += 1
        self.found = []
        for first in sorted(groups):
            part = self.parts.setdefault(first, Part(first))
            part.was, part.age = (part.members, part.age) if part.look == self.looks - 1 else (None, 0)
            part.look, part.flows = self.looks, sorted(groups[first][0], key=self.live.index)
            part.members = {flow.number for flow in part.flows}
            self.sum_up(part, ports)
            self.found.append(part)

    def sum_up(self, part, ports):
        pairs = [pair for flow in part.flows for pair in flow.pairs]
        part.ports, load = ports, dict.fromkeys((link for flow in part.flows for link in self.links_of(flow)), 0.0)
        for pair in pairs:
            pair.rate_seen, pair.scale = 0.0, 1.0
            if self.has_bytes(pair):
                link = pair.paths[0][0].link
                port, capacity = ports[link], self.capacity(link)
                free = max(capacity - port.paced, capacity * port.free / port.pairs) if port.free else 0.0
                if pair.rate is None and not pair.capped:
                    pair.rate_seen = free / port.free
                else:
                    pair.rate_seen = pair.line if pair.rate is None else pair.rate
                    pair.scale = min(1.0, (capacity - free) / port.paced)
            for path in pair.paths:
                for queue in path:
                    load[queue.link] += pair.rate_seen / len(pair.paths)
        queues = [queue for link in load for queue in link.queues]
        part.pauses, part.marks = sum(queue.pauses for queue in queues), sum(queue.marks for queue in queues)
        marking = [queue for queue in queues if self.needs.marks and queue.depth + 2 * self.mtu > queue.link.kmin]
        part.marking = bool(marking)
        part.bursting = any(queue.depth > queue.link.kmin + (queue.link.kmax - queue.link.kmin) / 4 for queue in marking)
        part.busy = any(self.is_near(queue) or self.is_deep(queue.link, queue.depth) for queue in queues)
        part.over = any(rate > self.capacity(link) * (1 + 1e-6) for link, rate in load.items())
        part.steered = any(pair.rate is not None for pair in pairs)

    def is_deep(self, link, depth):
        return not link.from_host and depth > 0 and depth + self.mtu > self.skip.near * self.threshold(link.source)

    def is_near(self, queue):
        if queue.paused or queue.stopped or queue.extra or queue.frames != queue.applied:
            return True
        link = queue.link
        return not link.to_host and queue.held > 0 and queue.held + self.mtu > self.skip.near * self.threshold(link.target)

    def judge(self):
        chosen = []
        for part in self.found:
            if part.kind == "law":
                continue
            part.age, part.calm = part.age + 1, part.calm + 1
            if part.marking or part.marks != part.marks_before:
                part.calm = 0
            if part.members != part.was or part.pauses != part.pauses_before or part.busy:
                part.age = part.calm = 0
            part.marks_before, part.pauses_before = part.marks, part.pauses
            if self.needs.acknowledged or part.age < self.skip.calm_windows:
                continue
            if not part.steered and not part.over and part.calm >= self.skip.calm_windows:
                part.kind = "periodic"
            elif not part.bursting and (not part.over or (self.needs.marks and part.steered)):
                part.kind = "law"
            else:
                continue
            chosen.append(part)
        return chosen

    def measure(self, chosen, now):
        found = False
        for part in chosen:
            if part.kind == "periodic":
                self.find_period(part)
            left = min(now + max(int(self.left(flow)) - self.skip.kept_windows * self.window, 0) for flow in part.flows)
            if left < now + 2 * self.window:
                part.kind = "moving"
                continue
            part.frozen_at, part.skipped, part.held = now, now, []
            part.until, found = now + self.window if part.kind == "law" else left, True
            self.skips += 1
            self.kinds_seen.add(part.kind)
        return found

    def find_period(self, part):
        part.period = 1
        for pair in (pair for flow in part.flows for pair in flow.pairs):
            pair.gap = 0
            if self.has_bytes(pair):
                link = pair.paths[0][0].link
                pair.gap = part.ports[link].free * link.wire(self.mtu)
                if pair.capped:
                    part.kind = "law"
                    return
                part.period = math.lcm(part.period, pair.gap)
                if part.period > self.window:
                    part.kind = "law"
                    return

    def left(self, flow):
        headed, total = self.mtu / self.payload, 0.0
        rates = {pair: pair.rate_seen * pair.scale for pair in flow.pairs}
        if not any(rates.values()):
            return 0.0
        if self.pooled:
            total = flow.unsent * headed
            for pair in flow.pairs:
                total -= pair.by_rate
            return total / sum(rates.values())
        return max([0.0, *((pair.unsent * headed - pair.by_rate) / rate for pair, rate in rates.items() if rate > 0)])

    def behind(self, flow):
        found = 0
        for path in (path for pair in flow.pairs for path in pair.paths):
            taken = -path[0].link.wire(self.mtu)
            for queue in path:
                link = queue.link
                taken += link.latency + link.wire(self.mtu) + int(link.backlog / self.capacity(link))
            found = max(found, taken)
        return found

    # Parts that stand still

    def freeze(self, now):
        for part in self.found:
            if part.kind == "moving" or part.frozen_at != now:
                continue
            for flow in part.flows:
                flow.part, flow.frozen = part, True
                for pair in flow.pairs:
                    pair.told, pair.due = NEVER, now
                for link in self.links_of(flow):
                    if not getattr(link, "frozen", None):
                        self.hold(link, part)
        moving = []
        for event in self.heap:
            part = self.holder(event)
            (part.held if part else moving).append(event)
            if part and event[1] == READY:
                self.pair(event[2]).due = event[0]
        self.heap = moving
        heapq.heapify(self.heap)

    def hold(self, link, part):
        link.frozen, link.passing, link.unmarked = part, 1.0, 0.0
        link.came = link.last = link.law_marks = 0.0
        link.backlog = link.stood = 0 if link.from_host else float(sum(queue.depth for queue in link.queues))

    def holder(self, event):
        """The frozen part that an event belongs to."""
        kind, number = event[1], event[2]
        if kind in (ARRIVAL, WAKE):
            return getattr(self.links[number], "frozen", None)
        if kind == 0:
            return getattr(self.links[number >> 2], "frozen", None)
        if kind == START:
            return None
        flow = self.pair(number).flow
        return flow.part if flow.frozen else None

    def pair(self, number):
        return next(pair for flow in self.flows for pair in flow.pairs if pair.number == number)

    def thaw(self, part, now):
        shift, flows = now - part.frozen_at, [flow for flow in self.live if flow.frozen and flow.part is part]
        if part.kind == "periodic":
            shift += -shift % part.period
        links = list(dict.fromkeys(link for flow in flows for link in self.links_of(flow)))
        if part.kind == "law":
            for link in links:
                self.lower(link)
        moved = {}
        for flow in flows:
            for pair in flow.pairs:
                if part.kind == "periodic":
                    pair.by_rate = float(shift // pair.gap * self.mtu) if pair.gap else 0.0
                else:
                    self.settle(pair)
                moved[pair] = self.move_pair(pair)
        for link in links:
            link.free_at, link.frozen = link.free_at + shift, None
            self.count_marks(link)
            standing = [packet for queue in link.queues for packet in queue.waiting] if not link.from_host else link.relayed
            for packet in standing:
                packet.number += moved[packet.pair]
        for time, kind, number, order, serial, action in part.held:
            if kind == ARRIVAL:
                action.args[0].number += moved[action.args[0].pair]
            due = time + shift
            if kind == READY and part.kind == "law":
                pair = self.pair(number)
                due = now if pair.rate is None and not pair.capped else self.next_due(pair, pair.rate or pair.line, now)
            heapq.heappush(self.heap, (due, kind, number, order, serial, action))
        for flow in flows:
            flow.frozen = False
        by_law, part.held, part.kind, part.look = part.kind == "law", [], "moving", self.looks - 1
        self.now = now
        if by_law:
            self.restore(flows)

    def count_marks(self, link):
        link.queues[0].marks += int(link.law_marks)
        self.marks += int(link.law_marks)

    def restore(self, flows):
        """Put packets into queues up to their levels, one of every queue pair in turn, and let newcomers send."""
        number, found = 0, True
        while found:
            found = False
            for pair in (pair for flow in flows for pair in flow.pairs):
                for path in pair.paths:
                    size = pair.step / len(pair.paths)
                    for hop, queue in enumerate(path):
                        link = queue.link
                        if link.last > 0:
                            lacking = (link.backlog - link.stood) * size / link.last
                            found |= int(lacking / self.mtu + 0.5) > number and self.stand(pair, path, hop)
                        size *= link.passing
            number += 1
        for pair in (pair for flow in flows for pair in flow.pairs if pair.state == "idle"):
            self.rouse(pair)

    def stand(self, pair, path, hop):
        """Put a packet more that a queue pair has sent into a queue of its path."""
        source = pair.flow if self.pooled else pair
        packet = Packet(pair, pair.sent, self.payload, self.mtu, path)
        packet.hop = hop
        came, switch = path[hop - 1], path[hop].link.source
        full = came.held - came.extra + self.mtu > self.threshold(switch) or self.used[switch] + self.mtu > self.shared[switch]
        if source.unsent <= self.payload or full:
            return False
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
        return True

    def join(self, flow, now):
        """Let a flow start in the parts it meets, as one; False if it meets anything that is not advanced by law."""
        links = list(dict.fromkeys(self.links_of(flow)))
        parts = list(dict.fromkeys(link.frozen for link in links if getattr(link, "frozen", None)))
        moving = any(link.active or link.woken for link in links if not getattr(link, "frozen", None))
        if not self.skip.joins or moving or any(part.kind != "law" for part in parts):
            return False
        into = next(link.frozen for link in reversed(self.links_of(flow)) if getattr(link, "frozen", None))
        self.advance_by_law(now)
        self.now = now
        self.starts.remove((flow.start, flow.number))
        self.admit_flow(flow)
        for part in parts:
            if part is not into:
                self.merge(part, into)
        for link in links:
            if not getattr(link, "frozen", None):
                link.free_at -= now - into.frozen_at
                self.hold(link, into)
        flow.part, flow.frozen = into, True
        for pair in flow.pairs:
            pair.due, port = now, pair.paths[0][0].link
            paced = pair.rate is not None or pair.capped
            pair.rate_seen = (pair.rate or pair.line) if paced else self.capacity(port) / port.active
        self.joins += 1
        return True

    def merge(self, part, into):
        shift = into.frozen_at - part.frozen_at
        into.until = min(into.until, part.until)
        for flow in [flow for flow in self.live if flow.frozen and flow.part is part]:
            flow.part = into
            for link in self.links_of(flow):
                if link.frozen is part:
                    link.frozen, link.free_at = into, link.free_at + shift
        into.held += [(event[0] + shift, *event[1:]) for event in part.held]
        part.held = []

    def move_pair(self, pair):
        """Count what a queue pair has sent by rate as whole packets."""
        source = pair.flow if self.pooled else pair
        moved = max(min(int(pair.by_rate / self.mtu), source.unsent // self.payload - 1), 0)
        pair.by_rate -= moved * self.mtu
        pair.payloads[pair.sent : pair.sent] = [self.payload] * moved
        pair.sent, pair.highest = pair.sent + moved, pair.highest + moved
        source.unsent -= moved * self.payload
        pair.flow.received += moved * self.payload
        self.carry(pair, [self.payload] * moved)
        return moved

    def carry(self, pair, payloads):
        for at, path in enumerate(pair.paths):
            share = payloads[at :: len(pair.paths)]
            for queue in path:
                queue.link.payload += sum(share)
                self.hops += len(share)

    def lower(self, link):
        """Let what a queue holds beyond its level arrive."""
        if link.from_host:
            return
        for queue in link.queues:
            while link.stood > link.backlog and queue.waiting:
                packet = queue.waiting.popleft()
                link.stood -= packet.size
                self.free(queue, packet)
                self.arrive_at_once(packet, packet.hop)

    def arrive_at_once(self, packet, hop):
        for queue in packet.path[hop:]:
            queue.link.payload += packet.payload
            self.hops += 1
        packet.pair.flow.received += packet.payload

    def end(self, flow, at):
        part, sent, left = flow.part, 0.0, flow.unsent
        for pair in flow.pairs:
            sent += max(pair.by_rate, 1.0)
        for pair in flow.pairs:
            rest = pair.unsent
            if self.pooled:
                rest = left if pair is flow.pairs[-1] else int(flow.unsent * (max(pair.by_rate, 1.0) / sent))
                left -= rest
            count = -(-rest // self.payload)
            self.carry_rest(pair, rest, count)
            pair.unsent = 0
            for queue in (queue for path in pair.paths for queue in path):
                self.take_out(queue, flow)
        flow.unsent, flow.frozen, kept = 0, False, []
        for event in part.held:
            kind = event[1]
            if kind == ARRIVAL and event[5].args[0].pair.flow is flow:
                packet = event[5].args[0]
                self.arrive_at_once(packet, packet.hop + 1)
            elif kind in (ARRIVAL, WAKE) or self.pair(event[2]).flow is not flow:
                kept.append(event)
        self.now = at
        self.complete(flow)
        for link in self.links_of(flow):
            if link.active == 0:
                if link.frozen:
                    self.count_marks(link)
                link.frozen, link.woken = None, False
        part.held = [event for event in kept if event[1] != WAKE or self.links[event[2]].frozen is part]

    def carry_rest(self, pair, payload, packets):
        for at, path in enumerate(pair.paths):
            count = packets // len(pair.paths) + (at < packets % len(pair.paths))
            size = min(count * self.payload, payload)
            payload -= size
            for queue in path:
                queue.link.payload += size
                self.hops += count

    def take_out(self, queue, flow):
        """Let the packets of a flow that stand in a queue arrive."""
        link = queue.link
        waiting = link.relayed if link.from_host else queue.waiting
        for packet in [packet for packet in waiting if packet.pair.flow is flow]:
            waiting.remove(packet)
            if not link.from_host:
                link.stood -= packet.size
                self.free(queue, packet)
            self.arrive_at_once(packet, packet.hop)

    # The law of rates

    def advance_by_law(self, now):
        before = min((flow.part.skipped for flow in self.led()), default=None)
        if before is None:
            return
        for step in range(self.skip.steps):
            until = before + (now - before) * (step + 1) // self.skip.steps
            self.step_by_law(before + (now - before) * step // self.skip.steps, until)
        for flow in self.led():
            flow.part.skipped = now

    def step_by_law(self, since, until):
        for pair in (pair for flow in self.led() for pair in flow.pairs):
            self.send_by_law(pair, since, until)
            for path in pair.paths:
                size = pair.step / len(pair.paths)
                for queue in path:
                    queue.link.came += size
                    size *= queue.link.passing
        for link in dict.fromkeys(link for flow in self.led() for link in self.links_of(flow) if not link.from_host):
            taken = self.capacity(link) * (until - since)
            there = link.backlog + link.came
            link.law_marks += (1.0 - math.exp(link.unmarked)) * min(there, taken) / self.mtu
            link.passing = min(there, taken) / link.came if link.came > 0 else 1.0
            link.backlog, link.last, link.came, link.unmarked = max(there - taken, 0.0), link.came, 0.0, 0.0
            if self.needs.marks and link.backlog > link.kmin:
                chance = link.pmax * (link.backlog - link.kmin) / (link.kmax - link.kmin)
                sure = link.backlog >= link.kmax or chance >= 1
                link.unmarked = -50.0 if sure else max(math.log(1.0 - chance), -50.0)

    def send_by_law(self, pair, since, until):
        pair.step = 0.0
        if not self.has_bytes(pair):
            return
        unmarked = 0.0
        for path in pair.paths:
            passing = 1.0
            for queue in path:
                passing *= queue.link.passing
                unmarked += passing * queue.link.unmarked
        unmarked /= len(pair.paths)
        at, control = since, pair.control
        while at < until:
            rate = pair.rate_seen
            if pair.rate is not None or pair.capped:
                rate = (pair.line if pair.rate is None else pair.rate) * pair.scale
            due, marked, heard = min(until, max(pair.told, at)), NEVER, NEVER
            if pair.rate is not None:
                settings = control.settings
                heard = at + max(int((settings.byte_counter_bytes - control.count) / rate), 0)
                heard = max(min(heard, control.timer_at + round(settings.rate_timer_s * 1e12)), at)
                heard = self.next_due(pair, rate, heard)
                due = min(due, heard)
            if unmarked < 0 and pair.told == NEVER:
                marked = max(at, pair.notice_at) + int(drawn(self.settings.seed, pair) * self.mtu / (-unmarked * rate))
                due = min(due, marked)
            size = rate * (due - at)
            pair.step += size
            at = self.now = due
            if pair.rate is not None:
                control.count += int(size)
            if at == marked:
                pair.notice_at = at + round(self.needs.notification_gap_s * 1e12)
                pair.told = at + pair.back * 3 // 2
            elif at == pair.told:
                pair.told, pair.due = NEVER, self.next_due(pair, rate, at)
                self.tell(pair, "notified")
            elif at == heard:
                self.tell(pair, "sent", 0)
                pair.due = at + int(self.mtu / (pair.line if pair.rate is None else pair.rate))
        pair.by_rate += pair.step

    def next_due(self, pair, rate, since):
        """When the first packet from a time on is sent."""
        gap = max(int(self.mtu / rate), 1)
        return pair.due + max(-(-(since - pair.due) // gap), 0) * gap

    def settle(self, pair):
        for path in pair.paths:
            size = pair.step / len(pair.paths)
            for queue in path:
                link = queue.link
                if link.last > 0:
                    pair.by_rate -= (link.backlog - link.stood) * size / link.last
                size *= link.passing
