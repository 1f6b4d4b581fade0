"""Rates of late once more, in plain Python: the specification of what :mod:`zcube.network.packet.past` keeps of them."""

from __future__ import annotations

import numpy as np

NEVER = 1 << 62
#: Rates of late that are kept.
PAST = 64


class Rates:
    """The rates of late of a queue pair or a link, as single-precision numbers, a new one taking the place of the oldest."""

    def __init__(self, apart):
        self.apart, self.kept = apart, [0.0] * PAST

    def place(self, time):
        return max(time, 0) // self.apart % PAST

    def put(self, place, rate):
        self.kept[place] = float(np.float32(rate))

    def begin(self, rate, now, start=-NEVER):
        """Let it have been this rate from a time on and until now, and nothing before."""
        last = now // self.apart
        for number in range(last - PAST + 1, last + 1):
            self.put(number % PAST, rate if number * self.apart >= start else 0.0)

    def pieces(self, since, until):
        """Return the times between two that have a rate each."""
        while since < until:
            end = min((since // self.apart + 1) * self.apart, until)
            yield since, end
            since = end

    def note(self, size, since, until):
        """Keep what was sent, or came, in a step."""
        rate = size / (until - since)
        for begin, end in self.pieces(since, until):
            place, past = self.place(begin), begin % self.apart
            self.put(place, (self.kept[place] * past + rate * (end - begin)) / (past + end - begin))

    def oldest(self, now):
        return now - (PAST - 1) * self.apart

    def at(self, time, now):
        return self.kept[self.place(max(time, self.oldest(now)))]

    def between(self, since, until, now):
        """Return the bytes between two times, by the oldest rate what is older."""
        total, oldest = 0.0, self.oldest(now)
        if since < oldest:
            total += self.at(oldest, now) * (min(oldest, until) - since) if since < until else 0.0
        for begin, end in self.pieces(max(since, oldest), until):
            total += self.at(begin, now) * (end - begin)
        return total
