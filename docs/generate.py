"""Write docs/scenarios.md from the declared models, figures of docs/metrics.md and bounds of docs/reliability.md.

So keys, defaults, meanings and definitions stand in one place only.

Run ``python docs/generate.py`` after changing a model; a test compares the file with what this prints, and holds that every
declared model of the package has a section here and every key a meaning.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from zcube.calibrate.calibration import Calibration
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.calibrate.measure.tiles.run import TileSettings
from zcube.calibrate.points import Metadata
from zcube.calibrate.tile_parts import TileParts
from zcube.calibrate.tile_times import TileTimes
from zcube.fabric.families import families
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.kept_runs import KeptRun
from zcube.llm.cards import ModelCard
from zcube.llm.decode_node.figures import DecodeNode
from zcube.llm.devices import Device
from zcube.llm.kinds.efficiencies import Efficiencies
from zcube.llm.schedules.options import EngineOptions
from zcube.matrix.settings import MatrixSettings
from zcube.network.packet.controls import BUILT_IN
from zcube.network.packet.settings import PacketSettings
from zcube.network.transports import Bundle
from zcube.plan.catalogue import Catalogue
from zcube.plan.demand import Demand
from zcube.plan.placement.kv_sample import KvLoad
from zcube.plan.rewiring.rewired import WiringDemand
from zcube.plan.search.settings import SearchSettings
from zcube.plan.search.state import SearchState
from zcube.pricing.counted import Counts
from zcube.pricing.price_book import PowerBook, PriceBook
from zcube.scenario import Scenario
from zcube.searches import Asked
from zcube.sweep.settings import SweepSettings
from zcube.trace.files import Header
from zcube.verdict.table import ROWS
from zcube.workload.generated_flows import PATTERNS

TARGET, METRICS, RELIABILITY = (
    Path(__file__).resolve().parent / name for name in ("scenarios.md", "metrics.md", "reliability.md")
)
#: The part of docs/reliability.md that is written here.
LIMITS = re.compile(r"(<!-- bounds -->).*?(<!-- end of bounds -->)", re.DOTALL)
#: By what is read: the largest file, and further bounds, each a module and the names of its constants with what they count.
BOUNDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("declared TOML, `config.json`", "zcube.inputs.MAX_DECLARED_BYTES", ("zcube.inputs.MAX_DEPTH levels",)),
    ("any Parquet table", "", ("zcube.input_files.MAX_COLUMNS columns", "zcube.input_files.MAX_ROW_GROUPS row groups")),
    (
        "request traces", "zcube.workload.readers.lines.MAX_FILE_BYTES",
        (
            "zcube.workload.requests.MAX_REQUESTS requests", "zcube.workload.requests.MAX_TOKENS tokens of a request",
            "zcube.workload.requests.MAX_BLOCKS prefix blocks", "zcube.workload.readers.lines.MAX_LINE_BYTES bytes a line",
        ),
    ),
    (
        "transfers, CSV or Parquet", "zcube.workload.flow_files.MAX_FILE_BYTES",
        ("zcube.workload.flow_lists.MAX_FLOWS transfers", "zcube.workload.flow_files.MAX_TABLE_BYTES bytes unpacked"),
    ),
    (
        "traces", "zcube.trace.files.MAX_FILE_BYTES",
        (
            "zcube.trace.comm_trace.MAX_OPERATIONS operations", "zcube.trace.comm_trace.MAX_RANKS ranks",
            "zcube.trace.files.MAX_DEPENDENCIES dependencies", "zcube.trace.files.MAX_LINE_BYTES bytes a line",
        ),
    ),
    (
        "recordings, each of a job's", "zcube.trace.importers.source.MAX_FILE_BYTES",
        (
            "zcube.trace.importers.catalog.MAX_FILES files", "zcube.trace.importers.calls.MAX_CALLS calls",
            "zcube.trace.importers.source.MAX_UNPACKED_BYTES bytes unpacked",
            "zcube.trace.importers.source.MAX_LINE_BYTES bytes a line",
            "zcube.trace.importers.json_stream.MAX_RECORD_CHARS characters a JSON record",
            "zcube.trace.importers.chakra_protobuf.MAX_MESSAGE_BYTES bytes a protobuf message",
        ),
    ),
    ("groups of ranks", "zcube.trace.importers.group_file.MAX_FILE_BYTES", ()),
    (
        "wiring: link lists, GraphML, infragraph, ns-3, SimAI, ASTRA-sim and the others",
        "zcube.fabric.wiring.reading.MAX_FILE_BYTES",
        (
            "zcube.fabric.wiring.reading.MAX_ROWS cables", "zcube.fabric.wiring.reading.MAX_NAME_CHARS characters a name",
            "zcube.fabric.wiring.infragraph.MAX_EXPANDED ends of infragraph's edges",
        ),
    ),
    ("YAML", "zcube.yaml_text.MOST_BYTES", ("zcube.yaml_text.MOST_VALUES values, aliases in full",)),
    ("any fabric", "", ("zcube.fabric.spec.MAX_GPUS GPUs", "zcube.fabric.spec.MAX_CABLES cables")),
    (
        "measurements, calibrations, nccl-tests, Inspector", "zcube.calibrate.measurements.MAX_FILE_BYTES",
        ("zcube.calibrate.measurements.MAX_ROWS points", "zcube.calibrate.measurements.MAX_MATRICES matrices"),
    ),
    ("what ranks hand back", "zcube.calibrate.measure.handed.MAX_RESULT_BYTES", ()),
    ("tile times", "zcube.calibrate.measurements.MAX_FILE_BYTES", ("zcube.calibrate.tile_times.MAX_ROWS times",)),
    (
        "measured tables", "zcube.llm.tables.source.MAX_TABLE_BYTES",
        ("zcube.llm.tables.source.MAX_TABLE_ROWS rows", "zcube.llm.tables.source.MAX_UNPACKED_BYTES bytes unpacked"),
    ),
    (
        "results: JSON", "zcube.report.stored.MOST_BYTES",
        ("zcube.report.stored.MOST_FABRICS fabrics", "zcube.report.stored.MOST_TEXT characters a text"),
    ),
    ("results: tables", "zcube.report.stored.MOST_TABLE_BYTES", ("zcube.report.stored.MOST_REQUESTS requests",)),
    ("record of a folder", "zcube.out_folder.MOST_RECORD_BYTES", ()),
    ("kept runs", "zcube.kept_runs.MOST_STORE_BYTES", ("zcube.kept_runs.MOST_RUNS runs",)),
    ("state of a search", "zcube.plan.search.state.MOST_STATE_BYTES", ("zcube.plan.search.settings.MOST_FABRICS fabrics",)),
)  # fmt: skip
#: The part of docs/metrics.md that is written here.
FIGURES = re.compile(r"(<!-- figures: .*?-->).*?(<!-- end of figures -->)", re.DOTALL)

INTRODUCTION = """# Keys of every file

