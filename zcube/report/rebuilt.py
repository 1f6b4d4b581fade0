"""A report from stored results: one run's page again, or several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zcube.errors import FaultList
from zcube.report.comparison_figures import comparison_draws
from zcube.report.html import render_html
from zcube.report.names import display_names
from zcube.report.picture import svg_bytes
from zcube.report.results import Results
from zcube.report.runs_page import runs_page
from zcube.report.stored import recorded_file, shown_from
from zcube.report.topology import stored, stored_section, topology_section


def rebuilt_page(runs: Mapping[Path, Results]) -> str:
    """Return the page of one run, or that of several side by side.

    Raises
    ------
    InputError
        With every folder whose document lacks what is shown.
    """
    if len(runs) == 1:
        ((folder, results),) = runs.items()
        with shown_from(folder):
            # Drawing takes longest, so what else may be refused comes before it.
            section = stored_section(results, recorded_file(folder))
            sections = [] if section is None else [section]
            pictures = {name: svg_bytes(draw()) for name, draw in comparison_draws(results).items()}
            return render_html(results.document, results.scenario, pictures, results.call, sections)
    faults = FaultList()
    for folder, results in runs.items():
        with faults, shown_from(folder):
            runs_page({folder.name: results})
    faults.check()
    names = display_names([str(folder) for folder in runs])
    explored: dict[str, dict[str, Any]] = {}
    for folder, results in runs.items():
        with faults:
            for fabric, held in stored(results, recorded_file(folder)).items():
                explored[f"{names[str(folder)]}: {fabric}"] = held
    faults.check()
    note = "Loads are those of the first seed of each run, each over its own window."
    sections = [topology_section(explored, note=note)] if explored else []
    return runs_page({str(folder): results for folder, results in runs.items()}, sections)
