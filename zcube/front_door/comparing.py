"""Comparisons, and pictures of any result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.calibrate.calibration import Calibration
from zcube.comparison import Comparison
from zcube.fabric.model import Fabric
from zcube.front_door.given import check_type, checked_jobs, compile_ahead
from zcube.matrix.matrix import Matrix
from zcube.microscope.look import look, microscope_of
from zcube.progress import Progress, silent
from zcube.replays.flows import Replay
from zcube.replays.operations import TraceReplay
from zcube.run_time import runs_side_by_side
from zcube.scenario import Scenario, changed, load_scenario
from zcube.searches import Searches
from zcube.warm import OF_SERVING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(
    scenario: str | Path | Scenario = "zai-2026",
    changes: Mapping[str, Any] | None = None,
    *,
    find_knee: bool | Mapping[str, Any] = False,
    find_capacity: bool | Mapping[str, Any] = False,
    sweep: str | None = None,
    sensitivity: bool = False,
    microscope: bool | Mapping[str, Any] = False,
    jobs: int = 1,
    progress: Progress = silent,
) -> Comparison:
    """Serve the same requests on several fabrics.

    Parameters
    ----------
    scenario : str, Path or Scenario
        Bundled scenario, scenario file, the ``run.json`` of an earlier run, whose searches are to be asked for again, or what
        :func:`load_scenario` returned.
    changes : mapping, optional
        Dotted key to value, e.g. ``{"load.rate_per_s": 40}``; docs/scenarios.md lists the keys. None removes a key.
    find_knee : bool or mapping
        Whether to search the load from which on each fabric adds to TTFT P99, which takes further runs; keys ``share``,
        ``tolerance``, ``max_loads``, ``lowest``, ``highest`` of :class:`~zcube.knee.KneeSearch` say how.
    find_capacity : bool or mapping
        Whether to search the load up to which each fabric meets ``[slo]``, which takes further runs; keys ``share``,
        ``tolerance``, ``max_loads``, ``lowest`` and ``highest`` of :class:`~zcube.capacity.CapacitySearch` say how.
    sweep : str, optional
        ``KEY=VALUE,VALUE,...``: further comparisons with a key of the scenario at each of these values.
    sensitivity : bool
        Whether to make further comparisons, one for every setting in the scenario's ``[sensitivity]``.
    microscope : bool or mapping
        Whether to rebuild the worst windows of each fabric's run packet by packet; keys ``windows``, ``window_s`` and
        ``packet_hops`` of :class:`~zcube.microscope.look.Microscope` say how many, how long and how much of each.
    jobs : int
        Runs at a time, in processes of their own where there are several, which changes nothing in the result. They import the
        script that calls this, whose own work is then to stand below ``if __name__ == "__main__":``.
    progress : Progress, optional
        Told what is under way and how much of it is done, as ``progress(phase, done, total, unit)``.

    Raises
    ------
    InputError
        With every fault of the scenario, the changes and the fabrics, before anything runs.
    TypeError
        If an argument is of another type.
    """
    check_type("changes", changes, Mapping | None, "a mapping of dotted keys to values")
    declared = changed(scenario, changes or {}) if isinstance(scenario, Scenario) else load_scenario(str(scenario), changes)
    searches = Searches.of(declared, find_knee, find_capacity, sweep, sensitivity)
    magnified = microscope_of(declared, microscope)
    with runs_side_by_side(declared, checked_jobs(jobs), searches != Searches()) as beside:
        if beside.jobs > 1:
            compile_ahead(declared.network.fidelity, progress, *OF_SERVING)
        comparison = searches.compared(declared, progress, beside=beside)
    return comparison if magnified is None else look(comparison, magnified, progress)


def figures(result: Comparison | Fabric | TraceReplay | Replay | Matrix | Calibration) -> dict[str, Figure]:
    """Draw a result: each picture as a matplotlib figure, by name.

    A comparison: distribution and parts of the time to first token, load of links, bill, and of the packet fidelity
    ``congestion_trees-<fabric>`` of each fabric with pauses. A fabric: its drawing. A trace replay:
    its timeline, and what its transfers give. A packet replay: congestion trees, and ports over time where it kept bins.
    A matrix: its cells as shades. A calibration: measured against fitted.

    Raises
    ------
    TypeError
        If it is no such result.
    """
    from zcube.report.comparison_figures import comparison_draws
    from zcube.report.fabric_drawing import draw_fabric
    from zcube.report.replay_figures import replay_figures
    from zcube.report.results import Results

    if isinstance(result, Comparison):
        return {name: draw() for name, draw in comparison_draws(Results.of(result)).items()}
    if isinstance(result, Fabric):
        return {"fabric": draw_fabric(result)}
    if isinstance(result, Matrix):
        from zcube.report.matrix_picture import plot_matrix

        return {"matrix": plot_matrix(result.document())}
    if isinstance(result, Calibration):
        from zcube.report.calibration_plot import plot_calibration

        return {"calibration": plot_calibration(result)}
    expected = "what compare, replay, matrix, calibrate.fit or load_fabric returned"
    check_type("result", result, TraceReplay | Replay, expected)
    return replay_figures(result)
