"""``zcube calibrate run --kind tiles`` and ``fit`` of what it measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

WRITTEN = (".json",)
DEFAULT_PARTS = Path("tile-parts.json")
#: Contexts that what each idea saves is printed for: those of the shortest and the longest published point.
IDEA_CONTEXTS = (1536, 197_120)


def run_tiles(kind: str, out: Path, ranks: Sequence[str] | None, assignments: Sequence[str], json: bool) -> None:
    """Measure, write the file and print it."""
    from zcube.calibrate.measure.tiles.run import TileSettings, measure_tiles
    from zcube.cli.targets import Target, check_targets
    from zcube.errors import Fault, InputError
    from zcube.inputs import assign, validate
    from zcube.outputs import to_json
    from zcube.report.tile_table import tile_times_text

    if kind != "tiles":
        raise InputError(Fault("--kind", repr(kind)[:60], "nccl or tiles"))
    check_targets([Target("--out", out, WRITTEN, lambda result, target: None)])
    data: dict[str, object] = {} if ranks is None else {"ranks": ranks}
    assign(data, assignments)
    settings = validate(TileSettings, data, "settings")
    times = measure_tiles(settings, out, lambda line: print(line, file=sys.stderr, flush=True))
    print(f"written: {out}", file=sys.stderr)
    sys.stdout.write(to_json(times.model_dump(mode="json")) if json else tile_times_text(times))


def fit_tiles(files: Sequence[Path], out: Path | None, *, seed: int, draws: int | None, json: bool) -> None:
    """Fit the parts of a decode node, write them and print them beside what they predict."""
    from zcube.calibrate.marked_files import write_model
    from zcube.calibrate.tile_node import idea_savings, measured_node, predictions
    from zcube.calibrate.tile_parts import DRAWS, fit_parts, is_tile_parts
    from zcube.calibrate.tile_times import read_tile_times
    from zcube.cli.targets import Target, check_targets, write_targets
    from zcube.llm.cards import load_card
    from zcube.llm.decode_node.figures import load_node
    from zcube.outputs import to_json
    from zcube.report.tile_table import tile_parts_text

    written = [Target("--out", out or DEFAULT_PARTS, WRITTEN, write_model, is_own=None if out else is_tile_parts)]
    check_targets(written, files)
    times = [read_tile_times(file) for file in files]
    parts = fit_parts(times, draws=DRAWS if draws is None else draws, seed=seed)
    write_targets(written, parts)
    if json:
        sys.stdout.write(to_json(parts.model_dump(mode="json")))
    else:
        node = load_node("tilert-b200")
        card = load_card("glm-5.1")
        measured = predictions(card, measured_node(node, parts))
        savings = [(tokens, idea_savings(card, node, parts, tokens)) for tokens in IDEA_CONTEXTS]
        sys.stdout.write(tile_parts_text(parts, predictions(card, node), measured, savings))
