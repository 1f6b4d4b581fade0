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
        return time // self.apart % PAST

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


class Waits:
    """How long what left a queue had stood in it, known at the end of the time of each rate of late."""

    def __init__(self, apart):
        self.apart, self.ends, self.empty_since = apart, Rates(apart), 0

    def begin(self, wait, now):
        self.ends.begin(float(wait), now)

    def note(self, before, after, since, until):
        """Keep waits that went from one to another in a step."""
        for begin, end in self.ends.pieces(since, until):
            self.ends.put(self.ends.place(begin), before + (after - before) * ((end - since) / (until - since)))

    def at(self, time, now):
        if time >= self.empty_since:
            return 0
        # The oldest of which the one before is known too.
        oldest = (self.ends.oldest(now) // self.apart + 1) * self.apart
        time = max(min(time, now), oldest + 1)
        begin = (time - 1) // self.apart * self.apart
        before, after = (self.ends.kept[self.ends.place(moment)] for moment in (begin - 1, begin))
        return int(before + (after - before) * ((time - begin) / (min(begin + self.apart, now) - begin)))
