"""The output folder of a sweep: runs, table, document and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.progress import Progress
from zcube.report.picture import save
from zcube.report.sweep_plot import plot_columns
from zcube.report.sweep_text import conditions_of
from zcube.sweep.sweep import STORE_FILE, Sweep
from zcube.sweep.table import write_table

if TYPE_CHECKING:
    from zcube.out_folder import OutFolder

TABLE_FILE, DOCUMENT_FILE = "points.parquet", "sweep.json"


def write_sweep(
    sweep: Sweep,
    plots: Sequence[tuple[str, str]],
    runs: Callable[[Path], None],
    run_record: dict[str, Any],
    folder: OutFolder,
    progress: Progress,
) -> Path:
    """Write everything a sweep gave, as a whole or not at all, and return where.

    ``run.json`` (provenance), ``runs.jsonl`` (every run that is known, what a further sweep goes on from), ``points.parquet``
    (the table) and ``sweep.json``, byte-identical for equal inputs, ``plot-1`` and so on as SVG and PNG.

    Parameters
    ----------
    sweep : Sweep
        What was run.
    plots : sequence of (str, str)
        Columns, see :func:`zcube.report.sweep_plot.plots_of`.
    runs : callable
        Writes the runs into a folder.
    run_record, folder, progress
        Provenance, where to, and what is told.
    """
    document, frame = sweep.document(), sweep.table()

    def fill(temporary: Path) -> None:
        runs(temporary)
        write_table(frame, temporary / TABLE_FILE)
        (temporary / DOCUMENT_FILE).write_text(to_json(document), encoding="utf-8", newline="\n")
        progress("drawing", 0, 0, "")
        for number, (x, y) in enumerate(plots, 1):
            figure = plot_columns(sweep, frame, x, y, conditions_of(document))
            for ending in (".svg", ".png"):
                save(figure, temporary / f"plot-{number}{ending}")

    return folder.write(fill, run_record, grows=[STORE_FILE])
