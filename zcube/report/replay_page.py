"""The page of a replay: when transfers ended, what bounded them, which links were fullest, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube.replays.operations import TraceReplay
from zcube.report.article import Block, article_page
from zcube.report.calibration_lines import calibration_lines
from zcube.report.names import printable
from zcube.report.packet_table import packet_text, paused_longest, port_cells
from zcube.report.quantities import bytes_text, time_text
from zcube.report.replay_figures import replay_figures
from zcube.report.topology import replay_section
from zcube.verdict.rows import ABSENT

if TYPE_CHECKING:
    from zcube.replays.flows import Replay

_CAPTIONS = {
    "timeline": "What every GPU of the trace computed and sent over time.",
    "congestion_trees": "Congestion trees: a congested port at the left, and what it paused to its right.",
    "ports": "Queues and pauses of ports over time.",
}
_SPREAD = ("mean", "p50", "p80", "p90", "p99", "max")


def replay_page(replay: Replay | TraceReplay, call: Sequence[str] = ()) -> str:
    """Return the page of a replay.

    Parameters
    ----------
    replay : Replay or TraceReplay
        What came of it.
    call : sequence of str
        What was called, without the name of the program.
    """
    document, transfers = replay.document(), replay.transfers if isinstance(replay, TraceReplay) else replay
    pictures = {_CAPTIONS[name]: figure for name, figure in replay_figures(replay).items()}
    links = [["From", "To", "Utilisation (%)", "Paths at once"]] + [
        [printable(link["from"]), printable(link["to"]), f"{100 * link['utilisation']:.1f}", f"{link['peak_flows']:,}"]
        for link in document["hot_links"]
    ]
    measured = calibration_lines(document["calibration"]) if "calibration" in document else ()
    lead = (
        f"{document['flows']:,} flows, {bytes_text(document['bytes']['payload'])}, on {printable(document['fabric'])} by "
        f"{document['routing']}, fidelity {document['fidelity']}: all done after {time_text(document['makespan_s'])}, "
        f"{document['throughput_gbps']:,.4g} Gb/s."
    )
    blocks = [
        Block("Pictures", "pictures", pictures=pictures),
        Block("Transfers", "transfers", _spreads(document), notes=[_NOTE]),
        *_trace(document.get("trace")),
        Block("Fullest links", "links", links, 2),
        *_packets(document.get("packet")),
        Block("Calibration", "calibration", notes=measured),
    ]
    return article_page(f"Replay on {printable(document['fabric'])}", [lead], blocks, call, [replay_section(transfers)])


_NOTE = "Slow-down: duration over what the flow would take with the network to itself. Utilisation: over the makespan."


def _spreads(document: Mapping[str, Any]) -> list[list[str]]:
    rows = {"Duration (s)": document["duration_s"], "Slow-down": document["slowdown"]}
    if document.get("coflows", {}).get("duration_s"):
        rows["Coflow duration (s)"] = document["coflows"]["duration_s"]
    kept = [name for name in _SPREAD if any(name in spread for spread in rows.values())]
    heads = ["Of flows", *(name if name in ("mean", "max") else name.upper() for name in kept)]
    return [heads, *([label, *(_number(spread.get(name)) for name in kept)] for label, spread in rows.items())]


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _trace(trace: Mapping[str, Any] | None) -> list[Block]:
    """Return what is told of a trace: its phases and what its rails carried."""
    if trace is None:
        return []
    done = f"Completion {time_text(trace['completion_s'])}, {time_text(trace['waiting_for_network_s'])} of it the network's."
    phases = [["Phase", "Bytes", "First start", "Last finish"]] + [
        [
            printable(one["phase"]) if one["phase"] else ABSENT,
            bytes_text(one["bytes"]),
            time_text(one["first_start_s"]),
            time_text(one["last_finish_s"]),
        ]
        for one in trace["phases"]
    ]
    rails = [["Rail", "Sent over NICs", "Received over NICs", "Sent over NVLink"]] + [
        [
            str(one["rail"]),
            *(bytes_text(one[key]) for key in ("nic_sent_bytes", "nic_received_bytes", "nvlink_sent_bytes")),
        ]
        for one in trace["rails"]
    ]
    return [Block("Phases of the trace", "phases", phases, notes=[done]), Block("Rails", "rails", rails)]


def _packets(packet: Mapping[str, Any] | None) -> list[Block]:
    """Return what packets were counted, and the ports paused longest."""
    if packet is None:
        return []
    counted = [line for line in packet_text({**packet, "ports": []}).splitlines() if line.strip()]
    ports = port_cells("Port", paused_longest(packet["ports"]))
    return [
        Block("Packets", "packets", notes=counted),
        Block("Ports paused longest", "paused", ports if len(ports) > 1 else (), notes=() if len(ports) > 1 else ["None."]),
    ]
