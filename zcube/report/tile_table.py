"""Measured tile times, the parts fitted to them and what these predict, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text

if TYPE_CHECKING:
    from zcube.calibrate.tile_node import Prediction, Saving
    from zcube.calibrate.tile_parts import Part, TileParts
    from zcube.calibrate.tile_times import TileTimes


#: Endings of the parts' names, and their units.
UNITS = {"_us": "us", "_gbytes_per_s": "GB/s", "_tflops": "TFLOP/s"}


def tile_times_text(times: TileTimes) -> str:
    """Return one line a measured time: what, among how many GPUs, of which size, by how many blocks, median and spread."""
    cells = [["Item", "How", "GPUs", "Size", "Blocks", "Median us", "P10", "P90", ""]]
    for row in times.rows:
        computing = f", {row.computing} {row.work}" if row.computing else ""
        cells.append(
            [
                row.item,
                printable(row.variant + computing),
                str(row.gpus),
                bytes_text(row.size_bytes) if row.size_bytes else "",
                str(row.blocks) if row.blocks else "",
                *(f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (row.median_us, row.p10_us, row.p90_us)),
                "" if row.correct and not row.timed_out else "WRONG",
            ]
        )
    return "\n".join([f"{len(times.rows)} times; {printable(times.hardware)}", "", *aligned(cells, 2), ""])


def tile_parts_text(
    parts: TileParts,
    of_file: Sequence[Prediction],
    measured: Sequence[Prediction],
    savings: Sequence[tuple[int, Sequence[Saving]]],
) -> str:
    """Return every part with its interval, the all-reduces by size, and the published decode speeds beside two models.

    Parameters
    ----------
    parts : TileParts
        What was fitted.
    of_file, measured : sequence of Prediction
        With the bundled node's own figures, and with the measured parts in their place.
    savings : sequence of (int, sequence of Saving)
        Tokens of context, and what each idea saves there.
    """
    lines = [printable(parts.hardware), ""]
    cells = [["Part", "Value", "Interval", "Unit", "From"]]
    for name in type(parts).model_fields:
        part = getattr(parts, name)
        if not hasattr(part, "value"):
            continue
        ending = next(ending for ending in UNITS if name.endswith(ending))
        words = name.removesuffix(ending).replace("_", " ")
        span = f"{part.low:.3g} to {part.high:.3g}"
        cells.append([words, f"{part.value:.3g}", span, UNITS[ending], printable(part.source)])
    lines += aligned(cells, 1)
    lines += ["", "All-reduce, microseconds, the best number of blocks of each kind"]
    heads = ["GPUs", "Size", "One running kernel", "Graph", "Dependent launch", "NCCL, graph", "NCCL, eager"]
    rows = [
        [
            str(one.gpus),
            bytes_text(one.size_bytes),
            *map(_value, (one.persistent_us, one.graph_us, one.dependent_us, one.nccl_graph_us, one.nccl_eager_us)),
        ]
        for one in parts.all_reduces
    ]
    lines += aligned([heads, *rows], 0)
    lines += [
        "",
        "Published decode steps of TileRT on eight B200, milliseconds (docs/tilert.md says which figures stay fitted)",
    ]
    cells = [["Input", "Drafts", "Published", "Fitted node", "Error", "Measured parts", "Error"]]
    for fitted, one in zip(of_file, measured, strict=True):
        cells.append(
            [
                f"{one.point.input_ktokens}K",
                str(one.point.drafts),
                f"{1e3 * one.published_s:.2f}",
                f"{1e3 * fitted.model_s:.2f}",
                f"{100 * fitted.error:+.1f} %",
                f"{1e3 * one.model_s:.2f}",
                f"{100 * one.error:+.1f} %",
            ]
        )
    lines += [*aligned(cells, 0), "", "What each idea saves a step with the measured parts, milliseconds, no drafts"]
    names = [one.idea for one in savings[0][1]] if savings else []
    cells = [["Context", *names]]
    for tokens, saved in savings:
        spans = (f"{one.saved_us / 1e3:.2f} ({one.low_us / 1e3:.2f} to {one.high_us / 1e3:.2f})" for one in saved)
        cells.append([f"{tokens:,}", *spans])
    return "\n".join([*lines, *aligned(cells, 0), ""])


def _value(part: Part | None) -> str:
    return "" if part is None else f"{part.value:.3g}"
