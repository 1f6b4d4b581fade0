"""Tables for a terminal or a pipe: plain text of a given width, colour only when asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube.report.band_lines import band_lines
from zcube.report.calibration_lines import measured_lines
from zcube.report.columns import aligned
from zcube.report.cost_lines import cost_lines
from zcube.report.microscope_lines import NOTE, remarks, window_cells
from zcube.report.names import display_names, printable
from zcube.report.packet_table import paused_longest, port_lines, spread_text
from zcube.report.quantities import time_text
from zcube.report.request_lines import request_lines
from zcube.report.seed_lines import seed_lines
from zcube.report.variations_table import SENSITIVITY_NOTE, SWEEP_NOTE, notes, sensitivity_cells, sweep_cells
from zcube.report.window_lines import section_title, window_lines
from zcube.verdict.request_sets import marked, set_lines
from zcube.verdict.rows import Document, Row
from zcube.verdict.table import shown_rows
from zcube.verdict.verdict import parts

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


#: Footers are not stretched beyond what is comfortable to read.
LEAST_WIDTH, READING_WIDTH = 40, 100
#: Wider than any table of 32 fabrics; asks rich for a table's natural width.
UNBOUNDED = 10_000

_BETTER, _WORSE = "cyan", "yellow"

_BILL_ROWS: tuple[Row, ...] = (
    Row("", "Switches", "", ("switches",), "", style="count", exact=True),
    Row("", "Switch-side modules", "", ("transceivers",), "", style="count", exact=True),
    Row("", "Modules with NIC side", "", ("with_nic_side", "transceivers"), "", style="count", exact=True),
    Row("", "Switches (their ports)", "USD", ("switch_usd",), "", style="usd", exact=True),
    Row("", "Switch-side optics", "USD", ("optics_usd",), "", style="usd", exact=True),
    Row("", "Optics with NIC side", "USD", ("with_nic_side", "optics_usd"), "", style="usd", exact=True),
    Row("", "Total", "USD", ("total_usd",), "", style="usd", exact=True),
    Row("", "Total with NIC side", "USD", ("with_nic_side", "total_usd"), "", style="usd", exact=True),
    Row("", "NICs", "USD", ("with_nics", "nic_usd"), "", style="usd", exact=True),
    Row("", "Total with NICs", "USD", ("with_nics", "total_usd"), "", style="usd", exact=True),
)


def document_table(document: Document, width: int | None = None, colour: bool = False, ascii_only: bool = False) -> str:
    """Return a comparison's document: its verdict, a table of metrics over fabrics, and a footer of definitions.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    width : int, optional
        Columns of the terminal. Fabrics that do not fit go into further tables that repeat the baseline. Default: as wide
        as one table needs.
    colour : bool
        Whether to add terminal colours.
    ascii_only : bool
        Whether to keep to ASCII, for an output that cannot hold UTF-8.

    Returns
    -------
    str
        Lines with a final newline.
    """
    names = display_names(document["fabrics"])
    paper = _Paper(width, colour, ascii_only)
    tables = paper.tables(shown_rows(document), document["fabrics"], names, document["baseline"])
    text = "".join(f"{paper.paragraphs(part)}\n" for part in parts(document)) + tables
    for name, fabric in document["fabrics"].items():
        if narrow := fabric.get("packet", {}).get("narrow_spread"):
            text += paper.paragraphs(f"{names[name]}: {spread_text(narrow)}.") + "\n"
        if paused := paused_longest(fabric["packet"]["ports"] if "packet" in fabric else []):
            text += paper.lines(port_lines(f"Paused longest on {names[name]}", paused))
    for key, cells_of, note in (
        ("sensitivity", sensitivity_cells, SENSITIVITY_NOTE),
        ("sweep", sweep_cells, SWEEP_NOTE),
    ):
        if document.get(key):
            cells = cells_of(document[key])
            text += paper.lines(aligned(cells, 3 if key == "sensitivity" else 2))
            text += paper.paragraphs(notes(cells, note, document[key]))
    if document.get("microscope"):
        for name, found in document["microscope"]["fabrics"].items():
            text += paper.lines(_worst_windows(f"Worst windows of {names[name]}", document["microscope"], found))
    return text + paper.footer(_footer(document, names))


def bill_table(
    documents: dict[str, dict[str, Any]],
    price_book: str,
    counting_rule: str,
    baseline: str | None = None,
    width: int | None = None,
    colour: bool = False,
    ascii_only: bool = False,
) -> str:
    """Return bills side by side.

    Parameters
    ----------
    documents : dict
        ``BillOfMaterials.document()`` by fabric, at least one.
    price_book : str
        Name of the price book, and its source where known.
    counting_rule : str
        How positions are counted.
    baseline : str, optional
        The fabric the others are compared with. Default: the first.
    width, colour, ascii_only
        As in :func:`document_table`.

    Returns
    -------
    str
        Lines with a final newline.
    """
    names = display_names(documents)
    base = next(iter(documents)) if baseline is None else baseline
    paper = _Paper(width, colour, ascii_only)
    notes = [("Price book", price_book), ("Counting rule", counting_rule)]
    missing = [names[name] for name, bill in documents.items() if bill["with_nics"]["total_usd"] is None]
    if missing:
        notes.insert(0, ("Unknown", f"the price book lacks a price that {', '.join(missing)} needs; '-' marks such sums."))
    return paper.tables(_BILL_ROWS, documents, names, base) + paper.footer(notes)


class _Paper:
    """A width, an alphabet and whether there is colour."""

    def __init__(self, width: int | None, colour: bool, ascii_only: bool):
        self._width = UNBOUNDED if width is None else max(width, LEAST_WIDTH)
        self._colour = colour
        self._ascii_only = ascii_only
        self._widest = 0

    def tables(self, rows: Sequence[Row], fabrics: Mapping[str, Document], names: Mapping[str, str], base: str) -> str:
        """Return as few tables as the width allows."""
        others = [name for name in fabrics if name != base]
        for at_once in range(len(others), 0, -1):
            parts = [others[first : first + at_once] for first in range(0, len(others), at_once)]
            built = [self._table(rows, fabrics, names, [base, *part]) for part in parts]
            if all(self._natural_width(table) <= self._width for table in built):
                break
        else:
            built = [self._table(rows, fabrics, names, [base, *part]) for part in ([[name] for name in others] or [[]])]
        self._widest = max(min(self._natural_width(table), self._width) for table in built)
        return "\n".join(self._render(table, self._width) for table in built)

    def lines(self, lines: Sequence[str]) -> str:
        """Return lines under an empty one, folded where they are too long."""
        from rich.text import Text

        return "\n" + "".join(self._render(Text(line), self._width) for line in lines)

    def paragraphs(self, texts: Sequence[str]) -> str:
        """Return sentences, wrapped; of those tables are printed before, as wide as they are."""
        from rich.text import Text

        return "".join(self._render(Text(printable(text)), self._reading_width()) for text in texts)

    def footer(self, notes: Sequence[tuple[str, str]]) -> str:
        """Return definitions, wrapped, under an empty line."""
        from rich.text import Text

        lines = [Text(f"{name}: ", style="bold").append(printable(text), style="not bold") for name, text in notes]
        return "\n" + "".join(self._render(line, self._reading_width()) for line in lines)

    def _reading_width(self) -> int:
        return min(self._width, max(self._widest, 80), READING_WIDTH)

    def _table(self, rows: Sequence[Row], fabrics: Mapping[str, Document], names: Mapping[str, str], shown: list[str]) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        edges = box.Box("    \n    \n -- \n    \n    \n -- \n    \n    \n") if self._ascii_only else box.SIMPLE_HEAD
        table = Table(box=edges, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
        table.add_column(Text("Metric"), no_wrap=True)
        table.add_column(Text("Unit"), no_wrap=True)
        for place, name in enumerate(shown):
            table.add_column(Text(names[name]), justify="right", overflow="fold")
            if place:
                table.add_column(Text("change"), justify="right", no_wrap=True)
        section = ""
        for row in rows:
            if row.section != section:
                section = row.section
                table.add_row(Text(section_title(section, fabrics.values()), style="bold"))
            table.add_row(*_cells(row, [fabrics[name] for name in shown], indent=bool(section)))
        return table

    def _natural_width(self, table: Table) -> int:
        from rich.measure import Measurement

        console = self._console(io.StringIO(), UNBOUNDED)
        return Measurement.get(console, console.options, table).maximum

    def _render(self, item: RenderableType, width: int) -> str:
        file = io.StringIO()
        self._console(file, width).print(item)
        # Trailing blanks only make lines wrap in a terminal one column narrower.
        text = "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
        return text.encode("ascii", "backslashreplace").decode() if self._ascii_only else text

    def _console(self, file: io.StringIO, width: int) -> Any:
        from rich.console import Console

        # Every setting that rich would otherwise take from the surroundings is fixed, so that equal input gives equal text.
        return Console(
            file=file,
            width=width,
            height=100,
            force_terminal=self._colour,
            color_system="standard" if self._colour else None,
            no_color=not self._colour,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
            _environ={},
        )


def _worst_windows(head: str, asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    rows = window_cells(found)
    lines = [f"{head}, {time_text(asked['window_s'])} each, packet by packet"]
    return [*lines, *(aligned(rows) if len(rows) > 1 else []), *remarks(found)]


def _cells(row: Row, fabrics: list[Document], indent: bool) -> list[Any]:
    from rich.text import Text

    cells = [Text(("  " if indent else "") + row.label), Text(row.unit), Text(row.text(row.value(fabrics[0])))]
    for fabric in fabrics[1:]:
        change, better = row.against(fabric, fabrics[0])
        style = "" if better is None else _BETTER if better else _WORSE
        cells += [Text(row.text(row.value(fabric))), Text(marked(change, row, fabric), style=style)]
    return cells


def _footer(document: Document, names: Mapping[str, str]) -> list[tuple[str, str]]:
    fabrics = document["fabrics"]
    routing = ", ".join(f"{names[name]} by {fabric['routing']}" for name, fabric in fabrics.items())
    books = sorted({fabric["bill"]["price_book"] for fabric in fabrics.values()})
    return [
        ("Change", f"against {names[document['baseline']]}; pp = percentage points; '-' = no value."),
        *((("Worst windows", NOTE),) if document.get("microscope") else ()),
        *set_lines(document, names),
        *window_lines(document, names),
        *seed_lines(document, names),
        *band_lines(document, names),
        ("Slow-down", "of KV transfers; type 1: contention at own NICs, type 2: what the fabric adds; 1 = none."),
        *request_lines(document["requests"]),
        ("Network", f"fidelity {document['fidelity']}; routing: {routing}. Seed {document['seed']}."),
        *_differences(document, names),
        ("Compute", f"{document['compute']['model']}; {stated_error(document)}."),
        *((f"Failure on {names[name]}", fabric["failure"]) for name, fabric in fabrics.items() if fabric.get("failure")),
        *_calibration(document),
        ("Price book", ", ".join(books)),
        ("Counting rule", document["counting_rule"]),
        *cost_lines(document, names),
    ]


def _differences(document: Document, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what of a fabric's network is another than the baseline's, routing apart; nothing where all are alike."""

    def flat(fabric: Mapping[str, Any]) -> dict[str, Any]:
        network = {key: value for key, value in fabric.get("network", {}).items() if key != "routing"}
        return network | {f"packet.{key}": value for key, value in (network.pop("packet", None) or {}).items()}

    base, lines = flat(document["fabrics"][document["baseline"]]), []
    for name, fabric in document["fabrics"].items():
        changed = [f"{key} {printable(str(value))}" for key, value in flat(fabric).items() if base.get(key) != value]
        lines += [("Network", f"of {names[name]}: {', '.join(changed)}")] if changed else []
    return lines


def _calibration(document: Document) -> list[tuple[str, str]]:
    """Return what is said of the calibration, its name first; nothing without one."""
    lines = measured_lines(document)
    return [("Calibration", line.strip().removeprefix("Calibration: ")) for line in lines]


def stated_error(document: Document) -> str:
    """Return the compute model's stated relative errors in one line: median and 90th percentile by operation."""
    errors = document["compute"]["stated_error"]
    parts = [
        f"{operation.replace('_', ' ')} {100 * error['median']:.1f} / {100 * error['p90']:.1f} %"
        + ("" if error["points"] else " (unmeasured)")
        for operation, error in errors.items()
    ]
    return "error against measurements, median / P90: " + ", ".join(parts) if parts else "no stated error"
