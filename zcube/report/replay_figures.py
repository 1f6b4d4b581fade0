"""Pictures of a replay as figures: queues and pauses of ports, congestion trees, the timeline of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.replays.flows import Replay
    from zcube.replays.operations import TraceReplay


def plot_ports(replay: Replay) -> Figure:
    """Draw queues and pauses of ports over time, of the packet fidelity with bins."""
    from zcube.report.packet_ports import plot_port_history, port_history

    packets = replay.packets
    assert packets is not None
    depths = packets.queues, packets.depth_bytes, packets.paused_s, packets.bin_s
    return plot_port_history(port_history(*depths, replay.link_table, packets.settings))


def plot_trees(replay: Replay) -> Figure:
    """Draw which congested ports paused which others, of the packet fidelity."""
    from zcube.report.packet_tree_picture import plot_congestion_trees
    from zcube.report.tree_files import trees_of

    return plot_congestion_trees(trees_of(replay))


def plot_operations(replay: TraceReplay) -> Figure:
    """Draw what every GPU of a trace computed and sent over time."""
    from zcube.report.trace_timeline import plot_timeline

    return plot_timeline(
        replay.trace, replay.times.start_s, replay.times.finish_s, f"on {replay.transfers.carrier.fabric.name}"
    )


def replay_figures(replay: Replay | TraceReplay) -> dict[str, Figure]:
    """Return every picture a replay has something for, by name."""
    from zcube.replays.operations import TraceReplay

    if isinstance(replay, TraceReplay):
        return {"timeline": plot_operations(replay), **replay_figures(replay.transfers)}
    if replay.packets is None:
        return {}
    ports = {"ports": plot_ports(replay)} if replay.packets.bin_s else {}
    return {"congestion_trees": plot_trees(replay), **ports}
