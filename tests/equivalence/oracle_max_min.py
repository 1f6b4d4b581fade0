"""Max-min fair fluid in plain Python, written from its definition; the specification of the fast kernels.

A transfer is active from its start; its last bit arrives the longest delay of its paths after it was sent. Each path claims
a max-min fair share of each link it crosses. ``pooled``: all its paths drain one amount of bits; ``fixed``: each drains an
equal part. All rates are solved anew whenever anything starts or ends. Numbers may be floats or fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Number = Any
Path = Sequence[Hashable]


@dataclass(frozen=True)
class Transfer:
    """Bits to be moved from a time on, over one path or more; a path is a sequence of links."""

    start: Number
    bits: Number
    paths: Sequence[Path]


def fair_rates(capacity: Mapping[Hashable, Number], paths: Mapping[Hashable, Path]) -> dict[Hashable, Number]:
    """Return the max-min fair rate of each path by progressive filling.

    All rates rise together; a path stops rising when a link on it is full.
    """
    rate: dict[Hashable, Number] = {}
    rising = dict(paths)
    while rising:
        share = {}
        for link, limit in capacity.items():
            claimants = sum(link in path for path in rising.values())
            if claimants:
                taken = sum(rate[name] for name in rate if link in paths[name])
                share[link] = (limit - taken) / claimants
        full = min(share, key=lambda link: share[link])
        for name in [name for name, path in rising.items() if full in path]:
            rate[name] = share[full]
            del rising[name]
    return rate


def finish_times(
    capacity: Mapping[Hashable, Number],
    delay: Mapping[Hashable, Number],
    transfers: Sequence[Transfer],
    pooled: bool,
    rates: Callable[[Mapping[Hashable, Number], Mapping[Hashable, Path]], dict[Hashable, Number]] = fair_rates,
) -> list[Number]:
    """Return when each transfer's last bit arrives, with the rates of the paths that drain as given."""
    # A pool is (transfer, part); it drains over the paths listed for it.
    waiting: dict[tuple[int, int], Number] = {}
    left: dict[tuple[int, int], Number] = {}
    paths_of: dict[tuple[int, int], list[Path]] = {}
    for number, transfer in enumerate(transfers):
        groups = [list(transfer.paths)] if pooled else [[path] for path in transfer.paths]
        for part, group in enumerate(groups):
            waiting[number, part] = transfer.start
            left[number, part] = transfer.bits / len(groups)
            paths_of[number, part] = group
    finish: list[Number] = [0] * len(transfers)
    active: set[tuple[int, int]] = set()
    now: Number = 0
    while waiting or active:
        claims = {(pool, which): path for pool in active for which, path in enumerate(paths_of[pool])}
        claimed = rates(capacity, claims)
        rate = {pool: sum(claimed[pool, which] for which in range(len(paths_of[pool]))) for pool in active}
        end = {pool: now + left[pool] / rate[pool] for pool in active}
        then = min([*waiting.values(), *end.values()])
        for pool in active:
            left[pool] -= rate[pool] * (then - now)
        for pool in [pool for pool in active if end[pool] == then]:
            longest = max(sum(delay[link] for link in path) for path in transfers[pool[0]].paths)
            finish[pool[0]] = max(finish[pool[0]], then + longest)
            active.remove(pool)
        for pool in [pool for pool, start in waiting.items() if start == then]:
            active.add(pool)
            del waiting[pool]
        now = then
    return finish
