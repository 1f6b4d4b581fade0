"""A matrix as text: the figure of every cell, what packets met, bills, and what the figures say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.matrix.findings import value_of
from zcube.report.names import printable
from zcube.verdict.rows import significant

ABSENT, FAILED = "-", "failed"


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure of cells: words, key, unit, and by what it is multiplied."""

    label: str
    key: str
    unit: str = ""
    scale: float = 1.0

    @property
    def title(self) -> str:
        """Words with the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


#: Of transfers, in the order in which they are shown.
CARRIED = (
    Shown("P99 of transfer times over the ideal core's", "over_ideal.p99"),
    Shown("Mean over the ideal core's", "over_ideal.mean"),
    Shown("P50 over the ideal core's", "over_ideal.p50"),
    Shown("Longest over the ideal core's", "over_ideal.max"),
    Shown("P99 of transfer times", "duration_s.p99", "ms", 1e3),
    Shown("Mean of transfer times", "duration_s.mean", "ms", 1e3),
    Shown("P50 of transfer times", "duration_s.p50", "ms", 1e3),
    Shown("Longest transfer", "duration_s.max", "ms", 1e3),
    Shown("All done after", "completion_s", "ms", 1e3),
)
#: Of a scenario's requests.
SERVED = (
    Shown("TTFT P99", "ttft_s.p99", "s"),
    Shown("TTFT mean", "ttft_s.mean", "s"),
    Shown("TTFT P50", "ttft_s.p50", "s"),
    Shown("TPOT P99", "tpot_s.p99", "ms", 1e3),
    Shown("TPOT mean", "tpot_s.mean", "ms", 1e3),
    Shown("Output", "throughput.output_tokens_per_s", "tok/s"),
    Shown("Requests", "throughput.requests_per_s", "req/s"),
)
#: What packets met.
MET = (
    Shown("Pauses", "packet.pauses"),
    Shown("Ports stood paused", "packet.paused_s", "s"),
    Shown("Transfers held up by others' congestion", "packet.victims"),
    Shown("Packets dropped", "packet.drops"),
    Shown("Packets trimmed", "packet.trims"),
    Shown("Packets sent again", "packet.repeats"),
    Shown("Packets behind a later one", "packet.late"),
    Shown("Packets marked", "packet.marks"),
    Shown("Rates or windows cut", "packet.rate_cuts"),
    Shown("Queue pairs of a transfer", "senders_per_transfer"),
)


def shown_figures(document: Mapping[str, Any]) -> list[Shown]:
    """Return the figures that are not 0 in some cell of a matrix, the leading one first."""
    carried = document["ideal_core"] is not None
    figures = [cell["figures"] for row in document["cells"].values() for cell in row.values() if cell["figures"]]
    wanted = (*(CARRIED if carried else SERVED), *MET)
    return [one for one in wanted if any(value_of(figure, one.key) for figure in figures)]


def cell_text(cell: Mapping[str, Any], one: Shown) -> str:
    """Return a cell's figure as shown; latencies and rates with half the interval of their mean over the seeds."""
    if cell["figures"] is None:
        return FAILED
    value = value_of(cell["figures"], one.key)
    if value is None:
        return ABSENT
    low, high = cell["intervals"].get(one.key, (value, value))
    reach = "" if low == high or one in MET else f" ±{significant((high - low) / 2 * one.scale, 2)}"
    return f"{significant(value * one.scale, 3)}{reach}"


def change_text(change: Mapping[str, Any] | None) -> str:
    """Return a change as a percentage with its interval, in brackets where it is inside the noise."""
    if change is None or change["relative"] is None:
        return ABSENT
    low, high = change["relative_interval"]
    told = f"{100 * change['relative']:+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"
    return told if change["differs"] else f"[{told}]"


def matrix_text(document: Mapping[str, Any], width: int | None = None, colour: bool = False, ascii_only: bool = False) -> str:
    """Return a matrix for the terminal."""
    key, columns = document["figure"]["key"], list(document["transports"])
    parts = [f"{printable(document['load']['name'])}, fidelity {document['fidelity']}, {document['seeds']} seeds\n"]
    parts += [f"{printable(sentence)}\n" for sentence in document["words"]]
    for one in shown_figures(document):
        rows = [[row, *(cell_text(cells[column], one) for column in columns)] for row, cells in document["cells"].items()]
        parts.append(_table([one.title, *columns], rows))
    if document["seeds"] > 1:
        for against, what in (("fabric", document["baseline"]["fabric"]), ("transport", document["baseline"]["transport"])):
            rows = [
                [row, *(change_text(_against(cells[column], against, key)) for column in columns)]
                for row, cells in document["cells"].items()
            ]
            parts.append(_table([f"{document['figure']['label']}, against {what}", *columns], rows))
        parts.append(f"In brackets: inside the noise. {document['rule']}\n")
    rows = [[name, f"{fabric['gpus']:,}", _usd(fabric["bill"]["total_usd"])] for name, fabric in document["fabrics"].items()]
    parts.append(_table(["Fabric", "GPUs", "Switches and optics (USD)"], rows))
    return "\n".join(parts)


def _against(cell: Mapping[str, Any], against: str, key: str) -> Mapping[str, Any] | None:
    found = None if cell["against"] is None else cell["against"][against]
    return None if found is None else found.get(key)


def _usd(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(widths[place]) if place == 0 else cell.rjust(widths[place]) for place, cell in enumerate(row)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], ""])
