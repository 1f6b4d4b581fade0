"""Congestion controls once more, in plain Python: the specification of their kernels.

A control decides ``pair.rate`` (None: the line's) and ``pair.window`` (None: none), and when it is to be told the time,
``pair.alarm``.
"""

from __future__ import annotations

from math import sqrt

PS = 10**12


class NoControl:
    def __init__(self, pair, settings):
        pass


class Dcqcn:
    def __init__(self, pair, settings):
        self.pair, self.settings = pair, settings
        self.goal, self.alpha, self.timer_at, self.alpha_at = pair.line, 1.0, 0, 0
        self.count, self.timers, self.counters = 0, 0, 0

    def sent(self, now, size):
        self.catch_up(now)
        if self.pair.rate is not None:
            self.count += size
            if self.count >= self.settings.byte_counter_bytes:
                self.count -= self.settings.byte_counter_bytes
                self.counters += 1
                self.increase()

    def catch_up(self, now):
        timer = round(self.settings.rate_timer_s * PS)
        while self.pair.rate is not None and now >= self.timer_at + timer:
            self.timer_at += timer
            self.timers += 1
            self.increase()

    def increase(self):
        settings, pair = self.settings, self.pair
        least, most = min(self.timers, self.counters), max(self.timers, self.counters)
        if least > settings.fast_recovery_steps:
            self.goal += (least - settings.fast_recovery_steps) * settings.hyper_increase * pair.line
        elif most > settings.fast_recovery_steps:
            self.goal += settings.additive_increase * pair.line
        self.goal = min(self.goal, pair.line)
        pair.rate = (pair.rate + self.goal) / 2
        if pair.rate >= 0.999 * pair.line:
            pair.rate = None

    def notified(self, now):
        settings, pair = self.settings, self.pair
        self.catch_up(now)
        if pair.rate is None:
            pair.rate = self.goal = pair.line
        idle = (now - self.alpha_at) // round(settings.alpha_timer_s * PS) if pair.cuts else 0
        alpha = self.faded(idle)
        if settings.clamp_target or self.timers:
            self.goal = pair.rate
        pair.rate = max(pair.rate * (1 - alpha / 2), pair.line * settings.least_rate)
        self.alpha = (1 - settings.gain) * alpha + settings.gain
        self.alpha_at = self.timer_at = now
        self.count = self.timers = self.counters = 0
        pair.cuts += 1

    def faded(self, times):
        """Return alpha without notifications for so many timers, by repeated squares: a power's last bit is no kernel's."""
        alpha, factor = self.alpha, 1 - self.settings.gain
        for bit in reversed(bin(times)[2:]):
            alpha *= factor if bit == "1" else 1
            factor *= factor
        return alpha


class Swift:
    def __init__(self, pair, settings):
        self.pair, self.settings = pair, settings
        self.base = round(settings.base_target_s * PS) + pair.hops * round(settings.hop_target_s * PS)
        self.window, self.round_trip, self.cut_at, self.timeouts = settings.first_window, self.base, None, 0

    def started(self, now):
        self.cut_at = now - self.base
        self.put(self.window or self.pair.line * self.base / self.pair.full)

    def put(self, window):
        settings, pair = self.settings, self.pair
        self.window = min(max(window, settings.least_window), settings.most_window)
        pair.window = int(max(self.window, 1.0)) * pair.full
        pair.rate = min(self.window * pair.full / self.round_trip, pair.line) if self.window < 1 else None

    def target(self):
        settings, span = self.settings, round(self.settings.scaling_range_s * PS)
        most = 1 / sqrt(settings.scaling_most_window)
        alpha = span / (1 / sqrt(settings.scaling_least_window) - most)
        return self.base + max(0.0, min(alpha * (1 / sqrt(self.window) - most), span))

    def cut(self, now, left):
        before = self.window
        self.put(before * left)
        if self.window < before:
            self.cut_at = now
            self.pair.cuts += 1

    def acknowledged(self, now, size, marked, round_trip):
        self.timeouts, self.round_trip, target = 0, round_trip, self.target()
        if round_trip < target:
            packets = self.settings.additive_increase * (size / self.pair.full)
            self.put(self.window + (packets / self.window if self.window >= 1 else packets))
        elif now - self.cut_at >= round_trip:
            left = 1 - self.settings.decrease * ((round_trip - target) / round_trip)
            self.cut(now, max(left, 1 - self.settings.most_decrease))
        else:
            self.put(self.window)

    def lost(self, now, timed_out):
        self.timeouts = self.timeouts + 1 if timed_out else 0
        if self.timeouts >= self.settings.reset_timeouts:
            self.cut(now, 0.0)
        elif now - self.cut_at >= self.round_trip:
            self.cut(now, 1 - self.settings.most_decrease)


