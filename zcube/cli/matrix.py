"""``zcube matrix``: fabrics against transports."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.jobs_option import JOBS
from zcube.cli.json_option import JsonOption
from zcube.cli.network_options import MemoryOption
from zcube.cli.terminal_style import terminal_style

if TYPE_CHECKING:
    from zcube.kept_runs import KeptRun
    from zcube.matrix.loads import Load
    from zcube.matrix.settings import MatrixSettings
    from zcube.network.transports import Transport
    from zcube.progress import Progress

DEFAULT_FABRICS = "roft-256,zcube-256"
DEFAULT_TRANSPORTS = "ecmp+dcqcn,adaptive+dcqcn-nvidia"
DEFAULT_OUT = Path("zcube-out")
#: About what a cell takes, so that processes are worth their start.
CELL_S = 3.0


def matrix_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|FLOWS",
            help="Scenario; transfers or a trace as of zcube replay; or kv-funnel, all-to-all, permutation, which are made.",
            autocompletion=completion.loads,
        ),
    ],
    fabrics: Annotated[
        str | None,
        typer.Option(help="Rows: bundled topologies or files, parted by commas.", autocompletion=completion.listed_fabrics),
    ] = None,
    transports: Annotated[
        str,
        typer.Option(
            help="Columns: bundled transports or files, parted by commas; + joins parts: spray+dcqcn.",
            autocompletion=completion.listed_transports,
        ),
    ] = DEFAULT_TRANSPORTS,
    seeds: Annotated[int, typer.Option(help="Runs of each cell; 5 or more tell differences from noise.")] = 5,
    seed: Annotated[int | None, typer.Option(help="The first seed; default 0, or a scenario's own.")] = None,
    fidelity: Annotated[
        str | None,
        typer.Option(
            help="packet, or flow and lossless for a first look; default: packet, or a scenario's own.",
            autocompletion=completion.one_of(*completion.FIDELITIES),
        ),
    ] = None,
    queue_pairs: Annotated[
        int | None, typer.Option(help="Of every column that sets none; default 2, or a scenario's own.")
    ] = None,
    cell_bytes: Annotated[int | None, typer.Option(help="Packets: payload of packets simulated as one.")] = None,
    pattern_set: Annotated[
        list[str] | None, typer.Option("--pattern-set", metavar="KEY=VALUE", help="Key of made transfers, e.g. load=0.45.")
    ] = None,
    failed_links: Annotated[int, typer.Option(help="Links between switches that fail, drawn anew for each seed.")] = 0,
    slow_nics: Annotated[int, typer.Option(help="GPUs whose NIC is slow, drawn anew for each seed.")] = 0,
    slow_nic_share: Annotated[float, typer.Option(help="Of --slow-nics: part of the rate that is left.")] = 0.25,
    price_book: Annotated[
        str | None, typer.Option(help="Price book by name or file.", autocompletion=completion.price_books)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Key of a scenario; of [network] where transfers are carried."),
    ] = None,
    memory_gb: MemoryOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder, which a stopped run goes on from; default zcube-out/matrix-SOURCE.")
    ] = None,
    jobs: Annotated[int | None, JOBS] = None,
    json: JsonOption = False,
) -> None:
    """Carry the same traffic over every fabric with every transport: which of the two pays; exit 1 if a cell fails."""
    given = dict(locals())
    from zcube.cli.progress import RunProgress, write_line
    from zcube.cli.record import RunRecord
    from zcube.kept_runs import KeptRuns
    from zcube.matrix.matrix import STORE_FILE, run_matrix
    from zcube.out_folder import out_folder
    from zcube.outputs import to_json
    from zcube.report.run_lines import cell_line
    from zcube.side_by_side import SideBySide, jobs_for
    from zcube.warm import OF_SERVING, KernelsAhead, needed_groups

    record, scenario = RunRecord(), _is_scenario(source)
    columns = _transports(transports)
    asked, make = (_served if scenario else _carried)(given, columns)
    kept = KeptRuns(
        out or DEFAULT_OUT / f"matrix-{Path(source).stem}",
        STORE_FILE,
        lambda: record.document(asked.model_dump(mode="json"), None, "matrix"),
    )
    with (
        KernelsAhead(needed_groups(asked.fidelity, *(OF_SERVING if scenario else ()))) as ahead,
        RunProgress() as progress,
    ):
        load = make(progress)
        ahead.wait(progress)
        cells = len(load.fabrics) * len(load.transports) * asked.seeds

        def keep(cell: KeptRun) -> None:
            kept.keep(cell)
            if not json:
                write_line(cell_line(cell), sys.stdout)

        with kept:
            with SideBySide(jobs_for(jobs, cells, CELL_S), "zcube.matrix.cells", asked.memory_gb) as beside:
                matrix = run_matrix(asked, load, kept.runs, keep, progress, beside)
            document = matrix.document()
            from zcube.report.matrix_folder import write_matrix

            written = write_matrix(document, kept.fill, kept.record(), out_folder(kept.folder), progress)
    print(f"written: {written} (open {written / 'matrix.html'})", file=sys.stderr)
    if json:
        sys.stdout.write(to_json(document))
    else:
        from zcube.report.matrix_table import matrix_text

        print()
        sys.stdout.write(matrix_text(document, **terminal_style()))
    for place, error in matrix.failed.items():
        print(f"failed: {place.fabric} with {place.transport}, seed {place.seed}: {error}", file=sys.stderr)
    if matrix.failed:
        raise typer.Exit(1)


def _is_scenario(source: str) -> bool:
    from zcube.inputs import bundled_stems

    return source in bundled_stems("scenarios") or Path(source).suffix in (".toml", ".json")


def _transports(listed: str) -> dict[str, Transport]:
    from zcube.errors import FaultList
    from zcube.network.transports import load_transport

    faults, columns = FaultList(), {}
    for name in _names(listed):
        with faults:
            columns[name] = load_transport(name)
    faults.check()
    return columns


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


#: Options that stand for a key of the matrix's settings under their own name.
SETTINGS = ("seeds", "cell_bytes", "failed_links", "slow_nics", "slow_nic_share", "memory_gb")


def _asked(given: Mapping[str, Any], columns: Mapping[str, Transport], own: Mapping[str, Any]) -> MatrixSettings:
    """Return the settings that options ask for, what is not given as ``own`` has it."""
    from zcube.inputs import validate
    from zcube.matrix.settings import MatrixSettings

    optional = ("seed", "fidelity", "queue_pairs", "price_book")
    data = {
        **own,
        "transports": list(columns),
        **{key: given[key] for key in SETTINGS},
        **{key: given[key] for key in optional if given[key] is not None},
    }
    return validate(MatrixSettings, data, lambda key: f"--{key.split('.')[0].replace('_', '-')}" if key else "options")


def _carried(given: Mapping[str, Any], columns: Mapping[str, Transport]) -> tuple[MatrixSettings, Any]:
    """Return the settings for transfers or a trace, and what makes them ready."""
    from zcube.inputs import assign
    from zcube.matrix.loads import carried_load

    fabrics = [] if given["fabrics"] is None else _fabrics(given["fabrics"])
    asked = _asked(given, columns, {"fabrics": fabrics or _names(DEFAULT_FABRICS)})
    common: dict[str, Any] = {}
    pattern: dict[str, Any] = {}
    assign(common, given["set_"] or ())
    assign(pattern, given["pattern_set"] or (), "--pattern-set")

    def make(progress: Progress) -> Load:
        progress("building", 0, 0, "")
        return carried_load(given["source"], asked, columns, common, pattern)

    return asked, make


def _served(given: Mapping[str, Any], columns: Mapping[str, Transport]) -> tuple[MatrixSettings, Any]:
    """Return the settings for a scenario's requests, and what makes it ready."""
    from zcube.errors import Fault, InputError
    from zcube.matrix.loads import served_load
    from zcube.scenario import load_scenario

    if given["pattern_set"]:
        raise InputError(Fault("--pattern-set", "with a scenario", "a pattern: kv-funnel, all-to-all or permutation"))
    changes: dict[str, Any] = {} if given["fabrics"] is None else {"fabrics": _fabrics(given["fabrics"]), "baseline": None}
    named = {"price_book": "cost.price_book", "queue_pairs": "network.queue_pairs", "fidelity": "network.fidelity"}
    named |= {"cell_bytes": "network.packet.cell_bytes", "memory_gb": "network.memory_gb"}
    changes |= {key: given[name] for name, key in named.items() if given[name] is not None}
    scenario = load_scenario(given["source"], changes, given["set_"] or ())
    own = {
        "fabrics": list(scenario.fabrics),
        "seed": scenario.seed,
        "fidelity": scenario.network.fidelity,
        "queue_pairs": scenario.network.queue_pairs,
        "price_book": scenario.cost.price_book,
        "optics": scenario.cost.optics,
    }
    asked = _asked(given, columns, own)
    return asked, lambda progress: served_load(scenario, asked, columns, progress)


def _fabrics(listed: str) -> list[str]:
    """Return fabrics parted by commas; what follows an ``@`` up to the next name are failures, parted by commas too."""
    found: list[str] = []
    for name in _names(listed):
        if found and "@" in found[-1] and ":" in name.split("@")[0]:
            found[-1] += f",{name}"
        else:
            found.append(name)
    return found
