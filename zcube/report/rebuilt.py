"""A report from stored results: one run's page again, or several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zcube.errors import FaultList
from zcube.report.comparison_figures import comparison_figures
from zcube.report.html import render_html
from zcube.report.picture import svg_bytes
from zcube.report.results import Results
from zcube.report.runs_page import runs_page
from zcube.report.stored import recorded_file, shown_from
from zcube.report.topology import stored_section


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
            pictures = {name: svg_bytes(figure) for name, figure in comparison_figures(results)}
            section = stored_section(results, recorded_file(folder))
            sections = [] if section is None else [section]
            return render_html(results.document, results.scenario, pictures, results.call, sections)
    faults = FaultList()
    for folder, results in runs.items():
        with faults, shown_from(folder):
            runs_page({folder.name: results})
    faults.check()
    return runs_page({str(folder): results for folder, results in runs.items()})
