"""A replay's pictures, and its timeline for Perfetto, each as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zcube.replay.flows import Replay
    from zcube.replay.operations import TraceReplay


def write_timeline(replay: TraceReplay, path: Path) -> None:
    """Write when every operation of a trace ran."""
    from zcube.trace.chrome import write_chrome

    write_chrome(replay.trace, replay.times.start_s, replay.times.finish_s, path)


def draw_ports(replay: Replay, path: Path) -> None:
    """Draw queues and pauses of ports over time, of the packet fidelity with bins."""
    from zcube.report.packet_ports import plot_port_history, port_history
    from zcube.report.picture import save

    packets = replay.packets
    assert packets is not None
    depths = packets.queues, packets.depth_bytes, packets.paused_s, packets.bin_s
    save(plot_port_history(port_history(*depths, replay.link_table, packets.settings)), path)


def draw_tree(replay: Replay, path: Path) -> None:
    """Draw which congested ports paused which others, of the packet fidelity."""
    from zcube.report.congestion_tree import congestion_trees
    from zcube.report.packet_tree_picture import plot_congestion_trees
    from zcube.report.picture import save

    packets, link_set = replay.packets, replay.carrier.link_set
    assert packets is not None
    save(plot_congestion_trees(congestion_trees(packets.pauses, link_set.source, link_set.target)), path)
