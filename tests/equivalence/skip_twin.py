"""Advancing what is steady by rate once more, in plain Python: the specification of the kernels of parts, looks and thaws.

Parts are connected sets of flows, members are sets of flows, and what a frozen part holds are events taken out of the heap.
The law of rates is that of :mod:`law_twin`. Nothing is shared with the kernels but the settings and the hash. Like
:mod:`packet_twin` it leaves out acknowledgements as packets, and cells.
"""

from __future__ import annotations

import heapq
import math

from law_twin import Law
from packet_twin import ARRIVAL, READY, START, WAKE, Twin
from rates_twin import NEVER, PAST, Rates, Waits


class Part:
    def __init__(self, first):
        self.first, self.members, self.look, self.kind, self.frozen_at = first, None, None, "moving", None
        self.age = self.calm = self.pauses_before = self.marks_before = 0


class SkippingTwin(Law, Twin):
    """A twin that looks at its flows a window apart."""

    def __init__(self, link_set, routes, flows, settings, path_split="pooled"):
        self.skip, self.live, self.parts, self.looks, self.look_at = settings.skip, [], {}, 0, NEVER
        self.skips, self.joins, self.kinds_seen = 0, 0, set()
        self.told_at_freeze = self.told_at_thaw = self.put_back_packets = self.mixed_ports = 0
        self.taken_in, self.frozen_again, self.tight_thaws, self.waits = [], [], 0, 0
        self.most_told = self.marked_before = self.forgotten = 0
        self.starts = sorted((round(start * 1e12), number) for number, start in enumerate(flows.start_s))
        full, up = settings.unit_bytes * 8, link_set.capacity_bps > 0
        packets = self.skip.window_packets * full / link_set.capacity_bps[link_set.leaves_gpu & up].min()
        hop = (full / link_set.capacity_bps[up] + link_set.latency_s[up]).max()
        self.window = round(max(packets, 8 * hop) * 1e12)
        self.mtu, self.payload = settings.unit_bytes, settings.unit_payload_bytes
        super().__init__(link_set, routes, flows, settings, path_split)

    def run(self):
        lasting = max((int(link.kmax) * 8e9 / round(link.bps / 1000) for link in self.links), default=0.0)
        self.apart = 1 << (max(self.window // self.skip.steps, int(4 * lasting) // PAST, 1).bit_length() - 1)
        for link in self.links:
            link.frozen, link.carried, link.coming, link.drained = None, 0.0, Rates(self.apart), 0
            link.waits = Waits(self.apart)
        while True:
            if self.starts:
                self.look_at = min(self.look_at, self.starts[0][0] + self.window)
            if self.heap and self.heap[0][0] <= self.look_at:
                self.now, kind, *_, action = event = heapq.heappop(self.heap)
                part = self.in_way(self.flows[event[2]]) if kind == START else None
                if part and not self.join(self.flows[event[2]], self.now):
                    self.advance_by_law(event[0])
                    self.now = event[0]
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
            pair.rate_seen, pair.by_rate, pair.step, pair.gap = 0.0, 0.0, 0.0, 0
            pair.told, pair.due, pair.done, pair.pace, pair.draws, pair.phase = [], 0, 0, 0.0, 0, 0.0
            pair.sending, pair.reached = Rates(self.apart), [[0] * len(path) for path in pair.paths]
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
        return next((part for link in self.links_of(flow) if (part := link.frozen)), None)

    def links_of(self, flow):
        return [queue.link for pair in flow.pairs for path in pair.paths for queue in path]

    # Looks

    def look(self, now):
        self.advance_by_law(now)
        self.now = now
        self.looks += 1
        self.thaw_due(now)
        self.divide()
        self.end_led(now)
        chosen = self.judge()
        if chosen and self.measure(chosen, now):
            self.freeze(now)
        self.look_at = now + self.window
        if all(flow.frozen for flow in self.live):
            self.look_at = max(self.look_at, min((flow.part.until for flow in self.live), default=NEVER))

    def end_led(self, now):
        """End those that have sent all before the next look; the last under way takes the place of one that ends."""
        place = 0
        while place < len(self.live):
            flow = self.live[place]
            if flow.frozen and flow.part.kind == "law" and self.left(flow) <= self.window:
                left = self.left(flow)
                last = now + int(left) if left > 0 else max(pair.done for pair in flow.pairs)
                self.end(flow, max(last + self.behind(flow), now))
                self.now = now
            else:
                place += 1

    def thaw_due(self, now):
        filled = self.count_standing(now)
        for flow in list(self.live):
            if flow.frozen:
                part, due = flow.part, flow.part.until <= now
                if part.kind == "law":
                    due, part.until = False, now + self.window
                queues = [queue for pair in flow.pairs for path in pair.paths for queue in path]
                if part.kind == "law":
                    tight = any(self.is_filled(queue.link, filled) or self.is_forgotten(queue.link, now) for queue in queues)
                else:
                    tight = any(self.is_near(queue) for queue in queues)
                if due or tight:
                    self.tight_thaws += tight and part.kind == "law"
                    self.thaw(part, now)
                    if tight:
                        part.look = None

    def divide(self):
        weighed = [flow for flow in self.live if not flow.frozen or flow.part.kind == "law"]
        groups = {}
        for flow in (flow for flow in weighed if not flow.frozen):
            links, members = set(self.links_of(flow)), [flow]
            for first, (others, theirs) in list(groups.items()):
                if theirs & links:
                    members, links = others + members, links | theirs
                    del groups[first]
            groups[min(member.number for member in members)] = members, links
        self.list_pairs(weighed)
        self.share_ports(weighed)
        self.found = []
        for first in sorted(groups):
            part = self.parts.setdefault(first, Part(first))
            part.was, part.age = (part.members, part.age) if part.look == self.looks - 1 else (None, 0)
            part.look, part.flows = self.looks, sorted(groups[first][0], key=self.live.index)
            part.members = {flow.number for flow in part.flows}
            self.sum_up(part)
            self.found.append(part)

    def sum_up(self, part):
        pairs = [pair for flow in part.flows for pair in flow.pairs]
        load = dict.fromkeys((link for flow in part.flows for link in self.links_of(flow)), 0.0)
        for link in load:
            link.carried = 0.0
        for pair in pairs:
            asked = self.asked(pair) if self.has_bytes(pair) and self.is_paced(pair) else pair.rate_seen
            for path in pair.paths:
                for queue in path:
                    load[queue.link] += asked / len(pair.paths)
                    queue.link.carried += pair.rate_seen / len(pair.paths)
        queues = [queue for link in load for queue in link.queues]
        part.pauses, part.marks = sum(queue.pauses for queue in queues), sum(queue.marks for queue in queues)
        marking = [queue for queue in queues if self.needs.marks and queue.depth + 2 * self.mtu > queue.link.kmin]
        part.marking = bool(marking)
        part.bursting = any(queue.depth > queue.link.kmin + (queue.link.kmax - queue.link.kmin) / 4 for queue in marking)
        part.busy = any(self.is_near(queue) for queue in queues)
        part.over = any(rate > round(link.bps / 1000) * (1 + 1e-6) / 8e9 for link, rate in load.items())
        part.steered = any(pair.rate is not None for pair in pairs)

    def is_near(self, queue):
        if queue.paused or queue.stopped or queue.extra or queue.frames != queue.applied:
            return True
        link = queue.link
        return not link.to_host and queue.held > 0 and self.is_much(link.target, queue.held, self.used[link.target])

    def is_much(self, switch, inside, used):
        """Return whether so much that came by one link is near a pause while so much of a buffer is in use."""
        free = max(self.shared[switch] - used, 0.0)
        threshold = (
            int(self.settings.pfc_alpha * free) if self.settings.pfc_threshold == "dynamic" else self.settings.xoff_bytes
        )
        return used + self.mtu > self.skip.near * self.shared[switch] or inside + self.mtu > self.skip.near * threshold

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
            self.frozen_again += [part] * (part in self.taken_in)
        return found

    def find_period(self, part):
        part.period = 1
        for pair in (pair for flow in part.flows for pair in flow.pairs):
            pair.gap = 0
            if self.has_bytes(pair):
                link = pair.paths[0][0].link
                pair.gap = link.unpaced * link.wire(self.mtu)
                if pair.capped:
                    part.kind = "law"
                    return
                part.period = math.lcm(part.period, pair.gap)
                if part.period > self.window:
                    part.kind = "law"
                    return

    def left(self, flow):
        rates = {pair: pair.rate_seen for pair in flow.pairs}
        if not any(rates.values()):
            return 0.0
        if self.pooled:
            return self.left_bytes(flow.pairs[0]) / sum(rates.values())
        return max([0.0, *(self.left_bytes(pair) / rate for pair, rate in rates.items() if rate > 0)])

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
        found = [part for part in self.found if part.kind != "moving" and part.frozen_at == now]
        owners = {flow: part for part in found for flow in part.flows}
        for flow, part in owners.items():
            flow.part, flow.frozen = part, True
            for pair in flow.pairs:
                pair.told, pair.due, pair.done, pair.pace = [], now, 0, 0.0
                pair.sending.begin(pair.rate_seen, now, flow.start)
            for link in self.links_of(flow):
                if not link.frozen:
                    self.hold(link, part, now)
        self.take_events()
        for pair in (pair for flow in owners for pair in flow.pairs):
            self.note_notice(pair)
            for path, reached in zip(pair.paths, pair.reached, strict=True):
                self.begin_carrying(pair, path, reached, now)

    def take_events(self):
        """Take the events of parts that stand still out of the heap."""
        moving = []
        for event in sorted(self.heap):
            part = self.holder(event)
            if part and event[1] == READY:
                self.pair(event[2]).due = event[0]
            if not part:
                moving.append(event)
            elif part.kind != "law" or not self.take_in(event):
                part.held.append(event)
        self.heap = moving

    def hold(self, link, part, now):
        link.frozen, link.unmarked, link.came, link.law_marks, link.gone = part, 0.0, 0.0, 0.0, (0.0, 0)
        link.backlog = link.stood = 0.0 if link.from_host else float(sum(queue.depth for queue in link.queues))
        self.begin_queue(link, now)

    def holder(self, event):
        """The frozen part that an event belongs to."""
        kind, number = event[1], event[2]
        if kind in (ARRIVAL, WAKE):
            return self.links[number].frozen
        if kind == 0:
            return self.links[number >> 4].frozen
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
                if not link.from_host:
                    self.lower(link, now)
        moved = {}
        for flow in flows:
            for pair in flow.pairs:
                if part.kind == "periodic":
                    pair.by_rate = float(shift // pair.gap * self.mtu) if pair.gap else 0.0
                else:
                    self.take_back(pair, now)
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
                due = self.next_due(pair, self.rate_of(pair), now) if self.is_paced(pair) else now
            heapq.heappush(self.heap, (due, kind, number, order, serial, action))
        for flow in flows:
            flow.frozen = False
        part.members = {flow.number for flow in flows}
        by_law, part.held, part.kind, part.look = part.kind == "law", [], "moving", self.looks - 1
        self.now = now
        if by_law:
            self.put_back(flows, now)
            self.notify_on(flows)

    def count_marks(self, link):
        link.queues[0].marks += int(link.law_marks)
        self.marks += int(link.law_marks)

    def join(self, flow, now):
        """Let a flow start in the parts it meets, as one; False if it meets anything that is not advanced by law."""
        links = list(dict.fromkeys(self.links_of(flow)))
        parts = list(dict.fromkeys(link.frozen for link in links if link.frozen))
        moving = any(link.active or link.woken for link in links if not link.frozen)
        if not self.skip.joins or moving or any(part.kind != "law" for part in parts):
            return False
        into = next(link.frozen for link in reversed(self.links_of(flow)) if link.frozen)
        self.advance_by_law(now)
        self.now = now
        self.starts.remove((flow.start, flow.number))
        self.admit_flow(flow)
        for part in parts:
            if part is not into:
                self.merge(part, into)
        for link in links:
            if not link.frozen:
                link.free_at, link.carried = link.free_at - (now - into.frozen_at), 0.0
                self.hold(link, into, now)
        flow.part, flow.frozen = into, True
        for pair in flow.pairs:
            pair.due, pair.reached = now, [[now // self.apart * self.apart] * len(path) for path in pair.paths]
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
        part.held, part.kind = [], "moving"
        self.taken_in.append(part)

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
            self.leave_behind(pair, max(rest * (self.mtu / self.payload) - pair.by_rate, 0.0), self.now)
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
