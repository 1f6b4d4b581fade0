"""The output folder of a comparison: provenance, summary, one table per fabric of requests and of links, pictures, page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.progress import Progress, silent
from zcube.report.names import file_slugs

if TYPE_CHECKING:
    import pandas as pd

    from zcube.comparison import Comparison
    from zcube.out_folder import OutFolder

SUMMARY_FILE = "summary.json"
PAGE_FILE = "report.html"


def write_folder(comparison: Comparison, run_record: dict[str, Any], folder: OutFolder, progress: Progress = silent) -> Path:
    """Write everything a comparison gave, as a whole or not at all.

    ``run.json`` (provenance), ``summary.json`` (byte-identical for equal scenario and seed), ``requests-<fabric>.parquet``,
    ``links-<fabric>.parquet``, ``ttft_cdf.png``, ``ttft_parts.png``, ``link_load.png``, ``cost.png`` and ``report.html``;
    ``load-<fabric>.parquet`` where load over time was kept; ``congestion_trees-<fabric>.png`` where the packet fidelity saw
    pauses; ``microscope-<fabric>.parquet`` where windows were rebuilt; ``sweep`` and ``sensitivity`` as ``.png`` and ``.svg``
    where they were asked for.

    Parameters
    ----------
    comparison : Comparison
        What came of the fabrics.
    run_record : dict
        JSON-ready provenance, from the caller.
    folder : OutFolder
        New, empty, or written by an earlier run, which it then replaces.
    progress : Progress
        Told what is written and drawn.

    Returns
    -------
    Path
        Where it was written: beside the folder if another run wrote into that meanwhile.
    """
    from zcube.report.html import render_html

    document = comparison.document()
    slugs = file_slugs(comparison.results)

    def fill(temporary: Path) -> None:
        progress("writing", 0, 0, "")
        (temporary / SUMMARY_FILE).write_text(to_json(document), encoding="utf-8")
        for name, result in comparison.results.items():
            _write_table(result.requests(), temporary / f"requests-{slugs[name]}.parquet")
            _write_table(result.links(), temporary / f"links-{slugs[name]}.parquet")
            if result.run.load is not None:
                _write_table(result.run.load.frame(), temporary / f"load-{slugs[name]}.parquet")
            if name in comparison.rebuilt:
                _write_table(comparison.rebuilt[name], temporary / f"microscope-{slugs[name]}.parquet")
        pictures = _draw(comparison, temporary, progress)
        conditions = comparison.scenario.model_dump(mode="json")
        (temporary / PAGE_FILE).write_text(render_html(document, conditions, pictures), encoding="utf-8")

    return folder.write(fill, run_record)


def _draw(comparison: Comparison, folder: Path, progress: Progress) -> dict[str, bytes]:
    """Draw every picture into a folder and return them by file name."""
    from zcube.report.comparison_figures import comparison_figures
    from zcube.report.picture import save
    from zcube.report.variations_plot import PICTURES

    drawn = {}
    progress("drawing", 0, 0, "")
    for name, figure in comparison_figures(comparison):
        path = folder / f"{name}.png"
        save(figure, path)
        if name in PICTURES:
            save(figure, path.with_suffix(".svg"))
        drawn[path.name] = path.read_bytes()
    return drawn


def _write_table(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)
