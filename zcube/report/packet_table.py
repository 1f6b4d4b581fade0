"""What the packet model counted in a run, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zcube.report.columns import aligned
from zcube.report.packet_picture import counted, port_text
from zcube.report.quantities import bytes_text, time_text

#: Ports of a list.
MOST_PORTS = 10

_STORM = {"drop": "dropping", "forward": "forwarding"}
_QUANTILES = ("mean", "p50", "p90", "p99", "max")


def packet_text(section: Mapping[str, Any]) -> str:
    """Return counts, ports and victims of a run as aligned lines.

    Parameters
    ----------
    section : mapping
        The ``packet`` section of a run's document: ``settings``, ``counts``, ``ports``, ``victims`` and, where a fluid run was
        made for comparison, ``fluid_ratio``; ``paused_ports`` and ``paused_s`` over all ports are shown where they are given.

    Returns
    -------
    str
        Lines with a final newline.
    """
    counts, victims = section["counts"], section["victims"]
    lines = _row("Packets", _settings(section["settings"]))
    if "narrow_spread" in section:
        lines += _row("Paths", spread_text(section["narrow_spread"]))
    lines += _row("Pauses", _pauses(section))
    cuts = f"{counted(counts['notifications'], 'notification')}, {counted(counts['rate_cuts'], 'rate cut')}"
    lines += _row("Marked", f"{counted(counts['marks'], 'packet')}, {cuts}" if counts["marks"] else "none")
    again = f"{counts['repeats']:,} sent again after {counted(counts['timeouts'], 'timeout')}"
    lines += _row(
        "Dropped", f"{counted(counts['drops'], 'packet')}, {again}" if counts["drops"] or counts["repeats"] else "none"
    )
    if counts.get("storms"):
        lines += _row(
            "PFC watchdog",
            f"{counted(counts['storms'], 'pause')} ended by {_STORM[section['settings'].get('pfc_watchdog_action', 'drop')]}",
        )
    if counts.get("expiries"):
        lines += _row("Expired", f"{counted(counts['expiries'], 'pause')} that no further frame held")
    if counts.get("trims"):
        lines += _row("Trimmed", f"{counted(counts['trims'], 'packet')}, {counted(counts['headers_lost'], 'header')} dropped")
    if counts.get("lost"):
        lines += _row("Lost", f"{counted(counts['lost'], 'packet')} on links that went down")
    if counts["late"]:
        lines += _row("Out of order", counted(counts["late"], "packet"))
    lines += _row("Victims", _victims(victims))
    if section.get("fluid_ratio"):
        ratio = section["fluid_ratio"]
        lines += _row("Against a fluid", ", ".join(f"{name} {ratio[name]:.4g}" for name in _QUANTILES))
    control = f", {counts['control_hops']:,} of control packets" if counts["control_hops"] else ""
    lines += _row("Simulated", f"{counts['events']:,} events, {counts['packet_hops']:,} packet-hops{control}")
    paused, deepest = paused_longest(section["ports"]), _most(section["ports"], "peak_bytes")
    lines += ["", *port_lines("Paused longest", paused)] if paused else []
    # A document may list only what was paused longest, and then tells nothing of the deepest queues.
    if any(port not in paused for port in deepest):
        lines += ["", *port_lines("Deepest queues", deepest)]
    return "\n".join([*lines, "", *_notes(section)]) + "\n"


def spread_text(spread: Mapping[str, Any]) -> str:
    """Return that packets are spread over fewer paths than there are, as ``narrow_spread`` of a section says."""
    few, all_of_them = f"{spread['paths']:.3g}", f"{spread['shortest_paths']:.3g}"
    means = f"{spread['path_choice']} spreads packets over {few} paths a transfer of {all_of_them} shortest ones"
    return f"{means}: routing {spread['routing']} lists no more, equal-paths lists all"


def _settings(settings: Mapping[str, Any]) -> str:
    payload, cell = settings["packet_payload_bytes"], settings.get("cell_bytes") or 0
    parts = [f"payload {payload:,} bytes" + (f", in cells of {cell:,}" if cell > payload else "")]
    control = settings["congestion_control"]
    parts.append("no congestion control" if control == "none" else str(control).upper())
    if not settings["pfc"]:
        parts.append("no PFC")
    elif settings["pfc_threshold"] == "static":
        parts.append(f"PFC, XOFF at {bytes_text(settings['xoff_bytes'])}")
    else:
        parts.append(f"PFC, XOFF at {settings['pfc_alpha']:.4g} of the free buffer")
    chip = settings.get("switch_class")
    parts.append(f"buffer of a {chip}" if chip else f"buffer {bytes_text(settings['buffer_bytes'])}")
    if settings.get("tier_buffers"):
        parts.append(f"{counted(len(settings['tier_buffers']), 'tier')} with another")
    if settings.get("pause_quanta"):
        parts.append(
            f"pauses of {settings['pause_quanta']:,} quanta" + ("" if settings["pause_refresh"] else ", not refreshed")
        )
    if settings.get("marking_law") == "time":
        parts.append(f"marks from {settings['marking_kmin_s'] * 1e6:.4g} to {settings['marking_kmax_s'] * 1e6:.4g} us of queue")
    if settings["path_choice"] != "static":
        parts.append(f"paths by {settings['path_choice']}")
    if settings["spread_queue_pairs"] > 1:
        parts.append(f"{settings['spread_queue_pairs']} queue pairs with the same paths")
    if settings["queue_pair_ports"] == "all":
        parts.append("queue pairs over all ports")
    if settings["reorder"] == "buffer":
        parts.append(f"{settings['reorder_buffer_packets']:,} packets held for order")
    elif settings["reorder"] != "cost":
        parts.append("receivers that cannot reorder")
    if settings["link_failures"]:
        parts.append(f"{counted(len(settings['link_failures']), 'failure')} of links")
    if settings.get("recovery") == "selective":
        parts.append("selective recovery" + (", trimming" if settings["trimming"] else ""))
    if settings["priorities"] > 1:
        parts.append(f"{settings['priorities']} priorities")
    return "; ".join(parts)


def _pauses(section: Mapping[str, Any]) -> str:
    pauses = section["counts"]["pauses"]
    if not pauses:
        return "none"
    ports = f" of {counted(section['paused_ports'], 'port')}" if "paused_ports" in section else ""
    total = f", {time_text(section['paused_s'])} in all" if "paused_s" in section else ""
    return f"{pauses:,}{ports}{total}"


def _victims(victims: Mapping[str, Any]) -> str:
    if not victims["blocked_s"]:
        return "none"
    flows = counted(victims["flows"], "flow")
    share = victims["victim_s"] / victims["blocked_s"]
    return f"{flows}; behind pauses {time_text(victims['blocked_s'])}, {share:.1%} of it for others' congestion"


def paused_longest(ports: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the ports that stood still longest, at most :data:`MOST_PORTS`, out of a summary's ``ports``."""
    return _most(ports, "paused_s")