class Hpcc:
    def __init__(self, pair, settings):
        self.pair, self.settings, self.span = pair, settings, round(settings.base_rtt_s * PS)
        self.acked, self.renewed, self.stage, self.sent_bytes = 0, 0, 0, 0

    def started(self, now):
        self.pair.utilisation = 1.0
        self.window = self.most = self.pair.line * self.span
        self.put(self.window)

    def put(self, window):
        self.pair.window, self.pair.rate = int(window), window / self.span

    def sent(self, now, size):
        self.sent_bytes += size

    def acknowledged(self, now, size, marked, round_trip):
        settings, use = self.settings, self.pair.utilisation
        self.acked += size
        if self.acked == size:
            self.renewed = self.sent_bytes
            return
        if use >= settings.target_utilisation or self.stage >= settings.increase_stages:
            window, stage = self.window / (use / settings.target_utilisation), 0
        else:
            window, stage = self.window, self.stage + 1
        window = min(max(window + settings.additive_increase_bytes, self.most * settings.least_rate), self.most)
        if self.acked > self.renewed:
            self.pair.cuts += window < self.window
            self.window, self.stage, self.renewed = window, stage, self.sent_bytes
        self.put(window)

    def lost(self, now, timed_out):
        self.acked = self.renewed = self.sent_bytes


class Nscc:
    def __init__(self, pair, settings):
        self.pair, self.settings, self.base = pair, settings, pair.base_rtt
        self.network = round(settings.network_rtt_s * PS) or self.base
        self.scale, self.target = pair.line * self.network / 150_000.0, settings.target_delay * self.network
        self.average, self.increase = 0.0, 0.0
        self.received = self.achieved = self.adapt_at = self.ignored = self.to_ignore = self.settled = self.idle = 0
        self.trimmed_since = self.fast = False
        self.cut_at = self.adjusted_at = self.sent_bytes = 0

    def started(self, now):
        self.put(self.settings.first_window * (self.pair.line * self.base))

    @property
    def most(self):
        return self.settings.most_window * (self.pair.line * self.base)

    def put(self, window):
        self.window = max(min(window, self.most), float(self.pair.full))
        self.pair.window = int(self.window)

    def sent(self, now, size):
        self.sent_bytes += size

    def note(self, delay):
        gain = self.settings.delay_gain
        self.average = gain * delay + (1 - gain) * self.average

    def acknowledged(self, now, size, marked, round_trip):
        settings, target = self.settings, self.target
        for name in ("settled", "achieved", "received", "ignored"):
            setattr(self, name, getattr(self, name) + size)
        self.base = min(self.base, round_trip)
        delay = round_trip - self.base
        self.note(0.25 * self.base if not marked and delay > target else delay)
        if self.adapts(now, False, marked, delay):
            return
        window = self.window
        if not marked and delay >= target:
            self.increase += settings.fair_increase * self.pair.full * self.scale * size
        elif not marked:
            self.idle = self.idle + size if delay < round(settings.fast_delay_s * PS) else 0
            self.fast = self.idle > 0 and (self.fast or self.idle > window)
            if self.fast:
                window += size * (settings.fast_increase * self.scale)
            else:
                step = settings.proportional_increase * self.pair.full * self.scale / 12e6
                self.increase += step * size * (target - delay)
        elif delay >= target:
            self.fast, self.idle = False, 0
            if self.average > target and now - self.cut_at > self.base:
                left = 1 - settings.decrease * (self.average - target) / self.average
                window *= max(left, 1 - settings.most_decrease)
                self.cut_at = now
                self.pair.cuts += 1
        self.put(window)
        waited = now - self.adjusted_at
        if self.received > settings.adjust_packets * self.pair.full or waited > self.network:
            window = self.window + self.increase / self.window
            if waited >= self.network:
                window += settings.steady_increase * self.pair.full * self.scale
                self.adjusted_at = now
            self.increase, self.received = 0.0, 0
            self.put(window)

    def adapts(self, now, lost, marked, delay):
        settings, held = self.settings, False
        if not settings.quick_adapt:
            return False
        if self.ignored < self.to_ignore and marked:
            held = True
        elif now > self.adapt_at:
            asked = self.trimmed_since or lost or delay > settings.quick_adapt_delay * self.target
            if self.adapt_at and asked and self.achieved < settings.quick_adapt_window * self.most:
                self.pair.cuts += self.achieved < self.window
                under_way = min(self.sent_bytes - self.settled, int(self.window))
                self.put(float(self.achieved))
                self.to_ignore, self.ignored, self.trimmed_since = under_way, 0, False
                held = True
            self.achieved, self.adapt_at = 0, now + self.base + int(self.target)
        if held:
            self.increase, self.received = 0.0, 0
        return held

    def trimmed(self, now, size):
        self.settled, self.ignored, self.trimmed_since = self.settled + size, self.ignored + size, True
        self.note(self.network)
        if not self.adapts(now, True, True, 0):
            self.put(self.window - size)

    def lost(self, now, timed_out):
        self.settled += self.pair.full
        self.put(self.window - self.pair.full)


