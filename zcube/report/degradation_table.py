"""How much slower fabrics get by what has failed in them, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from zcube.network.degradation import Degradation
from zcube.report.columns import aligned
from zcube.report.names import printable

_NONE = "-"


def degradation_table(rows: Sequence[Degradation], partners: int, seed: int, fall_back: str) -> str:
    """Return fabrics as aligned lines, in the order given, and what the columns mean."""
    lines: list[tuple[str, ...]] = [("Fabric", "routing", "transfers", "no path", "slower", "intact ms", "ms", "mean", "worst")]
    for row in rows:
        carried = row.without_path < row.transfers
        times = [f"{1e3 * value:.2f}" if carried else _NONE for value in (row.intact_s, row.broken_s)]
        parts = [f"{100 * value:+.1f} %" if carried else _NONE for value in (row.slower, row.worst - 1.0)]
        counts = [f"{count:,}" for count in (row.transfers, row.without_path, row.slower_transfers)]
        lines.append((printable(row.fabric), row.routing, *counts, *times, *parts))
    notes = [
        f"Every server sends to {partners} others at once, seed {seed}, from each of its GPUs to the one of the same number.",
        "intact ms, ms: mean time until a server's transfer to another is done on all GPUs, with nothing failed and as it is.",
        f"no path: left out of the times. slower: by more than 1 %. Fall-back {fall_back}; see docs/models.md.",
    ]
    return "".join(f"{line}\n" for line in [*aligned(lines, (0, 1)), "", *notes])
