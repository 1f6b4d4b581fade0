"""The packet model once more, in plain Python with objects and a heap: the specification of the kernels.

Same order of ties, same integer times; nothing is shared with the kernels but the settings, the records of routes and the
hash. What the twin leaves out: acknowledgements as packets, cells, series over time, and who is a victim of whom. Congestion
controls have twins of their own in :mod:`control_twins`.
"""

from __future__ import annotations

import heapq
from collections import deque
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise

import numpy as np
from control_twins import CONTROLS

PAUSE, ARRIVAL, TRIMMED, NOTICE, REPEAT, ACKNOWLEDGED, READY, TIMEOUT, ALARM, WAKE, CHANGE, STORM, EXPIRY, REFRESH, START = (
    range(15)
)
WORD = (1 << 64) - 1
PS = 10**12


def hashed(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & WORD
    return value ^ (value >> 31)


def place_of(path, paths):
    return next(at for at, other in enumerate(paths) if other is path)


class GivenUpError(Exception):
    """A queue pair has sent again too often."""


class Link:
    # What a link begins with; most of a network's are never crossed.
    sent = free_at = turn = draws = active = peak = payload = header_bytes = run = class_run = 0
    woken = broken = avoided = relay_turn = False

    def __init__(self, number, settings, bps, latency_s, from_host, to_host, source, target, marks):
        self.number, self.bps, self.latency = number, round(bps), round(latency_s * PS)
        self.from_host, self.to_host, self.source, self.target = from_host, to_host, source, target
        self.kmin, self.kmax, self.pmax = marks
        self.queues = [Queue(self, priority) for priority in range(settings.priorities * settings.traffic_classes)]
        # Queues that the turn goes over: a power of two, one for headers among them.
        self.classes = 1 << (len(self.queues) + settings.trimming - 1).bit_length()
        self.relayed, self.headers = deque(), deque()

    def wire(self, size):
        bits = size * 8 * PS
        return (2 * bits + self.bps) // (2 * self.bps)


class Queue:
    depth = held = extra = frames = applied = pauses = marks = 0
    paused = storm = stopped = overfull = False
    paused_at = until = told_at = None

    def __init__(self, link, priority):
        self.link, self.priority, self.waiting = link, priority, deque()


class Packet:
    def __init__(self, pair, number, payload, size, path):
        self.pair, self.number, self.payload, self.size, self.path = pair, number, payload, size, path
        self.hop, self.marked, self.readings = 0, False, []


class Pair:
    def __init__(self, number, flow, paths, line, capped, back, unsent):
        self.number, self.flow, self.paths, self.line, self.capped, self.back = number, flow, paths, line, capped, back
        self.path_draws, self.last_sent, self.rests, self.told_path, self.rest = 0, None, [0] * len(paths), None, 0
        self.ahead, self.tries = paths[0], 0
        self.unsent, self.turn, self.sent, self.payloads, self.state = unsent, 0, 0, [], "idle"
        self.rate, self.window, self.alarm, self.cuts = None, None, None, 0
        self.known, self.arrived, self.marked = 0, 0, 0
        self.full = self.hops = self.base_rtt = self.utilisation = 0
        self.told, self.gone_by = {}, {}
        self.arrivals, self.wishes, self.owed, self.again = (set() for _ in range(4))
        self.told_wanted = self.told_last = self.checked = 0
        self.notice_at, self.wanted, self.asked, self.seen, self.checking, self.highest, self.late = 0, 0, -1, 0, False, 0, 0


class Flow:
    def __init__(self, number, size, start):
        self.number, self.size, self.unsent, self.start = number, size, size, start
        self.received, self.finish, self.pairs = 0, None, []


class Twin:
    """Runs transfers to their end; ``finish`` are their completion times in picoseconds, None where there is none."""

    def __init__(self, link_set, routes, flows, settings, path_split="pooled"):
        self.settings, self.pooled = settings, path_split == "pooled"
        self.needs, self.control = settings.control, CONTROLS[settings.congestion_control]
        self.telemetry = round((self.needs.telemetry_s or 0) * PS)
        self.ack_every = 1 if self.needs.every_packet else settings.ack_every_packets
        self.now, self.heap, self.serial = 0, [], 0
        self.lost, self.under_way = 0, []
        self.marks = self.drops = self.repeats = self.hops = self.pauses = 0
        self.storms = self.expiries = self.trims = self.headers_lost = self.duplicates = self.timeouts = self.header_hops = 0
        self.selective = settings.recovery == "selective"
        self.recalls = self.needs.rests and self.selective
        marks = np.stack(settings.marking_of(link_set.capacity_bps), axis=1)
        columns = link_set.capacity_bps, link_set.latency_s, link_set.leaves_gpu, link_set.enters_gpu
        values = zip(*(column.tolist() for column in columns), link_set.source, link_set.target, marks, strict=True)
        self.links = [Link(number, settings, *its) for number, its in enumerate(values)]
        self.avoids = False
        for link in self.links:
            if link.to_host and not self.needs.marks_last_hop:
                link.kmin = float("inf")
        self.headroom = settings.headroom_of(link_set.capacity_bps, link_set.latency_s)
        self.used, self.shared = {}, {}
        memory = self.buffers()
        for link in self.links:
            if not link.to_host:
                self.used[link.target] = 0
                taken = self.headroom[link.number] * settings.priorities * settings.traffic_classes if settings.pfc else 0
                self.shared[link.target] = self.shared.get(link.target, memory[link.target]) - taken
        for link in self.links:
            if not link.from_host:
                self.used.setdefault(link.source, 0)
                self.shared.setdefault(link.source, memory[link.source])
        self.shared = {name: int(max(left, memory[name] / 2)) for name, left in self.shared.items()}
        self.flows, pairs = [], 0
        for number in range(len(flows)):
            flow = Flow(number, int(np.ceil(flows.size_bytes[number])), round(flows.start_s[number] * PS))
            classes = flows.traffic_class if settings.traffic_classes == 2 else None
            flow.place = 0 if classes is None else int(classes[number]) * settings.priorities
            pairs = self.add_pairs(flow, routes, link_set, flows.cap_bps, pairs)
            self.flows.append(flow)
            self.at(flow.start, START, number, lambda flow=flow: self.start(flow))
        self.schedule_failures()
        self.run()
        self.finish = [flow.finish for flow in self.flows]

    def run(self):
        while self.heap:
            self.now, *_, action = heapq.heappop(self.heap)
            action()

    def buffers(self):
        """Every switch's buffer, by the number of links from the nearest host."""
        tier = {link.target: 1 for link in self.links if link.from_host} | {
            link.source: 1 for link in self.links if link.to_host
        }
        while new := {
            link.target: tier[link.source] + 1
            for link in self.links
            if not link.to_host and link.source in tier and link.target not in tier
        }:
            tier |= new
        given = {entry.tier: entry.buffer_bytes for entry in self.settings.tier_buffers}
        return {name: given.get(number, self.settings.memory_bytes) for name, number in tier.items()}

    def add_pairs(self, flow, routes, link_set, caps, number):
        groups = {}
        for subflow in range(routes.first_subflow[flow.number], routes.first_subflow[flow.number + 1]):
            links = [int(link) for link in routes.link[routes.first_hop[subflow] : routes.first_hop[subflow + 1]]]
            key = links[0] if self.settings.queue_pair_ports == "one" else 0
            key = subflow if self.settings.path_choice == "static" else key
            groups.setdefault(key, []).append((links, routes.share[subflow]))
        done, spread = 0.0, self.settings.spread_queue_pairs
        for key in [key for key in sorted(groups) for _ in range(spread)]:
            share = sum(part for _, part in groups[key]) / spread
            line = sum(link_set.capacity_bps[port] for port in {links[0] for links, _ in groups[key]})
            cap = np.inf if caps is None else caps[flow.number] * share
            back = max(sum(self.links[link].latency for link in links) for links, _ in groups[key])
            unsent = round((done + share) * flow.size) - round(done * flow.size)
            done += share
            paths = [self.path(links, flow.place) for links, _ in groups[key]]
            pair = Pair(number, flow, paths, min(cap, line) / 8 / PS, cap < line, back, unsent)
            pair.full, pair.hops = self.settings.unit_bytes, max(len(path) for path in paths) - 1
            pair.base_rtt = max(self.alone(path) for path in paths) + back
            flow.pairs.append(pair)
            number += 1
        return number

    def alone(self, path):
        """What a full packet takes on an empty path."""
        full, header = self.settings.unit_bytes, min(self.settings.unit_bytes, self.settings.header_bytes)
        taken = sum(queue.link.wire(full) + queue.link.latency for queue in path)
        if self.settings.forwarding == "cut-through":
            for came, onto in pairwise(path):
                taken -= min(came.link.wire(full) - came.link.wire(header), onto.link.wire(full))
        return taken

    def path(self, links, first):
        queues, crossed = [], 0
        for link in links:
            queues.append(self.links[link].queues[first + min(crossed, self.settings.priorities - 1)])
            crossed += not self.links[link].from_host and not self.links[link].to_host
        return queues

    def at(self, time, kind, number, action, order=0):
        self.serial += 1
        heapq.heappush(self.heap, (time, kind, number, order, self.serial, action))

    # Sending

    def start(self, flow):
        self.admit_flow(flow)
        for pair in flow.pairs:
            self.rouse(pair)

    def admit_flow(self, flow):
        self.under_way.append(flow)
        for pair in flow.pairs:
            for path in pair.paths:
                for queue in path:
                    queue.link.active += 1
                    queue.link.peak = max(queue.link.peak, queue.link.active)
        for pair in flow.pairs:
            pair.control = self.control(pair, self.needs)
            self.tell(pair, "started")
        if self.avoids:
            self.rest_paths(flow)

    # Failures

    def schedule_failures(self):
        known = round(self.settings.failure_detection_s * PS)
        for failure in self.settings.link_failures:
            for link in self.links:
                ends = f"{link.source}->{link.target}", f"{link.target}->{link.source}"
                if not any(fnmatchcase(name, failure.link) for name in ends):
                    continue
                self.at(round(failure.down_s * PS), CHANGE, link.number, partial(self.fail, link))
                self.at(round(failure.down_s * PS) + known, CHANGE, link.number, partial(self.miss, link, True))
                if failure.up_s is not None:
                    self.at(round(failure.up_s * PS), CHANGE, link.number, partial(self.restore, link))
                    self.at(round(failure.up_s * PS) + known, CHANGE, link.number, partial(self.miss, link, False))

    def fail(self, link):
        link.broken = True
        for queue in link.queues:
            queue.applied, queue.paused, queue.storm = queue.frames, False, False
            while queue.waiting and not link.from_host:
                self.free(queue, queue.waiting.popleft())
                self.lost += 1
        self.lost += len(link.relayed)
        link.relayed.clear()
        self.headers_lost += len(link.headers)
        link.headers.clear()
        link.header_bytes = 0
        self.stir(link)

    def restore(self, link):
        link.broken = False
        for queue in link.queues:
            if queue.stopped:
                queue.overfull = True
                self.frame(queue, True)

    def miss(self, link, down):
        link.avoided = down
        self.avoids = any(link.avoided for link in self.links)
        for flow in self.under_way:
            self.rest_paths(flow)
        if down and link.from_host and self.settings.queue_pair_ports == "all":
            for queue in link.queues:
                waiting = list(queue.waiting)
                queue.waiting.clear()
                for pair in waiting:
                    self.rouse(pair)

    def rest_paths(self, flow):
        for pair in flow.pairs:
            for at, path in enumerate(pair.paths):
                if any(queue.link.avoided for queue in path):
                    pair.rests[at] = np.inf
                elif pair.rests[at] == np.inf:
                    pair.rests[at] = 0

    def is_cut(self, pair, path):
        return len(pair.paths) > 1 and pair.rests[place_of(path, pair.paths)] == np.inf

    def rouse(self, pair):
        if self.settings.queue_pair_ports == "all":
            pair.ahead = self.choose(pair)
            if self.settings.path_choice == "adaptive-every-switch":
                pair.ahead = min(self.goes_on(pair, pair.ahead, 0), key=lambda path: self.free_at(path[0]))
        queue = pair.ahead[0]
        pair.state = "listed"
        queue.waiting.append(pair)
        self.stir(queue.link)

    def stir(self, link):
        if link.free_at > self.now:
            self.wake_later(link)
        elif not link.woken:
            self.serve(link)

    def wake_later(self, link):
        if not link.woken:
            link.woken = True
            self.at(link.free_at, WAKE, link.number, lambda: self.wake(link))

    def wake(self, link):
        link.woken = False
        if link.free_at > self.now:
            self.wake_later(link)
        else:
            self.serve(link)

    def next_queue(self, link):
        turn = min(link.turn, len(link.queues))
        ready = [queue for queue in (*link.queues[turn:], *link.queues[:turn]) if queue.waiting and not queue.paused]
        if self.settings.traffic_classes == 2:
            one, two = ([queue for queue in ready if self.class_of(queue) == number] for number in (0, 1))
            weights, run = self.settings.class_weights, link.class_run
            kept = 0 < run < weights[1] or run <= -weights[0]
            second = self.settings.class_service == "strict" or kept
            ready = (two or one) if second else (one or two)
        return ready[0] if ready else None

    def class_of(self, queue):
        return queue.priority // self.settings.priorities

    def note_class(self, queue):
        run, sign = queue.link.class_run, 1 if self.class_of(queue) else -1
        queue.link.class_run = run + sign if run * sign > 0 else sign

    def serve(self, link):
        while True:
            headers = link.headers and (link.run < self.settings.trim_run or self.next_queue(link) is None)
            if headers and not (self.can_relay(link) and link.relay_turn):
                link.relay_turn = True
                self.transmit_header(link)
                break
            queue = self.next_queue(link)
            if self.can_relay(link) and (queue is None or link.relay_turn):
                link.relay_turn = False
                self.transmit(link, link.relayed.popleft())
                break
            if queue is None:
                return
            link.relay_turn = True
            link.turn = (queue.priority + 1) % link.classes
            if not link.from_host:
                self.leave_switch(queue)
                self.note_class(queue)
                break
            if self.send_from(queue):
                self.note_class(queue)
                break
        if link.headers or self.next_queue(link) is not None or self.can_relay(link):
            self.wake_later(link)

    def can_relay(self, link):
        return bool(link.relayed) and not link.relayed[0].path[link.relayed[0].hop].paused

    def send_from(self, queue):
        pair, settings = queue.waiting.popleft(), self.settings
        if not self.may_send(pair):
            pair.state = "held"
            if settings.queue_pair_ports == "all" and settings.path_choice not in ("spray-random", "flowlet"):
                pair.turn = place_of(pair.ahead, pair.paths)
            return False
        number = pair.sent
        if pair.owed:
            number = min(pair.owed)
            pair.owed.remove(number)
            pair.again.add(number)
        if number < len(pair.payloads):
            self.repeats += 1
        else:
            source = pair.flow if self.pooled else pair
            payload = min(settings.packet_payload_bytes, source.unsent)
            source.unsent -= payload
            if not payload:
                pair.state = "empty"
                return False
            pair.payloads.append(payload)
        payload = pair.payloads[number]
        path = pair.ahead if settings.queue_pair_ports == "all" else self.choose(pair)
        packet = Packet(pair, number, payload, payload + settings.header_bytes, path)
        packet.sent_at, pair.gone_by[number] = self.now, self.path_taken(packet)
        pair.sent += number == pair.sent
        ready = self.pace(pair, packet.size)
        self.transmit(queue.link, packet)
        if settings.ordered or self.selective:
            self.check_later(pair)
        if not pair.owed and pair.sent >= len(pair.payloads) and not (pair.flow if self.pooled else pair).unsent:
            pair.state = "empty"
        elif settings.queue_pair_ports == "one" and ready <= queue.link.free_at:
            pair.state = "listed"
            queue.waiting.append(pair)
        else:
            pair.state = "paced"
            self.at(max(ready, self.now), READY, pair.number, lambda: self.rouse(pair))
        return True

    def choose(self, pair):
        count, how = len(pair.paths), self.settings.path_choice
        if how == "adaptive" or count == 1:
            return pair.paths[0]
        if how == "spray-random":
            return pair.paths[self.drawn(pair)]
        if how == "flowlet":
            gap = round(self.settings.flowlet_gap_s * PS)
            if pair.last_sent is None or self.now - pair.last_sent > gap or pair.rests[pair.turn] > self.now:
                pair.turn = self.drawn(pair)
            pair.last_sent = self.now
            return pair.paths[pair.turn]
        path = self.awake(pair, pair.turn)
        pair.turn = (path + 1) % count
        return pair.paths[path]

    def awake(self, pair, path):
        count = len(pair.paths)
        return next((at % count for at in range(path, path + count) if pair.rests[at % count] <= self.now), path)

    def drawn(self, pair):
        key = hashed(self.settings.path_seed + (pair.number + 1) * 0x9E3779B97F4A7C15 & WORD)
        for _ in range(32):
            pair.path_draws += 1
            draw = hashed(key + pair.path_draws * 0x9E3779B97F4A7C15 & WORD)
            path = (draw >> 32) * len(pair.paths) >> 32
            if pair.rests[path] <= self.now:
                return path
        return self.awake(pair, path)

    def goes_on(self, pair, path, hop):
        """Return a path of each way on from a place, those that begin as one has begun; that one first, then in turn."""
        ways = {}
        for other in sorted(pair.paths, key=self.numbers):
            if other[:hop] == path[:hop]:
                ways.setdefault(other[hop].link.number, []).append(other)
        own = path[hop].link.number
        order = sorted(ways)
        rank, found = place_of(path, ways[own]), [path]
        for number in order[order.index(own) + 1 :] + order[: order.index(own)]:
            rank %= len(ways[number])
            found.append(ways[number][rank])
        return [way for way in found if not self.is_cut(pair, way)] or [path]

    def numbers(self, path):
        return [queue.link.number for queue in path]

    def free_at(self, queue):
        return 1 << 61 if queue.paused else max(queue.link.free_at, self.now)

    def shortest(self, pair):
        count = len(pair.paths)
        order = [(pair.turn + step) % count for step in range(count)]
        awake = [at for at in order if pair.rests[at] <= self.now] or [0]
        best = min(awake, key=lambda at: pair.paths[at][1].depth)
        pair.turn = (best + 1) % count
        return pair.paths[best]

    def transmit(self, link, packet):
        taken = link.wire(packet.size)
        link.free_at = self.now + taken
        link.payload += packet.payload
        self.hops += 1
        if self.telemetry and not link.from_host:
            place = next(at for at, path in enumerate(packet.pair.paths) if path is packet.path), packet.hop
            queue = packet.path[packet.hop]
            packet.readings.append((place, link, self.now, link.sent, queue.depth))
        link.sent += packet.size
        due = self.now + taken + link.latency
        if self.settings.forwarding == "cut-through" and packet.hop + 1 < len(packet.path):
            header = link.wire(min(packet.size, self.settings.header_bytes))
            onward = packet.path[packet.hop + 1].link.wire(packet.size)
            due = max(self.now + header + link.latency, due - onward)
        self.at(due, ARRIVAL, link.number, partial(self.arrive, packet))

    # Switching

    def arrive(self, packet):
        came = packet.path[packet.hop]
        if came.link.broken:
            self.lost += 1
            return
        if packet.hop + 1 == len(packet.path):
            self.receive(packet)
            return
        if self.settings.path_choice == "adaptive" and packet.hop == 0 and len(packet.pair.paths) > 1:
            packet.path = self.shortest(packet.pair)
        packet.hop += 1
        if self.settings.path_choice == "adaptive-every-switch" and not packet.path[packet.hop].link.from_host:
            packet.path = min(self.goes_on(packet.pair, packet.path, packet.hop), key=lambda path: path[packet.hop].depth)
        queue = packet.path[packet.hop]
        link = queue.link
        if link.free_at <= self.now and not link.woken and not queue.waiting and not queue.paused:
            self.transmit(link, packet)
        elif link.from_host:
            link.relayed.append(packet)
            self.stir(link)
        elif queue.storm and self.settings.pfc_watchdog_action == "drop":
            self.drops += 1
        elif self.admit(packet, came, queue):
            queue.waiting.append(packet)
            queue.depth += packet.size
            self.stir(link)
        elif self.settings.trimming:
            self.trims += 1
            packet.size = min(self.settings.trim_bytes, packet.size)
            self.forward_header(packet, link)
        else:
            self.drops += 1

    def forward_header(self, packet, link):
        if link.header_bytes + packet.size > self.settings.trim_queue_bytes:
            self.headers_lost += 1
        else:
            link.headers.append(packet)
            link.header_bytes += packet.size
            self.stir(link)

    def transmit_header(self, link):
        packet = link.headers.popleft()
        link.header_bytes -= packet.size
        link.run += 1
        link.free_at = self.now + link.wire(packet.size)
        link.sent += packet.size
        self.header_hops += 1
        self.at(link.free_at + link.latency, TRIMMED, link.number, partial(self.arrive_header, packet))

    def arrive_header(self, packet):
        if packet.path[packet.hop].link.broken:
            self.headers_lost += 1
            return
        packet.hop += 1
        pair = packet.pair
        if packet.hop < len(packet.path):
            self.forward_header(packet, packet.path[packet.hop].link)
        elif packet.number not in pair.arrivals | pair.wishes | pair.owed:
            self.ask(pair, [packet.number], packet.number, packet.number + 1, self.path_taken(packet))

    def threshold(self, switch):
        if self.settings.pfc_threshold == "static":
            return self.settings.xoff_bytes
        return int(self.settings.pfc_alpha * max(self.shared[switch] - self.used[switch], 0))

    def admit(self, packet, came, queue):
        switch, size = came.link.target, packet.size
        free = self.shared[switch] - self.used[switch]
        if not self.settings.pfc:
            if size > free or queue.depth + size > self.settings.drop_alpha * free:
                return False
            self.used[switch] += size
        elif came.held + size - came.extra <= self.threshold(switch) and size <= free:
            self.used[switch] += size
        elif came.extra + size > self.headroom[came.link.number]:
            assert came.overfull, "headroom too small"
            return False
        else:
            came.extra += size
            if not came.stopped:
                came.stopped = True
                came.pauses += 1
                self.pauses += 1
                self.frame(came, True)
        came.held += size
        return True

    def leave_switch(self, queue):
        packet, link, depth = queue.waiting.popleft(), queue.link, queue.depth
        if self.needs.marks and depth > link.kmin:
            packet.marked = packet.marked or self.marked(queue, depth)
        self.free(queue, packet)
        link.run = 0
        self.transmit(link, packet)

    def free(self, queue, packet):
        came, switch = packet.path[packet.hop - 1], queue.link.source
        queue.depth -= packet.size
        spare = min(came.extra, packet.size)
        came.held, came.extra = came.held - packet.size, came.extra - spare
        self.used[switch] -= packet.size - spare
        below = came.held <= max(self.threshold(switch) - self.settings.xon_gap_bytes, 0)
        if came.stopped and came.extra == 0 and below:
            came.stopped = came.overfull = False
            self.frame(came, False)

    def marked(self, queue, depth):
        link = queue.link
        if depth < link.kmax:
            draw = hashed(self.settings.seed + (link.number + 1) * 0x9E3779B97F4A7C15 & WORD)
            draw = hashed(draw + link.draws * 0x9E3779B97F4A7C15 & WORD)
            link.draws += 1
            if (draw >> 11) / 2**53 >= link.pmax * (depth - link.kmin) / (link.kmax - link.kmin):
                return False
        self.marks += 1
        queue.marks += 1
        return True

    def frame(self, queue, stop):
        queue.frames += 1
        number = queue.frames
        delay = (
            queue.link.latency + queue.link.wire(self.settings.pause_frame_bytes) + round(self.settings.pause_reaction_s * PS)
        )
        place = queue.link.number << 4 | queue.priority
        self.at(self.now + delay, PAUSE, place, lambda: self.apply_frame(queue, stop, number))
        if stop and self.settings.pause_quanta is not None and self.settings.pause_refresh is not None:
            sent = queue.told_at = self.now
            due = self.now + max(1, int(self.settings.pause_refresh * self.hold(queue)))
            self.at(due, REFRESH, place, lambda: self.frame(queue, True) if queue.stopped and queue.told_at == sent else None)

    def hold(self, queue):
        return queue.link.wire(self.settings.pause_quanta * 64)

    def expire_pause(self, queue, until):
        if queue.until == until and (queue.paused or queue.storm):
            self.expiries += queue.paused
            queue.overfull = True
            self.let_go(queue)

    def let_go(self, queue):
        resumes, queue.paused, queue.storm = queue.paused, False, False
        if resumes:
            self.stir(queue.link)

    def apply_frame(self, queue, stop, number):
        if number >= queue.applied and not queue.link.broken:
            queue.applied, forwards = number, queue.storm and self.settings.pfc_watchdog_action == "forward"
            if not stop:
                self.let_go(queue)
                return
            if self.settings.pause_quanta is not None:
                until = queue.until = self.now + self.hold(queue)
                place = queue.link.number << 4 | queue.priority
                self.at(until, EXPIRY, place, lambda: self.expire_pause(queue, until))
            if forwards:
                return
            if not queue.paused and not queue.link.from_host and self.settings.pfc_watchdog_s is not None:
                began = queue.paused_at = self.now
                due = self.now + round(self.settings.pfc_watchdog_s * PS)
                self.at(due, STORM, queue.link.number << 4 | queue.priority, lambda: self.end_waiting(queue, began))
            queue.paused = True

    def end_waiting(self, queue, began):
        if queue.paused and queue.paused_at == began:
            queue.storm = True
            self.storms += 1
            if self.settings.pfc_watchdog_action == "forward":
                queue.paused, queue.overfull = False, True
                self.stir(queue.link)
            while queue.waiting and queue.paused:
                self.free(queue, queue.waiting.popleft())
                self.drops += 1

    # Receiving

    def receive(self, packet):
        pair, settings = packet.pair, self.settings
        if packet.marked and self.needs.notification_gap_s is not None and self.now >= pair.notice_at:
            pair.notice_at = self.now + round(self.needs.notification_gap_s * PS)
            path = self.path_taken(packet)
            self.at(self.now + pair.back, NOTICE, pair.number, lambda: self.tell(pair, "notified", path=path))
        if self.selective:
            if not self.take_once(packet):
                return
        elif settings.ordered:
            if not self.take_in_order(packet):
                return
        elif len(pair.paths) > 1:
            pair.late += packet.number < pair.highest
            pair.highest = max(pair.highest, packet.number + 1)
        flow = pair.flow
        flow.received += packet.payload
        pair.arrived, pair.marked = pair.arrived + 1, pair.marked + packet.marked
        often = pair.arrived % self.ack_every == 0
        far = self.selective and pair.wanted - pair.told_last >= settings.selective_window_packets / 2
        if (self.needs.acknowledged or self.selective) and (flow.received == flow.size or often or far):
            told = (pair.arrived, pair.marked, packet.sent_at, pair.wanted, self.path_taken(packet), packet.readings)
            pair.marked, pair.told_last = 0, pair.wanted
            self.at(self.now + pair.back, ACKNOWLEDGED, pair.number, lambda: self.acknowledged(pair, *told))
        if flow.received == flow.size:
            self.complete(flow)

    def take_in_order(self, packet):
        """Take the next packet, or one that the receiver can hold until it is next."""
        pair, number, settings = packet.pair, packet.number, self.settings
        holds = settings.reorder_buffer_packets if settings.reorder == "buffer" else 1
        if number >= pair.wanted + holds:
            if pair.asked != pair.wanted:
                pair.asked = wanted = pair.wanted
                self.at(self.now + pair.back, REPEAT, pair.number, lambda: self.go_back(pair, wanted, 0))
            return False
        if number in pair.arrivals:
            self.duplicates += holds > 1
            return False
        pair.arrivals.add(number)
        if holds > 1 and len(pair.paths) > 1:
            pair.late += number < pair.highest
        pair.highest = max(pair.highest, number + 1)
        while pair.wanted in pair.arrivals:
            pair.wanted += 1
        return True

    def path_taken(self, packet):
        return place_of(packet.path, packet.pair.paths) if len(packet.pair.paths) > 1 else None

    def take_once(self, packet):
        """Take a packet that has not arrived yet, asking for those that it shows to be lost."""
        pair, number = packet.pair, packet.number
        if number in pair.arrivals:
            self.duplicates += 1
            return False
        pair.arrivals.add(number)
        pair.wishes.discard(number)
        pair.owed.discard(number)
        end = pair.highest
        if number >= end:
            pair.highest = number + 1
        elif len(pair.paths) > 1:
            pair.late += 1
        while pair.wanted in pair.arrivals:
            pair.wanted += 1
        gap = self.settings.reorder_gap_packets if len(pair.paths) > 1 else 0
        if gap is not None and number >= end:
            known = pair.arrivals | pair.wishes | pair.owed | pair.again
            first, end = max(end - gap, 0), number + 1 - gap
            self.ask(pair, [at for at in range(first, end) if at not in known], first, end, None)
        return True

    def ask(self, pair, numbers, first, end, path):
        if numbers:
            pair.wishes |= set(numbers)
            self.at(self.now + pair.back, REPEAT, pair.number, lambda: self.asked(pair, first, end, path), -first)

    def asked(self, pair, first, end, path):
        wishes = {number for number in pair.wishes if first <= number < end}
        pair.wishes -= wishes
        pair.owed |= wishes
        if wishes:
            told = hasattr(pair.control, "trimmed")
            told = ("trimmed", len(wishes) * self.settings.unit_bytes) if told else ("lost", 0)
            if self.recalls and path is None and len(pair.paths) > 1:
                self.tell_gone(pair, wishes, 0)
            else:
                self.tell(pair, *told, path=path)
            if pair.state == "empty" or (pair.state == "held" and self.may_send(pair)):
                self.rouse(pair)

    def complete(self, flow):
        self.under_way.remove(flow)
        flow.finish = self.now + sum(pair.late for pair in flow.pairs) * round(self.settings.reorder_cost_s * PS)
        for pair in flow.pairs:
            for path in pair.paths:
                for queue in path:
                    queue.link.active -= 1

    def check_later(self, pair):
        if not pair.checking:
            pair.checking = True
            self.at(self.now + round(self.settings.retransmit_timeout_s * PS), TIMEOUT, pair.number, lambda: self.check(pair))

    def check(self, pair):
        pair.checking = False
        if pair.wanted < len(pair.payloads):
            self.check_later(pair)
            seen = pair.arrived if self.selective else pair.wanted
            pair.tries = pair.tries + 1 if seen == pair.seen else 0
            if pair.tries > self.settings.retry_limit and self.settings.link_failures:
                raise GivenUpError(pair.flow.number)
            if self.selective:
                self.check_each(pair)
            elif seen == pair.seen:
                self.go_back(pair, pair.wanted, 1)
            pair.seen = seen

    def check_each(self, pair):
        """Send again what was sent before the last check and has been neither repeated nor asked for since."""
        late = set(range(pair.checked)) - pair.arrivals - pair.wishes - pair.owed - pair.again
        pair.owed |= late
        pair.again, pair.checked = set(), pair.sent
        if late:
            self.timeouts += 1
            if self.recalls:
                self.tell_gone(pair, late, 1)
            else:
                self.tell(pair, "lost", 1)
            if pair.state in ("empty", "held"):
                self.rouse(pair)

    def tell_gone(self, pair, numbers, timed_out):
        for number in sorted(numbers):
            self.tell(pair, "lost", timed_out, path=pair.gone_by[number])

    def go_back(self, pair, number, timed_out):
        if number < pair.sent:
            pair.sent, pair.known = number, max(pair.known, number)
            self.tell(pair, "lost", timed_out)
            if pair.state in ("empty", "held"):
                self.rouse(pair)

    # Congestion control

    def tell(self, pair, event, *told, path=None):
        handler = getattr(pair.control, event, None)
        if handler is None:
            return
        alarm = pair.alarm
        pair.told_path = pair.told_path if event in ("started", "sent") else path
        handler(self.now, *told)
        if pair.told_path is not None and pair.rest:
            pair.rests[pair.told_path] = self.now + pair.rest
        pair.rest = 0
        if pair.alarm is not None and pair.alarm != alarm:
            self.at(pair.alarm, ALARM, pair.number, lambda: self.expire(pair))
        if pair.state == "held" and event != "lost" and self.may_send(pair):
            self.rouse(pair)

    def expire(self, pair):
        if pair.alarm == self.now and pair.flow.finish is None:
            pair.alarm = None
            self.tell(pair, "expired")

    def acknowledged(self, pair, arrived, marked, sent_at, wanted, path, readings):
        pair.told_wanted = max(pair.told_wanted, wanted)
        news, full = arrived - pair.known, self.settings.unit_bytes
        if news > 0:
            pair.known = arrived
            self.measure(pair, readings)
            self.tell(pair, "acknowledged", news * full, marked * full, self.now - sent_at, path=path)
        if pair.state == "held" and self.may_send(pair):
            self.rouse(pair)

    def measure(self, pair, readings):
        fullest, span = -1.0, 0
        for place, link, time, sent, depth in readings:
            if place in pair.told:
                before, known_sent, known_depth = pair.told[place]
                since = time - before
                if since <= 0:
                    continue
                rate = link.bps // 1000 / 8e9
                full = min(depth, known_depth) / (rate * self.telemetry) + (sent - known_sent) / since / rate
                if full > fullest:
                    fullest, span = full, since
            pair.told[place] = time, sent, depth
        if fullest >= 0:
            weight = min(span, self.telemetry) / self.telemetry
            pair.utilisation = (1 - weight) * pair.utilisation + weight * fullest

    def may_send(self, pair):
        ahead = pair.sent - pair.known - len(pair.owed)
        if self.selective and not pair.owed and pair.sent >= pair.told_wanted + self.settings.selective_window_packets:
            return False
        return pair.window is None or ahead < self.ack_every or ((ahead + 1) * self.settings.unit_bytes <= pair.window)

    def pace(self, pair, size):
        self.tell(pair, "sent", size)
        if pair.rate is not None:
            return self.now + int(size / pair.rate + 0.5)
        return self.now + int(size / pair.line + 0.5) if pair.capped else 0
