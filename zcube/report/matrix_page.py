"""The page of a matrix: what the figures say, the heat maps, every figure, bills, and what each transport is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube import __version__
from zcube.report.matrix_picture import matrix_conditions
from zcube.report.matrix_shades import panels
from zcube.report.matrix_table import cell_text, shown_figures
from zcube.report.names import display_names, printable
from zcube.report.page import render_page


def matrix_page(document: Mapping[str, Any]) -> str:
    """Return the page of a matrix.

    Parameters
    ----------
    document : mapping
        ``Matrix.document()``.
    """
    names, columns, rows = display_names(document["fabrics"]), list(document["transports"]), document["cells"]
    return render_page(
        "matrix.html.j2",
        styles=["matrix.css"],
        conditions=matrix_conditions(document),
        words=[printable(sentence) for sentence in document["words"]],
        columns=columns,
        panels=[
            {"title": one.title, "note": one.note, "rows": [(names[row], cells.values()) for row, cells in one.cells.items()]}
            for one in panels(document)
        ],
        figures=[
            (one.title, [(names[row], [cell_text(cells[at], one) for at in columns]) for row, cells in rows.items()])
            for one in shown_figures(document)
        ],
        fabrics=[
            (names[name], one["family"], one["gpus"], one["nic_gbps"], one["bill"]["switches"], one["bill"]["total_usd"])
            for name, one in document["fabrics"].items()
        ],
        bill_of=next(iter(document["fabrics"].values()))["bill"],
        transports=[(name, _parts(one), _sets(one)) for name, one in document["transports"].items()],
        errors=[
            (names[row], column, seed, printable(error))
            for row, cells in rows.items()
            for column, cell in cells.items()
            for seed, error in cell["errors"].items()
        ],
        rule=document["rule"],
        version=__version__,
    )


def _parts(transport: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (printable(name), printable(part["description"]), [printable(source) for source in part["sources"]])
        for name, part in transport["parts"].items()
    ]


def _sets(transport: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return what it sets by family; one entry for all where families do not differ."""
    sets = transport["sets"].items()
    lines = {family: [printable(f"{key} = {value}") for key, value in changes.items()] for family, changes in sets}
    if len({tuple(line) for line in lines.values()}) == 1:
        return [("", next(iter(lines.values())))]
    return list(lines.items())
