"""The largest load that still holds: a bracketing search with a bounded number of runs, whatever holding means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

#: Largest over smallest load at which the search stops, less 1.
TOLERANCE = 0.05
#: Runs a search makes at most.
MAX_RUNS = 14
#: Factor between loads until some hold and some do not.
STEP = 2.0

#: ``found``: the bracket is as narrow as asked for; ``all hold``: the highest load does; ``none holds``: not even the lowest;
#: ``out of runs``: the bracket is wider than asked for, or one of its ends is not known.
Status = Literal["found", "all hold", "none holds", "out of runs"]


@dataclass(frozen=True, slots=True)
class LoadSearch:
    """What a search came to.

    Attributes
    ----------
    holds : float or None
        Largest load found to hold below ``fails``.
    fails : float or None
        Smallest load found not to hold.
    runs : tuple of (float, bool)
        Every load that was tried, in order, and whether it held.
    status : Status
        How it ended.
    """

    holds: float | None
    fails: float | None
    runs: tuple[tuple[float, bool], ...]
    status: Status

    @property
    def width(self) -> float | None:
        """Ratio of the ends of the bracket less 1; None where one is not known."""
        return None if self.holds is None or self.fails is None else self.fails / self.holds - 1.0


def search_load(
    holds: Callable[[float], float],
    start: float,
    lowest: float,
    highest: float,
    *,
    tolerance: float = TOLERANCE,
    max_runs: int = MAX_RUNS,
    whole: bool = False,
) -> LoadSearch:
    """Search the load up to which something holds.

    From ``start`` the load is doubled while it holds, or halved while it does not, within ``lowest`` and ``highest``; then the
    bracket is divided at the geometric mean of its ends. No load is tried twice. Where holding is not monotone, as under noise,
    the result is still a load that held below one that did not.

    Parameters
    ----------
    holds : callable
        ``holds(load)`` runs at a load and says whether it holds; a margin will do, positive where it does.
    start, lowest, highest : float
        Loads, ``0 < lowest <= start <= highest``; in what unit is the caller's.
    tolerance : float
        Largest ratio of the ends of the bracket, less 1, that is narrow enough; > 0.
    max_runs : int
        Loads tried at most, >= 1.
    whole : bool
        Whether loads are whole numbers; neighbours are then narrow enough, and the three loads are to be whole too.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    if not 0 < lowest <= start <= highest < float("inf"):
        raise ValueError(f"loads 0 < lowest <= start <= highest wanted, not {lowest}, {start}, {highest}")
    if not tolerance > 0 or max_runs < 1:
        raise ValueError(f"a tolerance > 0 and max_runs >= 1 wanted, not {tolerance} and {max_runs}")
    if whole and any(load != round(load) for load in (start, lowest, highest)):
        raise ValueError(f"whole loads wanted, not {lowest}, {start}, {highest}")
    runs: list[tuple[float, bool]] = []
    below: float | None = None
    above: float | None = None
    load = start
    while True:
        held = holds(load) > 0
        runs.append((load, held))
        below, above = (load, above) if held else (below, load)
        if above is None:
            if load == highest:
                return LoadSearch(below, None, tuple(runs), "all hold")
            load = min(load * STEP, highest)
        elif below is None:
            if load == lowest:
                return LoadSearch(None, above, tuple(runs), "none holds")
            load = max(load / STEP, lowest)
        else:
            load = sqrt(below * above)
        if whole:
            load = float(round(load))
        if below is not None and above is not None and (above <= below * (1.0 + tolerance) or not below < load < above):
            return LoadSearch(below, above, tuple(runs), "found")
        if len(runs) == max_runs:
            return LoadSearch(below, above, tuple(runs), "out of runs")
