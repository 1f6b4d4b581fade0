"""``zcube calibrate run|read|fit|check``: how the models' parameters are measured, fitted and tested."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zcube.cli.json_option import JsonOption

MEASURED = (".json",)

FilesArgument = Annotated[
    list[Path], typer.Argument(help="Measurements, nccl-tests text or JSON, NCCL tables (CSV), NCCL Inspector JSON.")
]
PathClassOption = Annotated[
    str | None, typer.Option("--path", help="Path class of all points: nvlink, shared-memory, socket, same-leaf, across.")
]
LenientOption = Annotated[bool, typer.Option(help="Leave out what is broken and say so, instead of refusing.")]


def run_command(
    out: Annotated[Path, typer.Option(help="Measurements to write, .json.")],
    sizes: Annotated[str, typer.Option(help="Sizes, e.g. 1K-1G (doubling) or 4K,1M.")] = "1K-1G",
    operations: Annotated[str | None, typer.Option(help="all-to-all, send-receive, all-gather, ...; default: all.")] = None,
    ranks: Annotated[str | None, typer.Option(help="GPUs of each run, e.g. 2,4; default: all there are.")] = None,
    path: Annotated[
        str | None, typer.Option(help="What NCCL may use: nvlink (default), shared-memory, socket or network.")
    ] = None,
    patterns: Annotated[str | None, typer.Option(help="Matrices: pairs, incast and so on; none for none.")] = None,
    budget_s: Annotated[float | None, typer.Option(help="Seconds of repetitions per operation and size; default: 0.2.")] = None,
    driver: Annotated[str | None, typer.Option(help="auto (default), torch or nccl-tests.")] = None,
    nccl_tests: Annotated[Path | None, typer.Option(help="Folder of the nccl-tests binaries; default: the PATH.")] = None,
    python: Annotated[Path | None, typer.Option(help="The Python that has PyTorch; default: this one.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Hosts; start the command on each, or give --hosts once.")] = None,
    node_rank: Annotated[int | None, typer.Option(help="This host's number; number 0 writes the file.")] = None,
    master: Annotated[str | None, typer.Option(help="HOST:PORT of node 0, where the command runs on each host.")] = None,
    hosts: Annotated[str | None, typer.Option(help="HOST:SLOTS,HOST:SLOTS for mpirun.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, e.g. warmup=20 or network_path=same-leaf."),
    ] = None,
    kind: Annotated[str, typer.Option(help="nccl, or tiles: signals, pushes and all-reduces inside running kernels.")] = "nccl",
    json: JsonOption = False,
) -> None:
    """Measure NCCL on this machine's GPUs; exit 2 with what is missing where that cannot be done."""
    if kind != "nccl":
        from zcube.cli.tiles import run_tiles

        run_tiles(kind, out, None if ranks is None else _listed(ranks), set_ or [], json)
        return
    from zcube.calibrate.measure.run import measure
    from zcube.calibrate.measure.settings import MeasureSettings, parse_sizes
    from zcube.cli.targets import Target, check_targets
    from zcube.inputs import assign, validate
    from zcube.outputs import to_json
    from zcube.report.calibration_table import measurements_text

    check_targets([Target("--out", out, MEASURED, lambda result, target: None)])
    lists = {"operations": operations, "ranks": ranks, "patterns": patterns}
    given: dict[str, object] = {key: None if text is None else _listed(text) for key, text in lists.items()}
    given |= {"path": path, "budget_s": budget_s, "driver": driver, "nccl_tests": nccl_tests, "python": python}
    given |= {"nodes": nodes, "node_rank": node_rank, "master": master, "hosts": hosts}
    data: dict[str, object] = {"sizes_bytes": parse_sizes(sizes)}
    data |= {key: value for key, value in given.items() if value is not None}
    # Last, so that no option's default takes its place.
    assign(data, set_ or ())
    settings = validate(MeasureSettings, data, "settings")
    measured = measure(settings, out, lambda line: print(line, file=sys.stderr, flush=True))
    if len(measured):
        print(f"written: {out}", file=sys.stderr)
    sys.stdout.write(to_json(measured.document()) if json else measurements_text(measured))