Generated from the code by `docs/generate.py`. What people write is TOML, what zcube writes for itself JSON:
[formats.md](formats.md) says which file goes where. Unknown keys are refused, and every fault of a file is listed at once.
Files named in a file lie relative to it. Any key of a scenario can be changed on the command line: `--set load.rate_per_s=40`.
"""

#: Sections of the page: heading, where the keys stand, model. Families of fabrics and patterns of transfers have further ones.
SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Scenario", "`zcube compare FILE`; bundled ones in `scenarios/`.", Scenario),
    ("Topology", "One of these families, named under `family`; bundled ones in `topologies/`.", BaseModel),
    ("Options of `zcube trace generate`", "Options of that name, with dashes.", EngineOptions),
    ("Transport of a matrix", "`zcube matrix --transports FILE`; bundled ones in `transports/`.", Bundle),
    ("Transfers that `zcube matrix` makes", "Keys of `--pattern-set`.", BaseModel),
    ("Matrix", "Options of `zcube matrix`, as its `matrix.json` holds them.", MatrixSettings),
    ("Sweep", "`zcube sweep FILE`; bundled ones in `sweeps/`.", SweepSettings),
    ("Demand of a plan", "`zcube plan FILE`, or options of that name.", Demand),
    ("Catalogue", "`zcube plan --catalogue FILE`: what can be bought, and how often it fails.", Catalogue),
    ("Search for fabrics", "`zcube plan --search --population --generations`.", SearchSettings),
    ("Search for a wiring", "`zcube plan --from FABRIC --wire FILE`.", WiringDemand),
    ("Seats", "`zcube plan --from FABRIC --nodes 64+64`: the KV that seats are judged by.", KvLoad),
    ("Machine room", "`--rooms FILE` of `zcube plan`, `--racks FILE` of the `fabric` verbs.", RackLayout),
    ("Price book", "`--price-book FILE`; bundled ones in `zcube/pricing/books/`.", PriceBook),
    ("Power book", "`cost.power_book`; bundled ones in `zcube/pricing/power_books/`.", PowerBook),
    ("Counts", "`zcube cost --counts KEY=VALUE,...`.", Counts),
    ("Model card", "`compute.model`; bundled ones in `zcube/llm/models/`.", ModelCard),
    ("Device", "`compute.device`; bundled ones in `zcube/llm/devices/`.", Device),
    ("Efficiencies", "Of attention's kernels; bundled ones in `zcube/llm/efficiencies/`, by device.", Efficiencies),
    ("TileRT's node", "`decode.tilert.node`; the bundled one in `zcube/llm/decode_node/`.", DecodeNode),
    ("Measuring", "`zcube calibrate run --set KEY=VALUE`.", MeasureSettings),
    ("Measuring tiles", "`zcube calibrate run --kind tiles --set KEY=VALUE`.", TileSettings),
    ("Measured runs", "What stands beside the rows of a file of `zcube calibrate run` or `read`.", Metadata),
    ("Calibration", "What `zcube calibrate fit` writes and `--calibration` reads.", Calibration),
    ("Measured tiles", "What `zcube calibrate run --kind tiles` writes.", TileTimes),
    ("Parts of a node", "What `zcube calibrate fit` makes of measured tiles.", TileParts),
    ("Communication trace", "Head of a file; [traces.md](traces.md) has its rows.", Header),
    (
        "Searches of a comparison",
        "Under `asked` in a `run.json`; keys of `find_knee`, `find_capacity` and `microscope`.",
        Asked,
    ),
    ("State of a search", "`search.json`, from which a search for fabrics goes on.", SearchState),
    ("Kept run", "A line of a matrix's `cells.jsonl`, from which stopped work goes on.", KeptRun),
)


def sections() -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Return every section: heading, what stands below it, and the model, BaseModel where there is no table."""
    seen = {model for _, _, model in SECTIONS}
    for heading, text, model in SECTIONS:
        yield f"## {heading}\n\n{text}\n", heading, model
        parts = families() if heading == "Topology" else PATTERNS if heading.startswith("Transfers") else {}
        for name, part in parts.items():
            yield f"### `{name}`\n", name, part
        for part in parts.values():
            yield from _nested("", part, seen)
        yield from _nested("", model, seen)


