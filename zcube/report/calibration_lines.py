"""What a result says of the calibration it was made with: name, error, values taken, and what lies outside its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.names import printable


def calibration_lines(document: Mapping[str, Any]) -> list[str]:
    """Return the lines of a ``calibration`` section.

    Parameters
    ----------
    document : mapping
        ``zcube.calibrate.links.calibration_document()``.
    """
    head = f"Calibration: {printable(document['name'])}, data {document['data_sha256'][:12]}"
    if document["error_median"] is None:
        lines = [f"{head}; its error is not known"]
    else:
        error = f"median {document['error_median']:.1%}, P90 {document['error_p90']:.1%} on sizes left out"
        lines = [f"{head}; error of the fitted curves {error}"]
    lines += [f"  {printable(note)}" for note in document["notes"]]
    lines += _band_lines(document.get("band"))
    return [*lines, *(f"  warning: {printable(text)}" for text in document["warnings"])]


def _band_lines(band: Mapping[str, Any] | None) -> list[str]:
    """Return how the band was made, or why there is none."""
    if band is None:
        return []
    fixed = band["without_intervals"]
    without = [f"  band: no interval, taken as fitted: {printable('; '.join(fixed))}"] if fixed else []
    if band["why_none"]:
        return [f"  band: none; {printable(band['why_none'])}", *without]
    picked = f"{band['draws']} of {band['rounds']} bootstrap rounds, evenly from end to end of the {band['level']:.0%} interval"
    return [f"  band: least and most of the run and {picked}; it holds the scatter of the fit alone", *without]
