"""Which requests a run's figures are over, so that two runs' figures can be told to be over the same ones or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zcube.arrays import BoolArray
from zcube.serving.journey import COMPLETED
from zcube.serving.run import ServingRun


@dataclass(frozen=True, eq=False)
class Counted:
    """Requests that figures of a run are over.

    Attributes
    ----------
    served : bool array [requests]
        Completed in the run: what was served while rates were taken.
    arrived : bool array [requests]
        Arrived in the window: shares and tails in which failures count.
    answered : bool array [requests]
        Arrived in the window and completed: latencies.
    """

    served: BoolArray
    arrived: BoolArray
    answered: BoolArray

    @classmethod
    def of(cls, run: ServingRun) -> Counted:
        """Return those of a run."""
        served, arrived = run.journeys.outcome == COMPLETED, run.window.holds(run.journeys.arrival_s)
        return cls(served, arrived, served & arrived)


def on_one_side(mine: Sequence[Counted], theirs: Sequence[Counted]) -> dict[str, int]:
    """Return how many requests figures are over on one side and not on the other, by what they are over, summed over seeds.

    Parameters
    ----------
    mine, theirs : sequence of Counted
        Runs of the same requests, seed by seed.
    """
    return {
        name: sum(int((getattr(a, name) != getattr(b, name)).sum()) for a, b in zip(mine, theirs, strict=True))
        for name in ("served", "arrived", "answered")
    }
