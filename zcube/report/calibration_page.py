"""The page of a calibration: the fit drawn over what was measured, its regimes with intervals, its error on runs left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zcube.report.article import Block, article_page
from zcube.report.calibration_plot import plot_calibration
from zcube.report.calibration_table import calibration_head, curve_cells, error_cells

if TYPE_CHECKING:
    from zcube.calibrate.calibration import Calibration


def calibration_page(calibration: Calibration, call: Sequence[str] = ()) -> str:
    """Return the page of a calibration.

    Parameters
    ----------
    calibration : Calibration
        With the points it was fitted to.
    call : sequence of str
        What was called, without the name of the program.
    """
    held_out = calibration.held_out
    errors = () if held_out is None else error_cells("Operation", held_out.by_operation, held_out.total)
    caption = "Measured (marks) and fitted (lines), residuals below; ticks show where regimes start."
    blocks = [
        Block("Fit", "fit", pictures={caption: plot_calibration(calibration)}),
        Block("Error on points kept out of the fit", "error", errors, notes=[] if held_out is None else [held_out.how]),
        Block("Regimes", "regimes", curve_cells(calibration), 2, is_open=False),
        Block("Notes", "notes", notes=calibration.notes, is_open=False),
    ]
    return article_page("Calibration", calibration_head(calibration), blocks, call)
