"""The output folder of a comparison: provenance, summary, one table per fabric of requests and of links, pictures, page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from zcube.comparison import Comparison
    from zcube.out_folder import OutFolder
    from zcube.report.page import Section
    from zcube.report.results import Results

PAGE_FILE = "report.html"


def write_folder(comparison: Comparison, run_record: dict[str, Any], folder: OutFolder, progress: Progress = silent) -> Path:
    """Write everything a comparison gave, as a whole or not at all.

    ``run.json`` (provenance), ``summary.json`` (byte-identical for equal scenario and seed), ``requests-<fabric>.parquet``,
    ``links-<fabric>.parquet``, ``topology-<fabric>.json`` and ``figures.json`` (what is drawn beyond these), ``report.html``;
    ``ttft_cdf``, ``tpot_cdf``, ``kv_transfer_cdf``, ``ttft_parts``, ``link_load`` and ``cost``, and where they were asked for
    or seen ``sweep``, ``sensitivity`` and ``congestion_trees-<fabric>``, each as ``.png`` and ``.svg``;
    ``load-<fabric>.parquet`` and ``load_over_time`` where load over time was kept;
    ``microscope-<fabric>.parquet`` where windows were rebuilt.

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
    from zcube.report.picture import conditions, save_both
    from zcube.report.results import Results
    from zcube.report.stored import FIGURES_FILE, SUMMARY_FILE, figures_document
    from zcube.report.topology import fabric_structure, stored_section, structure_file

    results = Results.of(comparison, tuple(run_record.get("call", ())))

    def fill(temporary: Path) -> None:
        progress("writing", 0, 0, "")
        (temporary / SUMMARY_FILE).write_text(to_json(results.document), encoding="utf-8")
        for name in results.fabrics:
            slug = results.slugs[name]
            _write_table(results.requests[name], temporary / f"requests-{slug}.parquet")
            _write_table(comparison.results[name].links(), temporary / f"links-{slug}.parquet")
            load = comparison.results[name].run.load
            if load is not None:
                _write_table(load.frame(), temporary / f"load-{slug}.parquet")
            if name in comparison.rebuilt:
                _write_table(comparison.rebuilt[name], temporary / f"microscope-{slug}.parquet")
            structure = fabric_structure(comparison.results[name].fabric, comparison.results[name].bill.pieces)
            (temporary / structure_file(slug)).write_text(to_json(structure), encoding="utf-8")
        (temporary / FIGURES_FILE).write_text(to_json(figures_document(results)), encoding="utf-8")
        if loads := {
            results.names[name]: found.run.load.frame()
            for name, found in comparison.results.items()
            if found.run.load is not None
        }:
            from zcube.report.load_over_time import plot_load_over_time

            figure = plot_load_over_time(loads, conditions(results))
            if figure is not None:
                save_both(figure, temporary, "load_over_time")
        section = stored_section(results, lambda name: path if (path := temporary / name).is_file() else None)
        write_page(results, temporary, progress, [] if section is None else [section])

    return folder.write(fill, run_record)


def write_page(results: Results, folder: Path, progress: Progress = silent, sections: Sequence[Section] = ()) -> None:
    """Draw every picture of a comparison into a folder, and write its page there."""
    from zcube.report.html import render_html

    pictures = _draw(results, folder, progress)
    page = render_html(results.document, results.scenario, pictures, results.call, sections)
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")


def _draw(results: Results, folder: Path, progress: Progress) -> dict[str, bytes]:
    """Draw every picture into a folder and return them as SVG by name."""
    from zcube.report.comparison_figures import comparison_figures
    from zcube.report.picture import save_both

    progress("drawing", 0, 0, "")
    return {name: save_both(figure, folder, name) for name, figure in comparison_figures(results)}


def _write_table(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)
