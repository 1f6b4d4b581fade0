"""The output folder of a comparison: provenance, summary, one table per fabric of requests and of links, pictures, page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcube.outputs import to_json
from zcube.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from zcube.comparison import Comparison
    from zcube.out_folder import OutFolder
    from zcube.report.results import Results

PAGE_FILE = "report.html"


def write_folder(
    comparison: Comparison,
    run_record: dict[str, Any],
    folder: OutFolder,
    progress: Progress = silent,
    jobs: int | None = 1,
) -> Path:
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
    jobs : int, optional
        Processes that draw pictures, this one among them; None: as many as there are processors for.

    Returns
    -------
    Path
        Where it was written: beside the folder if another run wrote into that meanwhile.
    """
    from zcube.report.comparison_figures import comparison_draws
    from zcube.report.drawing import drawing
    from zcube.report.html import render_html
    from zcube.report.load_over_time import load_draws
    from zcube.report.picture import conditions
    from zcube.report.results import Results
    from zcube.report.topology import stored_section

    results = Results.of(comparison, tuple(run_record.get("call", ())))
    loads = {
        name: found.run.load.frame() for name, found in comparison.results.items() if found.run.load is not None
    }  # fmt: skip
    of_page = comparison_draws(results)
    draws = {**of_page, **load_draws({results.names[name]: load for name, load in loads.items()}, conditions(results))}

    def fill(temporary: Path) -> None:
        with drawing(draws, temporary, jobs) as ended:
            progress("writing", 0, 0, "")
            _write_tables(comparison, results, loads, temporary)
            section = stored_section(results, lambda name: path if (path := temporary / name).is_file() else None)
            drawn = ended(progress)
        pictures = {name: drawn[name] for name in of_page}
        page = render_html(results.document, results.scenario, pictures, results.call, [] if section is None else [section])
        (temporary / PAGE_FILE).write_text(page, encoding="utf-8")

    return folder.write(fill, run_record)


def _write_tables(comparison: Comparison, results: Results, loads: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write everything that is neither picture nor page."""
    from zcube.report.stored import FIGURES_FILE, SUMMARY_FILE, figures_document
    from zcube.report.topology import fabric_structure, structure_file

    (folder / SUMMARY_FILE).write_text(to_json(results.document), encoding="utf-8")
    for name in results.fabrics:
        slug, found = results.slugs[name], comparison.results[name]
        _write_table(results.requests[name], folder / f"requests-{slug}.parquet")
        _write_table(found.links(), folder / f"links-{slug}.parquet")
        if name in loads:
            _write_table(loads[name], folder / f"load-{slug}.parquet")
        if name in comparison.rebuilt:
            _write_table(comparison.rebuilt[name], folder / f"microscope-{slug}.parquet")
        structure = fabric_structure(found.fabric, found.bill.pieces)
        (folder / structure_file(slug)).write_text(to_json(structure), encoding="utf-8")
    (folder / FIGURES_FILE).write_text(to_json(figures_document(results)), encoding="utf-8")


def _write_table(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)
