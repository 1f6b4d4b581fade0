"""The window of steady state of a run: found while it goes on, so that what links carry is read at both ends of it.

Whether it is long enough, and steady, is said once the run has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.serving.clock import Clock
from zcube.serving.journey import Journeys
from zcube.serving.littles_law import filled, littles_law, time_to_fill_s, times_in_system_s, unsteady
from zcube.serving.settings import Load, Measure
from zcube.serving.transfers import Transfers
from zcube.workload.requests import RequestTrace


@dataclass(frozen=True, eq=False)
class Window:
    """Part of a run, ``start_s <= t < end_s``.

    Attributes
    ----------
    start_s, end_s : float
        On the run's clock; the whole run where it is too short for rates.
    carried_bytes : float array [links]
        What every link carried in it.
    carried_before_bytes : float array [links]
        What every link had carried before it.
    steps : tuple of int array [decode nodes]
        Steps of each decode node that ended before its start, and before its end.
    no_rate : str or None
        Why the run is too short for rates, None if it is not.
    unsteady : str or None
        Why rates over it are none of a steady state, None if nothing speaks against one.
    """

    start_s: float
    end_s: float
    carried_bytes: FloatArray
    carried_before_bytes: FloatArray
    steps: tuple[IntArray, IntArray]
    no_rate: str | None = None
    unsteady: str | None = None

    @property
    def length_s(self) -> float:
        """Seconds between its ends."""
        return self.end_s - self.start_s

    @property
    def ends_s(self) -> tuple[float, float]:
        """When it begins and ends."""
        return self.start_s, self.end_s

    @property
    def totals_bytes(self) -> tuple[FloatArray, FloatArray]:
        """What every link had carried at both its ends [links]."""
        return self.carried_before_bytes, self.carried_before_bytes + self.carried_bytes

    def holds(self, times_s: FloatArray) -> BoolArray:
        """Return which of some times lie in it; nan does not."""
        return np.asarray((times_s >= self.start_s) & (times_s < self.end_s))


class WindowWatch:
    """Opens and closes the window of a run as requests arrive.

    Parameters
    ----------
    env, transfers
        Clock and network of the run.
    steps_before : callable
        ``steps_before(now_s)``: steps of each decode node that ended before the present [decode nodes].
    trace : RequestTrace
        What is offered.
    measure, load
        How long to warm up and to measure, and when the run ends at the latest.
    """

    def __init__(
        self, env: Clock, transfers: Transfers, steps_before: Callable[[float], IntArray], trace: RequestTrace,
        measure: Measure, load: Load,
    ):  # fmt: skip
        self._env, self._transfers, self._steps_before, self._measure = env, transfers, steps_before, measure
        self._starts = trace.after < 0
        self._by_parts = measure.warm_up_s is None and measure.window_s is None and load.horizon_s is None
        cool_down = measure.cool_down_fraction if measure.window_s is None else 0.0
        self._starts_left = int(self._starts.sum())
        self._starts_after = int(cool_down * self._starts_left)
        self._arrivals_left = int(np.ceil(measure.warm_up_fraction * len(trace)))
        #: By request, whether it waits for no other: 0 or 1. Whether the window opens after so many arrivals.
        self._is_start, self._counts = self._starts.tobytes(), measure.warm_up_s is None
        #: Time, bytes that links have carried and steps that have ended, at both ends.
        self._start: tuple[float, FloatArray, IntArray] | None = None
        self._end: tuple[float, FloatArray, IntArray] | None = None
        self._load_end_s: float | None = None
        self._on_time = False
        wait_s = measure.warm_up_s
        if wait_s is None and load.horizon_s is not None:
            wait_s = measure.warm_up_fraction * load.horizon_s
        if wait_s is not None:
            self._after(wait_s, self._open)
        if load.horizon_s is not None and cool_down:
            self._after((1.0 - cool_down) * load.horizon_s, self._close)

    def _after(self, seconds: float, what: Callable[[float], None]) -> None:
        self._env.after(seconds, lambda: what(self._env.now))

    def arrived(self, request: int, now_s: float) -> None:
        """Note that a request arrives now."""
        if self._counts:
            if self._arrivals_left == 0:
                self._open(now_s)
            self._arrivals_left -= 1
        self._starts_left -= self._is_start[request]
        if self._starts_left <= self._starts_after:
            self._close(now_s)
        if not self._starts_left and self._load_end_s is None:
            self._load_end_s = now_s

    def _open(self, now_s: float) -> None:
        if self._start is None and self._end is None:
            self._start = (now_s, self._transfers.carried_bytes(), self._steps_before(now_s))
            if self._measure.window_s is not None:
                self._after(self._measure.window_s, self._reach_length)

    def _reach_length(self, now_s: float) -> None:
        self._on_time = self._end is None
        self._close(now_s)

    def _close(self, now_s: float) -> None:
        if self._end is None:
            self._end = (now_s, self._transfers.carried_bytes(), self._steps_before(now_s))

    def window(self, journeys: Journeys, carried_bytes: FloatArray) -> Window:
        """Return the window of a run that has ended at present, its links having carried so many bytes."""
        run_end_s = float(self._env.now)
        steps = self._steps_before(run_end_s)
        end_s, at_end, steps_at_end = self._end or (run_end_s, carried_bytes, steps)
        no_rate: str | None = "no request began after the warm-up"
        if self._start is not None and self._start[0] < end_s:
            start_s, at_start, steps_at_start = self._start
            window = Window(float(start_s), float(end_s), at_end - at_start, at_start, (steps_at_start, steps_at_end))
            times_s = times_in_system_s(journeys, window, run_end_s)
            no_rate = self._too_short(window, int(window.holds(journeys.arrival_s).sum()), times_s, run_end_s)
            if no_rate is None:
                law = littles_law(journeys, window, run_end_s)
                return replace(window, unsteady=unsteady(law, self._measure.steady_within))
        return Window(0.0, run_end_s, carried_bytes, np.zeros_like(carried_bytes), (np.zeros_like(steps), steps), no_rate)

    def _too_short(self, window: Window, arrived: int, times_s: FloatArray, run_end_s: float) -> str | None:
        """Return why a window gives no rate, None if it does; ``times_s`` are those its requests spent in the system."""
        asked, length_s = self._measure, window.length_s
        if asked.window_s is not None and not self._on_time:
            return f"the load lasted {length_s:.4g} s after the warm-up, measure.window_s asks for {asked.window_s:.4g} s"
        if arrived < asked.least_requests:
            requests = "1 request" if arrived == 1 else f"{arrived} requests"
            return f"{requests} arrived in the window, measure.least_requests asks for {asked.least_requests}"
        after_s = (run_end_s if self._load_end_s is None else self._load_end_s) - window.end_s
        mean_s = float(times_s.mean()) if len(times_s) else 0.0
        came, leave, least = filled(times_s, window.start_s), filled(times_s, after_s), asked.least_filled
        if came < least:
            short = f"the warm-up of {window.start_s:.4g} s fills the system to {100 * came:.0f} %"
        elif leave < least:
            short = f"the load goes on for {after_s:.4g} s after the window, in which {100 * leave:.0f} % of those inside leave"
        elif length_s < asked.least_turnovers * mean_s:
            short = (
                f"the window of {length_s:.4g} s is {length_s / mean_s:.2g} times a request's mean {mean_s:.4g} s in the system"
            )
        else:
            return None
        filling = min(came, leave) < least
        bound = f"least_filled asks for {100 * least:g} %" if filling else f"least_turnovers asks for {asked.least_turnovers:g}"
        fill_s = time_to_fill_s(times_s, least)
        needed = ((fill_s, window.start_s), (fill_s, after_s), (asked.least_turnovers * mean_s, length_s))
        return f"{short}, measure.{bound}{self._enough(needed)}"

    def _enough(self, needed: Sequence[tuple[float, float]]) -> str:
        """Return how many requests would do where parts of a run are to last longer; nothing if they are named in seconds.

        Parameters
        ----------
        needed : sequence of pairs of float
            Seconds a part should last and those that it lasts.
        """
        if not self._by_parts or not all(has_s for _, has_s in needed):
            return ""
        enough = len(self._starts) * max(needed_s / has_s for needed_s, has_s in needed)
        step = 10 ** max(0, int(np.log10(enough)) - 1)
        return f"; about {int(np.ceil(enough / step)) * step:,} requests would do"
