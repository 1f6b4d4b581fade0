"""Congestion trees as a file: a picture, indented lines, or a table of their ports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zcube.fabric.wiring.reading import to_csv
from zcube.outputs import write_file
from zcube.report.congestion_tree import CongestionTree, congestion_trees, tree_rows, tree_text
from zcube.report.picture import FORMATS

if TYPE_CHECKING:
    from zcube.comparison import FabricResult
    from zcube.replays.flows import Replay

#: What the name of a file of trees may end in.
TREE_FORMATS = (*FORMATS, ".txt", ".csv")

COLUMNS = ("tree", "port", "cause_port", "layer", "from", "to", "paused_s", "pauses", "by_cause_s")


def trees_of(run: Replay | FabricResult) -> tuple[CongestionTree, ...]:
    """Return the congestion trees of a replay of the packet fidelity, or of a fabric's part of a comparison."""
    packets, link_set = run.packets, run.carrier.link_set
    assert packets is not None
    return congestion_trees(packets.pauses, link_set.source, link_set.target)


def write_trees(replay: Replay, path: Path) -> None:
    """Write the congestion trees of a replay as the name of the file asks for, one of :data:`TREE_FORMATS`."""
    trees = trees_of(replay)
    if path.suffix == ".txt":
        write_file(path, lambda temporary: temporary.write_text(tree_text(trees), encoding="utf-8"))
    elif path.suffix == ".csv":
        table = to_csv(COLUMNS, ([row[name] for name in COLUMNS] for row in tree_rows(trees)))
        write_file(path, lambda temporary: temporary.write_text(table, encoding="utf-8"))
    else:
        from zcube.report.packet_tree_picture import plot_congestion_trees
        from zcube.report.picture import save

        save(plot_congestion_trees(trees), path)
