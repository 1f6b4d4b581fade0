"""``zcube trace generate|import|show``: what an engine's GPUs send, generated or recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.json_option import JsonOption

if TYPE_CHECKING:
    from zcube.cli.targets import Target
    from zcube.llm.schedules.options import EngineOptions
    from zcube.trace.comm_trace import CommTrace
    from zcube.trace.importers.calls import Options

ENDINGS = (".parquet", ".jsonl")

# What import and check take alike of how recordings are read.
RanksPerNodeOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="GPUs of a node; default: of a host in the files, else 8.")
]
RanksOption = Annotated[int | None, typer.Option(min=1, help="Ranks of the job; default: as many as the files name.")]
ChainOption = Annotated[bool, typer.Option(help="Let every call wait for the one before it on its rank's stream.")]
SourceRankOption = Annotated[int, typer.Option(min=0, help="Sender of KV transfers whose log names none.")]
TargetRankOption = Annotated[int | None, typer.Option(min=0, help="Their receiver; default: GPU 0 of the second node.")]
GroupsOption = Annotated[
    Path | None, typer.Option(help='Ranks of process groups by name, JSON as {"0": [0, 1]} (ASTRA-sim: comm_group.json).')
]
KernelsOption = Annotated[bool, typer.Option(help="Keep the kernels of a profile that compute.")]
TopologyOption = Annotated[
    Path | None, typer.Option(help="What ranks are: ns-3 topology of a flow list, ASTRA-sim network or logical topology.")
]
GoalUnitOption = Annotated[float, typer.Option(help="Nanoseconds of a unit of GOAL's computations.")]
EagerOption = Annotated[int, typer.Option(help="GOAL: sends of so many bytes or fewer end as they start.")]

TraceOut = Annotated[Path, typer.Option(help="Trace to write, .parquet or .jsonl.")]
PictureOption = Annotated[Path | None, typer.Option(help="Timeline to draw, .png or .svg.")]
ChromeOption = Annotated[Path | None, typer.Option(help="Timeline for Perfetto to write, .json.")]


def generate_command(
    engine: Annotated[
        str, typer.Option(help="tilert, sglang or vllm.", autocompletion=completion.one_of("tilert", "sglang", "vllm"))
    ],
    out: TraceOut,
    model: Annotated[str, typer.Option(help="Bundled model card or card file.", autocompletion=completion.cards)] = "glm-5.1",
    options: Annotated[Path | None, typer.Option(help="TOML file of options; docs/traces.md names all keys.")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs of every node, the 8 of the layouts. Default 8.")] = None,
    prefill_layout: Annotated[str | None, typer.Option(help="tp8, cp8, cp8-layersplit or dp8; default: the engine's.")] = None,
    prefill_nodes: Annotated[int | None, typer.Option(help="Prefill nodes; 0 for none. Default 1.")] = None,
    decode_layout: Annotated[str | None, typer.Option(help="tp8 or dp8; default: the engine's.")] = None,
    decode_nodes: Annotated[int | None, typer.Option(help="Decode nodes; 0 for none. Default 1.")] = None,
    requests: Annotated[int | None, typer.Option(help="Prompts, all there at the start. Default 1.")] = None,
    new_tokens: Annotated[int | None, typer.Option(help="Tokens to be computed of each prompt. Default 8192.")] = None,
    cached_tokens: Annotated[int | None, typer.Option(help="Tokens cached before them. Default 0.")] = None,
    decode_steps: Annotated[int | None, typer.Option(help="Steps of each decode node. Default 1.")] = None,
    drafts: Annotated[int | None, typer.Option(help="Tokens drafted with each step. Default 0.")] = None,
    layers: Annotated[int | None, typer.Option(help="Only the first layers, for a shorter trace.")] = None,
    compute: Annotated[str | None, typer.Option(help="Compute times: auto, roofline or measured.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of sampled expert counts. Default 0.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Measured tiles of decode, of zcube calibrate fit; --set tiles.KEY=VALUE: how they are taken."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option, e.g. exchange_chunks=4.")
    ] = None,
    picture: PictureOption = None,
    chrome: ChromeOption = None,
    json: JsonOption = False,
) -> None:
    """Write what an engine's GPUs compute and send: prefill, KV transfer and decode."""
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.inputs import assign, read_toml
    from zcube.llm.cards import load_card
    from zcube.llm.schedules.engines import generate
    from zcube.trace.files import write_trace

    written = [Target("--out", out, ENDINGS, write_trace), *_timelines(picture, chrome)]
    check_targets(written, [path for path in (options, calibration) if path is not None])
    named = {
        "gpus_per_node": gpus_per_node,
        "prefill_layout": prefill_layout,
        "prefill_nodes": prefill_nodes,
        "decode_layout": decode_layout,
        "decode_nodes": decode_nodes,
        "requests": requests,
        "new_tokens": new_tokens,
        "cached_tokens": cached_tokens,
        "decode_steps": decode_steps,
        "drafts": drafts,
        "layers": layers,
        "compute": compute,
        "seed": seed,
    }
    data = {} if options is None else read_toml(options)
    assign(data, set_ or ())
    data |= {key: value for key, value in named.items() if value is not None}
    source = "options" if options is None else str(options)
    chosen, tiles = _measured(engine, data, calibration, source)
    card = load_card(model)
    with RunProgress(compiles=False) as progress:
        progress("scheduling", 0, 0, "")
        trace = generate(engine, card, chosen)  # type: ignore[arg-type]
        if tiles is not None:
            trace.metadata["compute"]["tiles"] = tiles
        progress("writing", 0, 0, "")
        write_targets(written, trace)
    print(f"compute times: {trace.metadata['compute']['model']}", file=sys.stderr)
    if tiles is not None:
        from zcube.report.calibration_lines import tile_lines

        print("\n".join(tile_lines(tiles, None)), file=sys.stderr)
    _show(trace, json)


