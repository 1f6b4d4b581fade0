"""How long transfers would take if each had the network to itself: what a slow-down is measured against."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray
from zcube.network.kernels import inner, kernel
from zcube.routing.routes import Routes

#: Shares this close together, relative to each other, are reached at once.
_TIE = 1e-12


def alone_s(
    routes: Routes, capacity_bps: FloatArray, size_bits: FloatArray, cap_bps: FloatArray | None, pooled: bool
) -> FloatArray:
    """Return the time each transfer takes by itself, the delay of its paths left out.

    Parameters
    ----------
    routes : Routes
        Paths; every transfer has one or more.
    capacity_bps : float array [links]
        Rate of each link, above 0 where a path crosses it.
    size_bits : float array [flows]
        Payload.
    cap_bps : float array [flows] or None
        Most each may take, split over its paths by their shares.
    pooled : bool
        Whether all paths of a transfer draw from one pool, or each carries its share.

    Returns
    -------
    float array [flows]
        Seconds.
    """
    cap = np.full(routes.flows, np.inf) if cap_bps is None else cap_bps
    width = int(routes.paths_per_flow.max(initial=0))
    left, rate, taken_s = np.empty(width), np.empty(width), np.zeros(routes.flows)
    _write_alone(
        routes.first_subflow, routes.first_hop, routes.link, routes.share, capacity_bps, size_bits, cap, pooled,
        left, rate, taken_s,
    )  # fmt: skip
    return taken_s


@kernel
def _write_alone(
    first_subflow: np.ndarray, first_hop: np.ndarray, link: np.ndarray, share: np.ndarray, capacity_bps: np.ndarray,
    size_bits: np.ndarray, cap_bps: np.ndarray, pooled: bool, left: np.ndarray, rate: np.ndarray, taken_s: np.ndarray,
) -> None:  # fmt: skip
    """Write what each transfer takes into ``taken_s``, zeros before; ``left`` and ``rate`` are scratch, one a path."""
    for flow in range(len(first_subflow) - 1):
        first, paths = first_subflow[flow], first_subflow[flow + 1] - first_subflow[flow]
        for path in range(paths):
            left[path] = size_bits[flow] * share[first + path]
        while True:
            fill_alone(first_hop, link, share, capacity_bps, cap_bps[flow], first, paths, left, rate)
            if pooled:
                total = 0.0
                for path in range(paths):
                    total += rate[path]
                taken_s[flow] = size_bits[flow] / total
                break
            step_s = np.inf
            for path in range(paths):
                if left[path] > 0.0:
                    step_s = min(step_s, left[path] / rate[path])
            if step_s == np.inf:
                break
            taken_s[flow] += step_s
            for path in range(paths):
                if left[path] > 0.0:
                    spent = left[path] / rate[path] <= step_s * (1.0 + _TIE)
                    left[path] = 0.0 if spent else left[path] - rate[path] * step_s


@inner
def fill_alone(
    first_hop: np.ndarray, link: np.ndarray, share: np.ndarray, capacity_bps: np.ndarray, cap_bps: float,
    first: int, paths: int, left: np.ndarray, rate: np.ndarray,
) -> None:  # fmt: skip
    """Write the max-min rates of one transfer's paths that have bytes left into ``rate``, by progressive filling."""
    open_paths = 0
    for path in range(paths):
        rate[path] = -1.0 if left[path] > 0.0 else 0.0
        open_paths += left[path] > 0.0
    while open_paths > 0:
        level = np.inf
        for path in range(paths):
            if rate[path] < 0.0:
                limit = path_limit(first_hop, link, share, capacity_bps, cap_bps, first, paths, path, rate)
                level = min(level, limit)
                # Kept as a negative number until all limits of this round are known.
                rate[path] = -limit
        for path in range(paths):
            if rate[path] < 0.0:
                if -rate[path] <= level * (1.0 + _TIE):
                    rate[path] = level
                    open_paths -= 1
                else:
                    rate[path] = -1.0


@inner
def path_limit(
    first_hop: np.ndarray, link: np.ndarray, share: np.ndarray, capacity_bps: np.ndarray, cap_bps: float,
    first: int, paths: int, path: int, rate: np.ndarray,
) -> float:  # fmt: skip
    """Return the least fair share over a path's links and its own part of the cap, given the rates fixed so far."""
    limit = cap_bps * share[first + path]
    for hop in range(first_hop[first + path], first_hop[first + path + 1]):
        room, claimants = capacity_bps[link[hop]], 0
        for other in range(paths):
            for crossed in range(first_hop[first + other], first_hop[first + other + 1]):
                if link[crossed] == link[hop]:
                    if rate[other] < 0.0:
                        claimants += 1
                    else:
                        room -= rate[other]
        limit = min(limit, max(room, 0.0) / claimants)
    return limit