def _most(ports: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """Return the ports with most of something, without those that have nothing of it."""
    return sorted((port for port in ports if port[key]), key=lambda port: -port[key])[:MOST_PORTS]


def port_cells(head: str, ports: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return ports as a table of text, its heads first; priorities only where there are several."""
    with_priority = any(port["priority"] for port in ports)
    counted_names = ["marks", "drops", *(["trims"] if any(port.get("trims") for port in ports) else [])]
    heads = ["Pauses", "Paused", "Queue", "Ingress", *(name.capitalize() for name in counted_names)]
    cells = [[head, *(["Priority"] if with_priority else []), *heads]]
    for port in ports:
        priority = [str(port["priority"])] if with_priority else []
        depths = [bytes_text(port[name]) if port[name] else "-" for name in ("peak_bytes", "ingress_peak_bytes")]
        paused = time_text(port["paused_s"]) if port["paused_s"] else "-"
        counts = [f"{port[name]:,}" if port[name] else "-" for name in ("pauses", *counted_names)]
        cells.append([port_text(port["from"], port["to"]), *priority, counts[0], paused, *depths, *counts[1:]])
    return cells


def port_lines(head: str, ports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return ports as aligned lines under their heads."""
    return aligned(port_cells(head, ports))


def _notes(section: Mapping[str, Any]) -> list[str]:
    notes = ["Victims: flows that stood for a good part of their time behind pauses for a congested port not on their path."]
    if section.get("fluid_ratio"):
        notes.append("Against a fluid: a flow's duration over what it takes where links are shared without queues.")
    if section["ports"]:
        notes.append(
            "Queue: deepest at the port. Ingress: most that came by its link and stood in the switch at the other end."
        )
    return notes


def _row(name: str, value: str) -> list[str]:
    return [f"{name:<16} {value}".rstrip()]
