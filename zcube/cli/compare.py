"""``zcube compare``: the main job."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.jobs_option import JOBS
from zcube.cli.json_option import JsonOption
from zcube.cli.network_options import FIDELITY, CalibrationsOption, ComparedDrawsOption, MemoryOption, SkipOption
from zcube.cli.request_options import request_changes
from zcube.cli.terminal_style import terminal_style

if TYPE_CHECKING:
    from zcube.errors import Fault, FaultList
    from zcube.microscope.look import Microscope
    from zcube.scenario import Scenario
    from zcube.searches import Asked, Searches, Wanted

DEFAULT_SCENARIO = "zai-2026"
DEFAULT_OUT = Path("zcube-out")

#: What writing a folder takes longest to import; none of it begins threads, see :func:`zcube.cli.main`.
FOR_FOLDER = ("pandas", "pyarrow.parquet", "matplotlib.figure")


def compare_command(
    scenario: Annotated[
        str,
        typer.Argument(
            help="Bundled scenario, scenario file, or the run.json of an earlier run.", autocompletion=completion.scenarios
        ),
    ] = DEFAULT_SCENARIO,
    fabric: Annotated[
        list[str] | None,
        typer.Option(help="Bundled topology or file; repeat to compare several.", autocompletion=completion.fabrics),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Fabric the others are compared with.", autocompletion=completion.fabrics)
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(
            help="Request trace, all of it, at its own times, in a closed loop in its order: Mooncake, Qwen-Bailian, Dynamo, "
            "aiperf, CSV."
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE|trace", help="Mean requests per second, or trace: the trace's own times.")
    ] = None,
    sessions: Annotated[
        str | None, typer.Option(metavar="whole|delta", help="A session row's input_length: whole prompt, or its new tokens.")
    ] = None,
    block_tokens: Annotated[int | None, typer.Option(help="Prompt tokens per block id, if not the format's own.")] = None,
    time_unit: Annotated[
        str | None, typer.Option(metavar="s|ms", help="Unit of the trace's times, if not the format's.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="arrival=NAME,input=NAME,output=NAME", help="Columns of any other CSV trace.")
    ] = None,
    fidelity: Annotated[str | None, FIDELITY] = None,
    packet_skip: SkipOption = None,
    calibration: CalibrationsOption = None,
    calibration_draws: ComparedDrawsOption = None,
    memory_gb: MemoryOption = None,
    price_book: Annotated[
        str | None, typer.Option(help="Price book by name or file.", autocompletion=completion.price_books)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream.")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs under so many seeds, to tell differences from noise; 5 or more.")
    ] = None,
    find_knee: Annotated[
        bool, typer.Option("--find-knee", help="Search the load from which on each fabric adds to TTFT P99; further runs.")
    ] = False,
    knee_share: Annotated[float | None, typer.Option(help="Of --find-knee: the part added to TTFT P99; default 0.05.")] = None,
    knee_tolerance: Annotated[
        float | None, typer.Option(help="Of --find-knee: how far apart its two loads may lie; default 0.05.")
    ] = None,
    find_capacity: Annotated[
        bool, typer.Option("--find-capacity", help="Search the load up to which each fabric meets [slo]; further runs.")
    ] = False,
    slo_share: Annotated[
        float | None, typer.Option(help="Of --find-capacity: part of the requests that meets every bound; default 0.99.")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="KEY=VALUE,VALUE,...", help="Compare again with a scenario key at each of these values."),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Compare again at every setting of the scenario's [sensitivity]; further runs."),
    ] = False,
    microscope: Annotated[
        int | None, typer.Option(metavar="K", help="Rebuild the K worst windows of each fabric's run packet by packet.")
    ] = None,
    microscope_window_s: Annotated[float | None, typer.Option(help="Of --microscope: length of a window; default 0.1.")] = None,
    microscope_seeds: Annotated[
        int | None, typer.Option(help="Of --microscope: runs looked at, from the first seed on; default 1.")
    ] = None,
    microscope_hops: Annotated[
        float | None, typer.Option(help="Of --microscope: most packet-hops simulated of a window; default 1e7.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change any scenario key, e.g. load.rate_per_s=60.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; default zcube-out/SCENARIO, none with --json.")] = None,
    trace_out: Annotated[
        Path | None,
        typer.Option(help="What one fabric's run computed and sent, for zcube replay, .parquet or .jsonl."),
    ] = None,
    trace_fabric: Annotated[
        str | None,
        typer.Option(help="Label of the fabric of --trace-out; default: the baseline's.", autocompletion=completion.fabrics),
    ] = None,
    jobs: Annotated[int | None, JOBS] = None,
    json: JsonOption = False,
) -> None:
    """Serve the same requests on several fabrics and compare throughput, tails, congestion and the bill."""
    given = dict(locals())
    from zcube.cli.progress import RunProgress, write_line
    from zcube.cli.record import RunRecord
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.errors import FaultList
    from zcube.out_folder import out_folder
    from zcube.outputs import to_json
    from zcube.report.run_lines import served_line
    from zcube.run_time import runs_side_by_side
    from zcube.scenario import load_scenario

    record = RunRecord()
    changes = _changes(given) | request_changes(requests, rate, sessions, block_tokens, time_unit, columns, set_ or ())
    declared = load_scenario(scenario, changes, set_ or ())
    named = out if out is not None or json else DEFAULT_OUT / _stem(scenario)
    folder = None if named is None else out_folder(named)
    targets, recorded = [], None
    if trace_out is not None:
        from zcube.trace.files import SUFFIXES, write_trace

        targets, recorded = [Target("--trace-out", trace_out, SUFFIXES, write_trace)], trace_fabric or declared.baseline_label
    faults = FaultList()
    with faults:
        check_targets(targets, more=_trace_faults(trace_out, trace_fabric, list(declared.labels.values()), named))
    # What is loaded now stays: the collector need not look through it again and again.
    gc.freeze()
    # Processes get ready while this one imports.
    is_record = scenario.endswith(".json")
    searched = find_knee or find_capacity or sensitivity or sweep is not None or is_record
    with runs_side_by_side(declared, jobs, searched) as beside:
        from zcube.searches import Asked
        from zcube.warm import OF_SERVING, KernelsAhead, needed_groups

        asked = Asked.of_run(scenario) if is_record else Asked()
        searches, magnified = _asked_for(given, declared, asked, faults)
        closest = declared.network.fidelity if magnified is None else "packet"
        # Further runs may have other settings of packets than the scenario's own.
        own = None if searched or magnified is not None else [declared.network_of(name).packet for name in declared.fabrics]
        with KernelsAhead(needed_groups(closest, *OF_SERVING, packets=own)) as ahead, RunProgress() as progress:
            ahead.wait(progress, () if folder is None else FOR_FOLDER)
            if beside.awaits_copying:
                ahead.load()

            def ended(name: str, metrics: Mapping[str, Any]) -> None:
                write_line(served_line(name, metrics), sys.stdout)

            told = {} if json else {"ended": ended}
            comparison = searches.compared(declared, progress, recorded, beside, load_over_time=folder is not None, **told)
            if magnified is not None:
                from zcube.microscope.look import look

                comparison = look(comparison, magnified, progress)
    write_targets(targets, comparison.recorded)
    document = comparison.document()
    if json:
        sys.stdout.write(to_json(document))
    else:
        from zcube.report.terminal import document_table

        print()
        sys.stdout.write(document_table(document, **terminal_style()))
    if folder is not None:
        from zcube.report.folder import write_folder

        asked = Asked(
            find_knee=searches.knee, find_capacity=searches.capacity, microscope=magnified,
            sweep=sweep or asked.sweep, sensitivity=bool(searches.sensitivity),
        )  # fmt: skip
        run_record = record.document(
            declared.model_dump(mode="json"), document["calibration"], asked=asked.model_dump(mode="json")
        )
        with RunProgress() as progress:
            written = write_folder(comparison, run_record, folder, progress, jobs)
        taken = "" if written == folder.path else f"{folder.path} was written by another run meanwhile; "
        print(f"{taken}written: {written} (open {written / 'report.html'})", file=sys.stderr)


#: Scenario key of every option that stands for one.
KEYS = {
    "baseline": "baseline",
    "fidelity": "network.fidelity",
    "packet_skip": "network.packet.skip.mode",
    "calibration_draws": "network.calibration_draws",
    "memory_gb": "network.memory_gb",
    "price_book": "cost.price_book",
    "seed": "seed",
    "seeds": "seeds",
}


def _asked_for(
    given: dict[str, Any], declared: Scenario, asked: Asked, faults: FaultList
) -> tuple[Searches, Microscope | None]:
    """Return what the options ask for, and where they say nothing the run that is repeated; refuse what is wrong so far.

    Raises
    ------
    InputError
        With the faults found before, and those of everything that is asked for.
    """
    from zcube.microscope.look import microscope_of
    from zcube.searches import Searches

    searches, magnified = Searches(), None
    wanted = {search: _keys(given, asked, search, faults) for search in KEYS_OF_SEARCHES}
    places = {(search, key): _option(name) for search, keys in KEYS_OF_SEARCHES.items() for name, key in keys.items()}
    with faults:
        searches = Searches.of(
            declared,
            wanted["find_knee"],
            wanted["find_capacity"],
            asked.sweep if given["sweep"] is None else given["sweep"],
            given["sensitivity"] or asked.sensitivity,
            lambda search, key: places.get((search, key), _option(search)),
        )
    with faults:
        magnified = microscope_of(declared, wanted["microscope"], lambda key: places["microscope", key])
    faults.check()
    return searches, magnified


#: Key of every option of a search and of the microscope.
KEYS_OF_SEARCHES = {
    "find_knee": {"knee_share": "share", "knee_tolerance": "tolerance"},
    "find_capacity": {"slo_share": "share"},
    "microscope": {
        "microscope": "windows",
        "microscope_window_s": "window_s",
        "microscope_seeds": "seeds",
        "microscope_hops": "packet_hops",
    },
}


def _keys(given: dict[str, Any], asked: Asked, search: str, faults: FaultList) -> Wanted:
    """Return the keys of a search that was asked for by its option, or by the run that is repeated."""
    from zcube.errors import Fault

    options = KEYS_OF_SEARCHES[search]
    keys = {key: given[name] for name, key in options.items() if given[name] is not None}
    earlier = getattr(asked, search)
    before = {} if earlier is None else earlier.model_dump()
    if earlier is not None or (given[search] is not None and given[search] is not False):
        return before | keys
    alone = [name for name in options if given[name] is not None]
    faults.faults.extend(Fault(_option(name), f"no {_option(search)}", "what it is of") for name in alone)
    return False


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _trace_faults(trace_out: Path | None, trace_fabric: str | None, labels: list[str], folder: Path | None) -> list[Fault]:
    """Return what is wrong with what is to be recorded, and where."""
    from zcube.errors import Fault

    if trace_out is None:
        return [] if trace_fabric is None else [Fault("--trace-fabric", "no --trace-out", "a file to write")]
    faults = []
    if trace_fabric is not None and trace_fabric not in labels:
        faults.append(Fault("--trace-fabric", repr(trace_fabric), "one of " + ", ".join(labels)))
    if folder is not None and folder.resolve() in trace_out.resolve().parents:
        faults.append(Fault(f"--trace-out {trace_out}", f"a file in {folder}", "one outside the output folder"))
    return faults


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    """Return what the options change in the scenario, by dotted key."""
    changes = {key: given[name] for name, key in KEYS.items() if given[name] is not None}
    changes |= _measured(given["calibration"] or ())
    if given["fabric"]:
        # The scenario's baseline need not be among other fabrics; then the first of them is.
        changes = {"fabrics": list(given["fabric"]), "baseline": None, **changes}
    return changes


def _measured(files: Sequence[str]) -> dict[str, Any]:
    """Return the scenario keys of calibrations, told apart by what they say that they hold."""
    if not files:
        return {}
    from zcube.calibrate.tile_parts import is_tile_parts
    from zcube.calibrate.tile_times import is_tile_times
    from zcube.errors import Fault, FaultList

    found: dict[str, Any] = {}
    faults = FaultList()
    for file in files:
        if is_tile_times(Path(file)):
            faults.faults.append(Fault(f"--calibration {file}", "times of tiles", "what zcube calibrate fit makes of them"))
            continue
        key, kind = ("tiles.parts", "tiles") if is_tile_parts(Path(file)) else ("network.calibration", "links")
        if key in found:
            faults.faults.append(Fault(f"--calibration {file}", f"a second one of {kind}", "one of links and one of tiles"))
        found[key] = file
    faults.check()
    return found


def _stem(scenario: str) -> str:
    path = Path(scenario)
    return path.parent.name or "run" if path.suffix == ".json" else path.stem