def _measured(
    engine: str, data: dict[str, Any], calibration: Path | None, source: str
) -> tuple[EngineOptions, dict[str, Any] | None]:
    """Return the options with decode's figures as measured, and what is said of these; without a file as they are."""
    from zcube.errors import Fault, InputError
    from zcube.inputs import validate
    from zcube.llm.schedules.options import EngineOptions

    how = data.pop("tiles", None)
    chosen = validate(EngineOptions, data, source)
    if calibration is None:
        if how is not None:
            raise InputError(Fault(f"{source}: tiles", "no --calibration", "measured tiles that these keys are of"))
        return chosen, None
    from zcube.calibrate.tile_choices import TileChoices
    from zcube.calibrate.tile_parts import read_tile_parts
    from zcube.calibrate.tile_run import in_a_trace

    return in_a_trace(engine, chosen, read_tile_parts(calibration), validate(TileChoices, how or {}, f"{source}: tiles"))


def import_command(
    files: Annotated[list[Path], typer.Argument(help="The files of one job, plain or gzip, usually one a rank.")],
    out: TraceOut,
    form: Annotated[str, typer.Option("--format", help="Format by name; auto tells it from the content.")] = "auto",
    ranks_per_node: RanksPerNodeOption = None,
    ranks: RanksOption = None,
    chain: ChainOption = False,
    source_rank: SourceRankOption = 0,
    target_rank: TargetRankOption = None,
    groups: GroupsOption = None,
    kernels: KernelsOption = False,
    topology: TopologyOption = None,
    goal_unit_ns: GoalUnitOption = 1.0,
    eager_bytes: EagerOption = 65_535,
    json: JsonOption = False,
) -> None:
    """Make a trace of what NCCL, PyTorch, Chakra or an engine recorded; exit 1 if a file breaks off."""
    given = dict(locals())
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.outputs import to_json
    from zcube.report.import_table import import_text
    from zcube.trace.files import write_trace
    from zcube.trace.importers.catalog import import_with

    written = [Target("--out", out, ENDINGS, write_trace)]
    check_targets(written, [*files, *(path for path in (groups, topology) if path is not None)])
    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        imported, _ = import_with(files, form, _reading(given))
        progress("writing", 0, 0, "")
        write_targets(written, imported.trace)
    document = imported.report.document()
    sys.stdout.write(to_json(document) if json else import_text(document))
    if imported.broken is not None:
        print(f"error: {imported.broken}", file=sys.stderr)
        raise typer.Exit(1)