class Mrc(Nscc):
    def acknowledged(self, now, size, marked, round_trip):
        super().acknowledged(now, size, marked, round_trip)
        if marked:
            self.pair.rest = int(self.settings.mark_rest * self.base)

    def trimmed(self, now, size):
        super().trimmed(now, size)
        self.pair.rest = int(self.settings.trim_rest * self.base)

    def lost(self, now, timed_out):
        super().lost(now, timed_out)
        self.pair.rest = round(self.settings.loss_rest_s * PS)


class Aimd:
    """That of tests/packages/window_control."""

    def __init__(self, pair, settings):
        self.pair, self.settings, self.whole_until = pair, settings, 0

    def started(self, now):
        self.pair.window = float(self.settings.first_window_bytes)

    def acknowledged(self, now, size, marked, round_trip):
        if not marked:
            self.pair.window += self.settings.increase_bytes * size / self.pair.window
        elif now >= self.whole_until:
            self.pair.window = max(self.pair.window * self.settings.decrease, float(self.settings.least_window_bytes))
            self.whole_until = now + round_trip
            self.pair.cuts += 1

    def lost(self, now, timed_out):
        if timed_out:
            self.pair.window = float(self.settings.least_window_bytes)
            self.pair.cuts += 1


class Ramp:
    """That of tests/packages/window_control."""

    def __init__(self, pair, settings):
        self.pair, self.settings = pair, settings

    def started(self, now):
        self.pair.rate = self.settings.first_rate * self.pair.line
        self.pair.alarm = now + round(self.settings.period_s * PS)

    def expired(self, now):
        self.pair.rate *= 2
        if self.pair.rate < self.pair.line:
            self.pair.alarm = now + round(self.settings.period_s * PS)
        else:
            self.pair.rate = None

    def lost(self, now, timed_out):
        self.started(now)
        self.pair.cuts += 1


class Resting:
    """That of tests/packages/window_control."""

    def __init__(self, pair, settings):
        self.pair, self.settings = pair, settings

    def notified(self, now):
        self.pair.rest = round(self.settings.rest_s * PS)
        self.pair.cuts += 1

    def acknowledged(self, now, size, marked, round_trip):
        if marked:
            self.notified(now)


CONTROLS = {
    "none": NoControl,
    "dcqcn": Dcqcn,
    "dcqcn_nvidia": Dcqcn,
    "swift": Swift,
    "hpcc": Hpcc,
    "nscc": Nscc,
    "mrc": Mrc,
    "aimd": Aimd,
    "ramp": Ramp,
    "resting": Resting,
}
