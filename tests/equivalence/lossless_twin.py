"""Rates under back-pressure in plain Python, written from the equations of docs/lossless.md; the twin of the kernels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from oracle_max_min import Path, fair_rates

TURNS, TOLERANCE, LEAST_ISOLATION = 60, 1e-3, 1e-4
MOST_STEP, LEAST_STEP, LONGER, SHORTER = 0.5, 0.02, 1.05, 0.7


def share(asked: Mapping[Hashable, float], allowed: float) -> float:
    """Return the level up to which a link serves its ports; where none is cut, what the largest could have."""
    if sum(asked.values()) <= allowed:
        return max(asked.values()) + allowed - sum(asked.values())
    level = allowed / len(asked)
    while True:
        below = [value for value in asked.values() if value < level]
        if len(below) == len(asked):
            return max(below)
        higher = (allowed - sum(below)) / (len(asked) - len(below))
        if higher <= level * (1 + 1e-12):
            return level
        level = higher


def lossless_rates(
    capacity: Mapping[Hashable, float], paths: Mapping[Hashable, Path], isolation: float = 0.0
) -> dict[Hashable, float]:
    """Return the rate of each path of weight 1 without a cap."""
    if not paths:
        return {}
    links = {link for path in paths.values() for link in path}
    hops_left = {link: max(len(path) - path.index(link) for path in paths.values() if link in path) for link in links}
    upstream = sorted(links, key=lambda link: (hops_left[link], link))
    starts = {path[0] for path in paths.values()}

    def asked_of(link: Hashable, rate: Mapping[Hashable, float]) -> dict[Hashable, float]:
        """Ports of a link and what they ask for."""
        asked: dict[Hashable, float] = {}
        for name, path in paths.items():
            if link in path:
                at = path.index(link)
                port = ("subflow", name) if at == 0 else ("link", path[at - 1])
                asked[port] = math.inf if at == 0 else asked.get(port, 0.0) + rate[name]
        return asked

    def over(link: Hashable, rate: Mapping[Hashable, float]) -> float:
        return sum(rate[name] for name, path in paths.items() if link in path)

    rate = {name: float(capacity[path[0]]) for name, path in paths.items()}
    level = {link: share(asked_of(link, rate), capacity[link]) for link in starts}
    rate = {name: level[path[0]] for name, path in paths.items()}
    step, last = dict.fromkeys(starts, MOST_STEP), dict.fromkeys(starts, 0.0)
    limit = dict.fromkeys(links, math.inf)
    for turn in range(1, TURNS):
        gaps = {}
        for link in upstream:
            asked = asked_of(link, rate)
            served = share(asked, min(capacity[link], limit[link]))
            limit[link] = math.inf
            for (kind, before), value in asked.items():
                if kind == "link":
                    limit[before] = min(limit[before], served * over(before, rate) / value)
            if link in starts:
                gaps[link] = math.log(served / level[link])
        for link, gap in gaps.items():
            step[link] = max(LEAST_STEP, min(MOST_STEP, step[link] * (SHORTER if gap * last[link] < 0 else LONGER)))
            last[link] = gap
            level[link] *= math.exp(step[link] * gap)
        rate = {name: level[path[0]] for name, path in paths.items()}
        if turn > 1 and max(map(abs, gaps.values())) < TOLERANCE:
            break
    full = {link: min(1.0, capacity[link] / over(link, rate)) for link in links}
    slowed = {start: min(full[link] for path in paths.values() if path[0] == start for link in path) for start in starts}
    fair, isolation = fair_rates(capacity, paths), max(isolation, LEAST_ISOLATION)
    return {name: isolation * fair[name] + (1 - isolation) * rate[name] * slowed[path[0]] for name, path in paths.items()}
