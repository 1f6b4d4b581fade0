"""Switches put where their cables are shortest in all.

Servers stand where they stand; the switches share out the places of the switch racks. The cables between a switch and servers
make this a linear assignment, those between switches a quadratic one. The first is solved exactly and fast by
``scipy.optimize.linear_sum_assignment`` (a shortest augmenting path method, milliseconds for hundreds of switches). As an
integer programme for HiGHS the second would need a variable for every pair of switches in every pair of places, 16 million
pairs of pairs at 64 switches already, so it is approached instead: an assignment with the other switches held where they are,
again as long as the total falls, then the best exchange of two switches, as long as that saves a hundred-thousandth. That no
arrangement at all is shorter is not proved.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray

#: Assignments, and exchanges, after which the search ends.
MAX_ROUNDS = 20
MAX_EXCHANGES = 100
#: Part of the total that an exchange has to save.
LEAST_SAVED = 1e-5


def least_cable(to_servers: FloatArray, to_places: FloatArray, links: IntArray, between: IntArray, start: IntArray) -> IntArray:
    """Return the place of each switch.

    Parameters
    ----------
    to_servers : float array [places, servers]
        Length of a cable from a place to a server, metres.
    to_places : float array [places, places]
        Length of a cable between two places; of a place with itself 0.
    links : int array [switches, servers]
        Cables from each switch to each server.
    between : int array [switches, switches]
        Cables between switches, in both triangles.
    start : int array [switches]
        Places to begin with.

    Returns
    -------
    int array [switches]
        The total length is never above that of ``start``.
    """
    # SciPy's optimisers take longer to load than anything else here; most who load this module place nothing.
    from scipy.optimize import linear_sum_assignment

    fixed = links @ to_servers.T
    place, total = start, _total_m(start, fixed, to_places, between)
    for _ in range(MAX_ROUNDS):
        cost = fixed + between @ to_places[place]
        trial = linear_sum_assignment(cost)[1]
        length = _total_m(trial, fixed, to_places, between)
        if length >= total * (1 - LEAST_SAVED):
            break
        place, total = trial, length
    for _ in range(MAX_EXCHANGES):
        gain = _exchange_m(place, fixed, to_places, between)
        pairs = _apart(gain, LEAST_SAVED * total)
        if not len(pairs):
            break
        # Exchanges found one by one may spoil each other; the best alone never does.
        trials = [_exchanged(place, some) for some in (pairs, pairs[:1])]
        lengths = [_total_m(trial, fixed, to_places, between) for trial in trials]
        place, total = trials[int(np.argmin(lengths))], min(lengths)
    return np.asarray(place)


def _apart(gain: FloatArray, least_m: float) -> IntArray:
    """Return exchanges that each save enough, best first, no switch in two of them [exchanges, 2]."""
    one, other = np.nonzero(np.triu(gain < -least_m))
    order = np.argsort(gain[one, other], kind="stable")
    used: set[int] = set()
    chosen = []
    for pair in zip(one[order].tolist(), other[order].tolist()):
        if used.isdisjoint(pair):
            used.update(pair)
            chosen.append(pair)
    return np.array(chosen, dtype=np.int64).reshape(-1, 2)


def _exchanged(place: IntArray, pairs: IntArray) -> IntArray:
    changed = place.copy()
    changed[pairs] = place[pairs[:, ::-1]]
    return np.asarray(changed)


def _total_m(place: IntArray, fixed: FloatArray, to_places: FloatArray, between: IntArray) -> float:
    own = np.arange(len(place))
    return float(fixed[own, place].sum() + (between * to_places[np.ix_(place, place)]).sum() / 2)


def _exchange_m(place: IntArray, fixed: FloatArray, to_places: FloatArray, between: IntArray) -> FloatArray:
    """Return by how much the total grows if two switches change places [switches, switches]."""
    apart = to_places[np.ix_(place, place)]
    # What switch i would have to lay from the place of switch j, all others held.
    there = fixed[:, place] + between @ apart
    here = np.diag(there)
    # Their own cables run between the same two places before and after.
    return np.asarray(there + there.T - here[:, None] - here[None, :] + 2 * between * apart)
