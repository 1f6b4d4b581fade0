"""The output folder of a sweep: runs, table, document and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.progress import Progress
from zcube.report.picture import save_both
from zcube.report.stored import SWEEP_PAGE
from zcube.report.sweep_page import sweep_page
from zcube.report.sweep_plot import plot_columns
from zcube.report.sweep_text import conditions_of
from zcube.report.variations_plot import left_out, tornado
from zcube.sweep.sweep import STORE_FILE, Sweep
from zcube.sweep.table import write_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
    (the table) and ``sweep.json``, byte-identical for equal inputs, ``plot-1`` and so on and ``effects`` (a tornado)
    as SVG and PNG, ``sweep.html`` (all for readers).

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
        drawn = {
            name: (caption, save_both(figure, temporary, name))
            for name, (caption, figure) in _pictures(sweep, frame, document, plots)
        }
        page = sweep_page(sweep, frame, document, drawn)
        (temporary / SWEEP_PAGE).write_text(page, encoding="utf-8", newline="\n")

    return folder.write(fill, run_record, grows=[STORE_FILE])


def _pictures(
    sweep: Sweep, frame: pd.DataFrame, document: Mapping[str, Any], plots: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, tuple[str, Figure]]]:
    """Yield every picture by the name of its file, with what it shows."""
    under = conditions_of(document)
    for number, (x, y) in enumerate(plots, 1):
        caption = f"{y} over {x}: means over the seeds, bars their 95 % intervals."
        yield f"plot-{number}", (caption, plot_columns(sweep, frame, x, y, under))
    if document["effects"] is not None:
        figure = tornado(document["effects"], "Key by key over all points", under, "all points")
        words = "; ".join(["How far each key moves the change against the baseline", *left_out(document["effects"])])
        yield "effects", (f"{words}. {document['effects']['rule']}", figure)
