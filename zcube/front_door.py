"""What ``import zcube`` offers: the main verbs as functions that take names, files, frames or values, and return results.

Results are values with a ``table()`` as a pandas frame, units in the names of its columns, and a ``document()``, JSON-ready.
:func:`figures` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zcube.calibrate.calibration import Calibration
from zcube.calibrate.links import carrier_on
from zcube.comparison import Comparison
from zcube.errors import Fault, FaultList, InputError, RunError, ZcubeError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.fabric.optics import OpticsRule, optics_of
from zcube.fabric.wiring.rack_layout import load_layout
from zcube.inputs import faults_of, validate
from zcube.matrix.loads import carried_load
from zcube.matrix.matrix import Matrix, run_matrix
from zcube.matrix.settings import MatrixSettings
from zcube.memory import MOST_JOBS
from zcube.microscope.look import look, microscope_of
from zcube.network import settings
from zcube.network.carrier import Carrier
from zcube.network.transports import load_transport
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.growth.renaming import Names
from zcube.plan.growth.targets import larger_fabrics
from zcube.plan.placement.kv_sample import KvLoad
from zcube.plan.plan import Plan
from zcube.plan.plan import plan as answer
from zcube.plan.rewiring.rewired import wiring_task
from zcube.plan.search.search import search as breed
from zcube.plan.search.searched import Searched
from zcube.plan.search.settings import SearchSettings
from zcube.plan.standing import FabricPlan, fabric_plan
from zcube.pricing.bill import DEFAULT_RULE, BillOfMaterials, bill_of_materials
from zcube.pricing.counted import counted_bill
from zcube.pricing.price_book import load_price_book
from zcube.progress import Progress, silent
from zcube.replays.banded import ReplayTask, replay_with_band
from zcube.replays.flows import Replay
from zcube.replays.gpus import gpu_numbers, known_gpus
from zcube.replays.operations import TraceReplay
from zcube.run_time import runs_side_by_side
from zcube.samples.catalog import Demo, write_samples
from zcube.scenario import Scenario, changed, load_scenario
from zcube.searches import Searches
from zcube.side_by_side import SideBySide
from zcube.sweep.executor import Executor, Processes
from zcube.sweep.on_dask import OnDask
from zcube.sweep.points import cases_of, load_cases
from zcube.sweep.runs import groups_of, runs_of
from zcube.sweep.settings import SweepSettings
from zcube.sweep.sweep import Sweep, missing, run_sweep
from zcube.trace.comm_trace import CommTrace
from zcube.trace.files import is_trace
from zcube.trace.files import read_trace as load_trace
from zcube.warm import OF_SERVING, KernelsAhead, needed_groups
from zcube.workload.flow_lists import FlowList, flows_of_frame, read_flows
from zcube.workload.readers import read_requests
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "BillOfMaterials",
    "CommTrace",
    "Comparison",
    "Fabric",
    "FabricPlan",
    "InputError",
    "Matrix",
    "Network",
    "Plan",
    "Replay",
    "RequestTrace",
    "RunError",
    "Scenario",
    "Sweep",
    "TraceReplay",
    "ZcubeError",
    "compare",
    "cost",
    "demo",
    "figures",
    "load_fabric",
    "load_requests",
    "load_scenario",
    "load_trace",
    "matrix",
    "plan",
    "plan_fabric",
    "replay",
    "sweep",
]

#: What a function takes for a fabric: what :func:`load_fabric` does, or a fabric.
FabricLike: TypeAlias = "str | Path | Fabric"


class Network(settings.Network):
    """How bytes move: the keys of ``[network]`` as keyword arguments; docs/scenarios.md lists them."""

    if not TYPE_CHECKING:

        def __init__(self, **keys: Any):
            """Raise an :class:`~zcube.errors.InputError` with every fault of the keys."""
            with settings.told_with_routings(keys, "Network: {}".format), faults_of("Network", settings.Network):
                super().__init__(**keys)


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
    _check_type("changes", changes, Mapping | None, "a mapping of dotted keys to values")
    declared = changed(scenario, changes or {}) if isinstance(scenario, Scenario) else load_scenario(str(scenario), changes)
    searches = Searches.of(declared, find_knee, find_capacity, sweep, sensitivity)
    magnified = microscope_of(declared, microscope)
    with runs_side_by_side(declared, _checked_jobs(jobs), searches != Searches()) as beside:
        if beside.jobs > 1:
            _compile_ahead(declared.network.fidelity, progress, *OF_SERVING)
        comparison = searches.compared(declared, progress, beside=beside)
    return comparison if magnified is None else look(comparison, magnified, progress)


def replay(
    fabric: FabricLike,
    transfers: str | Path | pd.DataFrame | FlowList | CommTrace,
    network: Network | None = None,
    *,
    seed: int = 0,
    collectives: Mapping[str, str] | None = None,
    first_server: int = 0,
    server_stride: int = 1,
    against: str | Path | CommTrace | None = None,
    progress: Progress = silent,
) -> Replay | TraceReplay:
    """Carry listed transfers, or run a communication trace, over a fabric.

    Parameters
    ----------
    fabric : str, Path or Fabric
        What carries them.
    transfers : str, Path, pandas.DataFrame, FlowList or CommTrace
        A list of transfers or a trace, as a file (CSV, Parquet, JSON Lines) or in memory; a frame has the columns
        ``src, dst, bytes, start_s`` and may have ``id, cap_gbps, weight, coflow``, see docs/replay.md.
    network : Network, optional
        How bytes move; default: the max-min fluid.
    seed : int
        Of the hash that chooses paths, and of the marks that packets draw.
    collectives : mapping, optional
        Of a trace: algorithm by collective, e.g. ``{"all-reduce": "ring"}``.
    first_server, server_stride : int
        Of a trace: server of its first node, and servers from one of its nodes to the next.
    against : str, Path or CommTrace, optional
        Of a trace: the same job with recorded durations, which simulated ones are held against; default: the trace's own.
    progress : Progress, optional
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        With every fault of what was given, before the run starts.
    RunError
        If nothing can move any more.
    TypeError
        If an argument is of another type.
    """
    _check_type("network", network, settings.Network | None, "a zcube.Network, as zcube.Network(fidelity='packet') makes one")
    carrier = carrier_on(_fabric(fabric), network or Network(), seed)
    given = _loaded(transfers, carrier)
    options: dict[str, Any] = {}
    if not isinstance(given, FlowList):
        recording = against if against is None or isinstance(against, CommTrace) else load_trace(Path(against))
        options = {
            "collectives": collectives,
            "first_server": first_server,
            "server_stride": server_stride,
            "against": recording,
        }
    return replay_with_band(ReplayTask(carrier, given, options), progress=progress)


def load_requests(path: str | Path, *, max_requests: int | None = None) -> RequestTrace:
    """Read a request trace, telling its format by content; as :func:`~zcube.workload.readers.read_requests`."""
    return read_requests(Path(path), max_requests=max_requests)


def cost(
    fabric: FabricLike | Mapping[str, Any], price_book: str | Path = "mixnet-2025", *, optics: OpticsRule = DEFAULT_RULE
) -> BillOfMaterials:
    """Price a fabric's switches, optics and NICs.

    Parameters
    ----------
    fabric : str, Path, Fabric or mapping
        What is priced; a mapping has counts, e.g. ``{"switches": 1568, "switch_links": 32928}``.
    price_book : str or Path
        Bundled price book or a TOML file.
    optics : {"paper", "all-optical", "by-length"}
        Rule by which cages hold modules, see docs/fabrics.md.

    Raises
    ------
    InputError
        With every fault of the fabric or the book.
    """
    if isinstance(fabric, Mapping):
        return counted_bill(fabric, load_price_book(str(price_book)))
    built = _fabric(fabric)
    return bill_of_materials(built, load_price_book(str(price_book)), optics_of(built, optics))


def plan(
    demand: str | Path | None = None,
    *,
    search: bool | Mapping[str, Any] = False,
    jobs: int = 1,
    progress: Progress = silent,
    **keys: Any,
) -> Plan:
    """Find the fabrics that meet a demand.

    Parameters
    ----------
    demand : str or Path, optional
        TOML file.
    search : bool or mapping
        Whether fabrics are searched for that no family has; keys ``population`` and ``generations`` say how long. The extra
        ``zcube[search]`` is needed.
    jobs : int
        Fabrics measured and simulated at a time, as of :func:`compare`.
    progress : Progress, optional
        Told what is under way and how much of it is done.
    **keys
        Keys of a demand, before the file's: ``gpus=1024, nic=400, switch="25.6T"``; docs/plan.md lists them.

    Raises
    ------
    InputError
        With every fault of the demand and of the files it names.
    """
    site, searched = load_demand(None if demand is None else str(demand), keys, tuple(generators())), None
    if _checked_jobs(jobs) > 1:
        _compile_ahead("flow", progress)
    if search is not False:
        settings = validate(SearchSettings, {} if search is True else search, "search")
        searched = Searched(site, breed(site, settings, jobs=jobs, progress=progress))
    return answer(site, progress, searched, jobs)


def matrix(
    source: str | Path,
    *,
    fabrics: Sequence[str] = ("roft-256", "zcube-256"),
    transports: Sequence[str] = ("ecmp+dcqcn", "adaptive+dcqcn-nvidia"),
    changes: Mapping[str, Any] | None = None,
    pattern: Mapping[str, Any] | None = None,
    jobs: int = 1,
    progress: Progress = silent,
    **keys: Any,
) -> Matrix:
    """Carry the same transfers over every fabric with every transport; ``zcube matrix`` also takes scenarios.

    Parameters
    ----------
    source : str or Path
        ``"kv-funnel"``, ``"all-to-all"`` or ``"permutation"``, which are made, or a file as of :func:`replay`.
    fabrics, transports : sequence of str
        Rows and columns: bundled names or files; the first of each is what others are compared with.
    changes : mapping, optional
        Keys of ``[network]`` in every cell.
    pattern : mapping, optional
        Keys of made transfers, e.g. ``{"transfers": 200}``.
    jobs : int
        Cells at a time, as of :func:`compare`.
    progress : Progress, optional
        Told what is under way and how much of it is done.
    **keys
        ``seeds``, ``seed``, ``fidelity``, ``queue_pairs``, ``cell_bytes``, ``failed_links``, ``slow_nics`` and so on, as the
        options of ``zcube matrix``; docs/scenarios.md lists them.

    Raises
    ------
    InputError
        With every fault of what was given, before the first cell runs.
    """
    faults, columns, asked = FaultList(), {}, None
    for name in transports:
        with faults:
            columns[name] = load_transport(name)
    with faults:
        asked = validate(MatrixSettings, {"fabrics": list(fabrics), "transports": list(transports), **keys}, "matrix")
    faults.check()
    assert asked is not None
    load = carried_load(str(source), asked, columns, changes or {}, pattern or {})
    if _checked_jobs(jobs) > 1:
        _compile_ahead(asked.fidelity, progress)
    with SideBySide(jobs, "zcube.matrix.cells", asked.memory_gb) as beside:
        return run_matrix(asked, load, {}, lambda cell: None, progress, beside)


def sweep(
    study: str | Path | Mapping[str, Any],
    *,
    jobs: int = 1,
    dask: str | None = None,
    progress: Progress = silent,
) -> Sweep:
    """Run a scenario's keys over grids, lists or draws of values; ``zcube sweep`` also keeps every run as it ends.

    Parameters
    ----------
    study : str, Path or mapping
        Bundled sweep, sweep file, or its keys (docs/sweep.md); files that keys name lie in the present folder.
    jobs : int
        Runs at a time, as of :func:`compare`; with ``dask="local"`` workers.
    dask : str, optional
        ``"local"``, or the address of a dask scheduler, whose workers do the runs.
    progress : Progress, optional
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        With every fault of what was given, before the first run. A run that fails is a row of the table with its error.
    """
    if isinstance(study, Mapping):
        asked = validate(SweepSettings, study, "sweep")
        cases = cases_of(asked, Path("sweep"))
    else:
        asked, _, cases = load_cases(str(study))
    runs = list(runs_of(cases))
    groups = groups_of(missing(runs, {}))
    executor: Executor
    if dask is None:
        if _checked_jobs(jobs) > 1:
            with KernelsAhead(groups) as ahead:
                ahead.wait(progress)
        executor = Processes(jobs, "zcube.sweep.runs")
    else:
        executor = OnDask(dask, _checked_jobs(jobs), groups, progress)
    with executor:
        return run_sweep(asked, runs, {}, lambda run: None, progress, executor)


def plan_fabric(
    fabric: FabricLike,
    *,
    to: Sequence[FabricLike] = (),
    to_gpus: Sequence[int] = (),
    changes: Mapping[str, Any] | None = None,
    names: Names = "all",
    price_book: str | Path = "mixnet-2025",
    room: str | Path | None = None,
    nodes: tuple[int, int] | None = None,
    rank_map: str = "cp8-dp8",
    wire: str | Path | None = None,
    wire_changes: Sequence[str] = (),
    failures: bool = False,
    scenario: str | Path | Scenario | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FabricPlan:
    """Plan one fabric: how it grows, its room, where prefill and decode sit, what failures do.

    Parameters
    ----------
    fabric : str, Path or Fabric
        What stands.
    to : sequence of str, Path or Fabric
        Fabrics that it grows into, one after the other.
    to_gpus : sequence of int
        GPUs of stages in front of these, built from the topology of ``fabric``, which then is its name or file.
    changes : mapping, optional
        Keys of the larger topologies, dotted, e.g. ``{"gpus_per_switch": 32}``.
    names : {"all", "switches", "planned"}
        Which devices may become another of the larger fabric.
    price_book : str or Path
        Prices of what a stage buys.
    room : str or Path, optional
        Machine room, a TOML file.
    nodes : tuple of int, optional
        Prefill and decode nodes to seat.
    rank_map : str
        Which GPU of a prefill node sends to which of a decode node.
    wire : str or Path, optional
        Traffic that a better NIC cabling is looked for, see docs/searching.md; ``fabric`` then is a name or file.
    wire_changes : sequence of str
        ``KEY=VALUE`` of what it declares.
    failures : bool
        Whether to judge single and double failures.
    scenario : str, Path or Scenario, optional
        With ``failures``: what the worst and the median failure of a switch are simulated on; ``fabric`` is then a name or
        file.
    seed : int
        Of all that is drawn.
    progress : Progress, optional
        Told what is under way.

    Raises
    ------
    InputError
        With every fault of what was given.
    """
    if to_gpus and isinstance(fabric, Fabric):
        raise InputError(Fault("to_gpus", "a fabric in memory", "a topology's name or file, or the larger fabrics as to"))
    if wire is not None and isinstance(fabric, Fabric):
        raise InputError(Fault("wire", "a fabric in memory", "a topology's name or file"))
    stands = _fabric(fabric)
    larger = larger_fabrics(str(fabric), to_gpus, changes or {}) if to_gpus else []
    pools = {} if nodes is None else {"prefill_nodes": nodes[0], "decode_nodes": nodes[1], "rank_map": rank_map}
    return fabric_plan(
        stands,
        targets=[*larger, *map(_fabric, to)],
        names=names,
        book=load_price_book(str(price_book)),
        wiring=None if wire is None else wiring_task(str(wire), str(fabric), stands, wire_changes),
        room=None if room is None else load_layout(Path(room)),
        load=validate(KvLoad, pools, "nodes") if pools else None,
        failures=failures,
        scenario=scenario if scenario is None or isinstance(scenario, Scenario) else load_scenario(str(scenario)),
        reference=None if isinstance(fabric, Fabric) else str(fabric),
        seed=seed,
        progress=progress,
    )


def demo(folder: str | Path = "zcube-demo", *, seed: int = 0) -> Demo:
    """Write sample inputs, which the documentation's examples name: transfers, requests, measurements, recordings.

    Parameters
    ----------
    folder : str or Path
        New, empty, or holding nothing but samples of an earlier call, unchanged; one that holds all of them stays as it is.
    seed : int
        What they are made from.

    Raises
    ------
    InputError
        If the folder holds anything else, or the seed is no whole number from 0 on.
    """
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise InputError(Fault("seed", repr(seed)[:80], "a whole number from 0 to 2^63 - 1"))
    return write_samples(Path(folder), seed)


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
    _check_type("result", result, TraceReplay | Replay, expected)
    return replay_figures(result)


def _checked_jobs(jobs: int) -> int:
    if type(jobs) is not int or not 1 <= jobs <= MOST_JOBS:
        raise InputError(Fault("jobs", repr(jobs), f"1 to {MOST_JOBS}"))
    return jobs


def _compile_ahead(fidelity: str, progress: Progress, *more: str) -> None:
    """Compile kernels once, before several processes need them."""
    with KernelsAhead(needed_groups(fidelity, *more)) as ahead:
        ahead.wait(progress)


def _check_type(name: str, given: Any, types: Any, expected: str) -> None:
    if not isinstance(given, types):
        raise TypeError(f"{name}: found a value of type {type(given).__name__}; expected {expected}")


def _fabric(given: FabricLike) -> Fabric:
    return given if isinstance(given, Fabric) else load_fabric(str(given))


def _loaded(given: str | Path | pd.DataFrame | FlowList | CommTrace, carrier: Carrier) -> FlowList | CommTrace:
    if isinstance(given, FlowList | CommTrace):
        return given
    fabric = carrier.fabric

    def numbers(names: Any) -> Any:
        return gpu_numbers(fabric, names)

    if not isinstance(given, str | Path):
        import pandas as pd

        expected = "a file, a pandas frame, a list of transfers or a trace"
        _check_type("transfers", given, pd.DataFrame, expected)
        return flows_of_frame(given, numbers, known_gpus=known_gpus(fabric))
    path = Path(given)
    return load_trace(path) if is_trace(path) else read_flows(path, numbers, known_gpus=known_gpus(fabric))
