"""Claims about a fabric as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence

from zcube.report.names import printable
from zcube.routing.claims import Claim

VERDICTS = {True: "holds", False: "FAILS", None: "counted"}
#: Columns where the terminal does not say.
DEFAULT_WIDTH = 100


def claims_table(
    fabric: str, routing: str, claims: Sequence[Claim], width: int | None = None, colour: bool = False, ascii_only: bool = False
) -> str:
    """Return claims with verdict and evidence, one row each.

    Parameters
    ----------
    fabric, routing : str
        What was checked.
    claims : sequence of Claim
        In order.
    width, colour, ascii_only
        As in :func:`zcube.report.terminal.document_table`.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD, title=None, pad_edge=False)
    for column in ("Claim", "Verdict", "Evidence"):
        table.add_column(column, no_wrap=column != "Evidence", overflow="fold")
    for claim in claims:
        style = {True: "cyan", False: "bold yellow", None: ""}[claim.holds]
        table.add_row(Text(claim.name), Text(VERDICTS[claim.holds], style=style), Text(printable(claim.evidence)))
    buffer = io.StringIO()
    console = Console(file=buffer, width=width or DEFAULT_WIDTH, force_terminal=colour, no_color=not colour, highlight=False)
    console.print(f"{printable(fabric)}, routing {routing}", markup=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