def _reading(given: dict[str, Any]) -> Options:
    """Return what the options of a command say of how recordings are read."""
    from zcube.fabric.wiring.astra import dimensions
    from zcube.fabric.wiring.ns3 import host_numbers
    from zcube.trace.importers.calls import Options
    from zcube.trace.importers.group_file import read_groups

    topology, groups = given["topology"], given["groups"]
    sizes = None if topology is None else dimensions(topology)
    names = ("ranks_per_node", "ranks", "chain", "source_rank", "target_rank", "kernels", "goal_unit_ns", "eager_bytes")
    return Options(
        **{name: given[name] for name in names},
        groups={} if groups is None else read_groups(groups),
        hosts=host_numbers(topology) if topology is not None and sizes is None else None,
        dimensions=sizes,
    )


def check_command(
    files: Annotated[list[Path], typer.Argument(help="Recordings, plain or gzip; those of one format are one job.")],
    ranks_per_node: RanksPerNodeOption = None,
    ranks: RanksOption = None,
    chain: ChainOption = False,
    source_rank: SourceRankOption = 0,
    target_rank: TargetRankOption = None,
    groups: GroupsOption = None,
    kernels: KernelsOption = False,
    topology: TopologyOption = None,
    goal_unit_ns: GoalUnitOption = 1.0,
    eager_bytes: EagerOption = 65_535,
    json: JsonOption = False,
) -> None:
    """Say what recordings could be replayed as, what is missing, and how sure the placement is; exit 2 if one is unreadable."""
    given = dict(locals())
    from zcube.cli.progress import RunProgress
    from zcube.outputs import to_json
    from zcube.report.check_table import check_text
    from zcube.trace.importers.checking import check_recordings

    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        documents = [found.document() for found in check_recordings(files, _reading(given))]
    sys.stdout.write(to_json({"recordings": documents}) if json else check_text(documents))


def export_command(
    trace: Annotated[Path, typer.Argument(help="Trace, .parquet or .jsonl.")],
    out: Annotated[
        Path, typer.Option(help="File to write: .goal or .bin (GOAL as text, as LogGOPSim's binary), .txt (ns-3 flows).")
    ],
) -> None:
    """Write a trace as the program of another simulator, collectives as the transfers they are."""
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.trace.exporters.catalog import FORMATS, export_trace
    from zcube.trace.files import read_trace

    written = [Target("--out", out, tuple(FORMATS), export_trace)]
    check_targets(written, [trace])
    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        loaded = read_trace(trace)
        progress("writing", 0, 0, "")
        write_targets(written, loaded)


def show_command(
    trace: Annotated[Path, typer.Argument(help="Trace, .parquet or .jsonl.")],
    expand: Annotated[bool, typer.Option(help="Count what collectives send, by their default algorithms.")] = False,
    picture: PictureOption = None,
    chrome: ChromeOption = None,
    json: JsonOption = False,
) -> None:
    """Add a trace up by phase, operation and rail; draw it over time, as recorded or as alone on the network."""
    from zcube.cli.progress import RunProgress
    from zcube.cli.targets import check_targets, write_targets
    from zcube.trace.collectives import expand as expanded
    from zcube.trace.files import read_trace

    written = _timelines(picture, chrome)
    check_targets(written, [trace])
    with RunProgress(compiles=False) as progress:
        progress("reading", 0, 0, "")
        loaded = read_trace(trace)
        progress("writing", 0, 0, "")
        write_targets(written, loaded)
        progress("expanding", 0, 0, "")
        shown = expanded(loaded) if expand else loaded
    _show(shown, json)


def _timelines(picture: Path | None, chrome: Path | None) -> list[Target]:
    from zcube.cli.targets import Target
    from zcube.report.picture import FORMATS
    from zcube.trace.chrome import write_chrome
    from zcube.trace.timeline import timeline_times

    def draw(trace: CommTrace, path: Path) -> None:
        from zcube.report.picture import save
        from zcube.report.trace_timeline import plot_timeline

        save(plot_timeline(*timeline_times(trace)), path)

    return [
        Target("--picture", picture, FORMATS, draw),
        Target("--chrome", chrome, (".json",), lambda trace, path: write_chrome(*timeline_times(trace)[:3], path)),
    ]


def _show(trace: CommTrace, json: bool) -> None:
    from zcube.outputs import to_json
    from zcube.trace.totals import totals

    document = totals(trace).document()
    if json:
        sys.stdout.write(to_json(document))
        return
    from zcube.report.trace_table import trace_text

    sys.stdout.write(trace_text(document))
