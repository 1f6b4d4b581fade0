"""How far the fluid is from packets, cell by cell: two documents of ``zcube matrix``, one of each fidelity.

    python benchmarks/matrix_fluid.py PACKETS/matrix.json FLUID/matrix.json

For every cell that both have: P99, mean and median of transfer times in packets over the ideal core's, the fluid's relative
error of each, and whether the fluid puts the fabrics of a column in the order that packets put them in.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

STATISTICS = ("p99", "mean", "p50")


def errors(packets: Mapping[str, Any], fluid: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, tuple[float, float]]]]:
    """Yield fabric, transport, and by statistic the figure in packets and the fluid's relative error."""
    for row, cells in packets["cells"].items():
        for column, cell in cells.items():
            other = fluid["cells"].get(row, {}).get(column)
            if cell["figures"] is None or other is None or other["figures"] is None:
                continue
            mine, theirs = cell["figures"]["over_ideal"], other["figures"]["over_ideal"]
            yield row, column, {name: (mine[name], theirs[name] / mine[name] - 1.0) for name in STATISTICS}


def order(document: Mapping[str, Any], column: str) -> list[str]:
    """Return the fabrics of a column by P99, lowest first."""
    figures = {row: cells[column]["figures"] for row, cells in document["cells"].items()}
    return sorted((row for row in figures if figures[row]), key=lambda row: figures[row]["over_ideal"]["p99"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packets", type=Path)
    parser.add_argument("fluid", type=Path)
    arguments = parser.parse_args()
    packets, fluid = (json.loads(path.read_text()) for path in (arguments.packets, arguments.fluid))
    print("| fabric | transport | P99 | fluid | mean | fluid | P50 | fluid |\n|---|---|---|---|---|---|---|---|")
    for row, column, found in errors(packets, fluid):
        print(f"| `{row}` | {column} | " + " | ".join(f"{value:.2f} | {error:+.0%}" for value, error in found.values()) + " |")
    for column in packets["transports"]:
        if column in fluid["transports"]:
            same = order(packets, column)[0] == order(fluid, column)[0]
            print(f"{column}: lowest P99 in packets {order(packets, column)[0]}, in the fluid {order(fluid, column)[0]}"
                  + ("" if same else " (another)"))  # fmt: skip


if __name__ == "__main__":
    main()