def read_command(
    files: FilesArgument,
    out: Annotated[Path, typer.Option(help="Measurements to write, .json.")],
    path: PathClassOption = None,
    operation: Annotated[str | None, typer.Option(help="Operation of files that do not name it.")] = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="Ranks of files that do not name them, as hccl_test's.")] = None,
    lenient: LenientOption = False,
    json: JsonOption = False,
) -> None:
    """Read what other tools measured into one file of measurements."""
    from zcube.calibrate.measurements import write_measurements
    from zcube.calibrate.readers.catalog import read_files
    from zcube.calibrate.readers.options import ReadOptions
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.outputs import to_json
    from zcube.report.calibration_table import measurements_text

    written = [Target("--out", out, MEASURED, write_measurements)]
    check_targets(written, files)
    measured = read_files(files, ReadOptions(path, operation, lenient, ranks))
    write_targets(written, measured)
    sys.stdout.write(to_json(measured.document()) if json else measurements_text(measured))


def fit_command(
    files: FilesArgument,
    out: Annotated[Path | None, typer.Option(help="Calibration to write, .json; default calibration.json.")] = None,
    path: PathClassOption = None,
    picture: Annotated[Path | None, typer.Option(help="Measured against fitted, with residuals, .png or .svg.")] = None,
    page: Annotated[Path | None, typer.Option(help="Fit, regimes and errors as one page for a browser, .html.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    draws: Annotated[int | None, typer.Option(min=0, max=100_000, help="Bootstrap rounds; 0 for no intervals.")] = None,
    lenient: LenientOption = False,
    json: JsonOption = False,
) -> None:
    """Fit latency and bandwidth by operation, size and path, with intervals and the error on sizes left out."""
    from zcube.calibrate.tile_times import is_tile_times

    if all(is_tile_times(file) for file in files):
        from zcube.cli.tiles import fit_tiles

        fit_tiles(files, out, seed=seed, draws=draws, json=json)
        return
    from zcube.calibrate.bootstrap import DRAWS
    from zcube.calibrate.calibration import is_calibration
    from zcube.calibrate.fitting import fit_file
    from zcube.calibrate.readers.catalog import read_files
    from zcube.calibrate.readers.options import ReadOptions
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import Target, check_targets, page_target, write_targets
    from zcube.outputs import to_json
    from zcube.report.calibration_page import calibration_page
    from zcube.report.calibration_plot import plot_calibration
    from zcube.report.calibration_table import calibration_text
    from zcube.report.picture import FORMATS, drawn

    pictures = [
        Target("--picture", picture, FORMATS, drawn(plot_calibration)),
        page_target(page, lambda fitted: calibration_page(fitted, sys.argv[1:])),
    ]
    path_out = out or Path("calibration.json")
    own = None if out else is_calibration
    check_targets([Target("--out", path_out, MEASURED, lambda result, target: None, is_own=own), *pictures], files)
    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        measured = read_files(files, ReadOptions(path, None, lenient))
        rounds = DRAWS if draws is None else draws
        fitted = fit_file(measured, path_out, seed=seed, draws=rounds, lenient=lenient, progress=progress)
    print(f"written: {path_out}", file=sys.stderr)
    write_targets(pictures, fitted)
    sys.stdout.write(to_json(fitted.model_dump(mode="json")) if json else calibration_text(fitted))


def check_command(
    files: FilesArgument,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration to predict with; default: the files themselves, every second size.")
    ] = None,
    path: PathClassOption = None,
    without_ranks: Annotated[
        int | None, typer.Option(help="Without --calibration: leave this number of ranks out instead.")
    ] = None,
    lenient: LenientOption = False,
    json: JsonOption = False,
) -> None:
    """Predict runs that were not fitted: mean, median and P90 error by operation, size and number of GPUs."""
    from zcube.calibrate.calibration import read_calibration
    from zcube.calibrate.checking import check, held_out, leave_ranks_out
    from zcube.calibrate.readers.catalog import read_files
    from zcube.calibrate.readers.options import ReadOptions
    from zcube.cli.progress import RunProgress
    from zcube.errors import Fault, InputError
    from zcube.outputs import to_json
    from zcube.report.calibration_table import check_text

    if calibration is not None and without_ranks is not None:
        raise InputError(Fault("--without-ranks", "beside --calibration", "one of them"))
    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        measured = read_files(files, ReadOptions(path, None, lenient))
        progress("predicting", 0, 0, "")
        if calibration is not None:
            result = check(read_calibration(calibration), measured)
        elif without_ranks is not None:
            result = leave_ranks_out(measured, without_ranks, lenient)
        else:
            result = held_out(measured, lenient=lenient)
    sys.stdout.write(to_json(result.document()) if json else check_text(result))


def _listed(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas; ``none`` is an empty list."""
    return () if text == "none" else tuple(part.strip() for part in text.split(","))