def _nested(prefix: str, model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Return the sections of a model's tables, those of its tables likewise, each model once."""
    tables = [(name, field.annotation) for name, field in model.model_fields.items()]
    if model is PacketSettings:
        tables += [(name, control) for name, control in BUILT_IN.items() if name not in model.model_fields]
    for name, annotation in tables:
        for inner, path in _models(annotation, prefix + name):
            if inner not in seen and inner.model_fields:
                seen.add(inner)
                brackets = "[[{}]]" if path.endswith("[]") else "[{}]"
                yield f"### `{brackets.format(path.removesuffix('[]'))}`\n", path, inner
                yield from _nested(f"{path.removesuffix('[]')}.", inner, seen)


def _models(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Return the models in an annotation, each with where its keys stand: ``[]`` behind lists, ``.NAME`` behind named ones."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, path
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (dict, Mapping):
        arguments, path = arguments[1:], f"{path}.NAME"
    elif origin in (tuple, list):
        path = f"{path}[]"
    for part in arguments:
        yield from _models(part, path)


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for text, _, model in sections():
        parts += [text, *([] if model is BaseModel else _table(model))]
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", "\n".join(parts))


def rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Return key, type, default and meaning of each key of a model."""
    introduction, meanings = documented(model)
    for name, field in model.model_fields.items():
        meaning = _described(model, name) or meanings.get(name, "")
        tables = dict.fromkeys(_first_sentence(inner) for inner, _ in _models(field.annotation, ""))
        meaning = meaning or "; ".join(tables)
        if not meaning and f"`{name}`" in introduction:
            meaning = "above"
        yield name, _kind(field.annotation), _default(field), meaning


def _first_sentence(model: type[BaseModel]) -> str:
    return re.split(r"\.(?:\s|$)", documented(model)[0], maxsplit=1)[0].replace("\n", " ")


def _described(model: type[BaseModel], name: str) -> str:
    """Return the description of a key, that of a base where a family names the key anew."""
    fields = [base.model_fields.get(name) for base in model.__mro__ if issubclass(base, BaseModel)]
    return next((field.description for field in fields if field is not None and field.description), "")


def _table(model: type[BaseModel]) -> list[str]:
    lines = [documented(model)[0], "", "| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {default} | {meaning} |" for name, kind, default, meaning in rows(model)]
    return [*lines, ""]


def _kind(annotation: Any) -> str:
    """Return a type as a reader of files knows it, bounds left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return f"one of {list(arguments)}"
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in arguments)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(_kind(part) for part in arguments)}]".replace("Mapping[", "dict[")
    return {NoneType: "None", Ellipsis: "..."}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return f"`{field.default_factory()!r}`"
    return "(required)" if field.default is PydanticUndefined else _plain(field.default)


def documented(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return what a model's docstring says of the whole, and of each key in its section of attributes and its bases'."""
    introduction, meanings = "", {}
    for base in reversed([base for base in model.__mro__ if issubclass(base, BaseModel) and "__doc__" in vars(base)]):
        introduction, own = _parted(base)
        meanings |= own
    return introduction, meanings


def _parted(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", inspect.cleandoc(model.__doc__ or "").replace("``", "`"))
    introduction, _, attributes = text.partition("\n\nAttributes\n----------\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if line.startswith(" "):
            meanings |= {name: f"{meanings.get(name, '')} {line.strip()}".strip() for name in names}
        else:
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
    return introduction, meanings


def _plain(default: Any) -> str:
    return "table below" if isinstance(default, BaseModel) else f"`{default!r}`"


def reliability_page() -> str:
    """Return docs/reliability.md with the table of bounds written anew."""
    lines = ["", "| file | largest | and at most |", "|---|---|---|"]
    for what, largest, others in BOUNDS:
        parted = (one.partition(" ") for one in others)
        told = ", ".join(f"{_constant(name):,} {of}" for name, _, of in parted)
        lines.append(f"| {what} | {_size_text(_constant(largest)) if largest else ''} | {told} |")
    return LIMITS.sub(lambda found: "\n".join([found[1], *lines, "", found[2]]), RELIABILITY.read_text(encoding="utf-8"))


def _constant(name: str) -> int:
    module, _, constant = name.rpartition(".")
    return int(getattr(import_module(module), constant))


def _size_text(size_bytes: int) -> str:
    power = max(power for power in range(4) if size_bytes >= 1 << 10 * power)
    return f"{size_bytes >> 10 * power} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"


def metrics_page() -> str:
    """Return docs/metrics.md with the rows of the comparison's table, defined as terminal and pages define them."""
    lines = ["| figure | key | definition | shown in |", "|---|---|---|---|"]
    figures: dict[tuple[str, str, str, str], list[str]] = {}
    for row in ROWS:
        name = re.sub(r" (?:mean|P\d+)$", "", row.label)
        figures.setdefault((row.section, name, row.definition, row.unit), []).append(".".join(row.path))
    for (section, name, definition, unit), keys in figures.items():
        # Statistics of one thing are one line.
        shown = f"`{keys[0]}`" + (f", `.{keys[-1].rpartition('.')[2]}`" if len(keys) == 2 else "")
        shown = f"`{keys[0].rpartition('.')[0]}`" if len(keys) > 2 else shown
        lines.append(f"| {section}: {name} | {shown} | {definition.replace('|', chr(92) + '|')} | {unit or 1} |")
    return FIGURES.sub(lambda found: f"{found[1]}\n\n" + "\n".join(lines) + f"\n\n{found[2]}", METRICS.read_text())


if __name__ == "__main__":
    TARGET.write_text(page())
    METRICS.write_text(metrics_page())
    RELIABILITY.write_text(reliability_page())
