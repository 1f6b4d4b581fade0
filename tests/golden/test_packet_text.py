"""The terminal's text of a packet run, word for word, from a section written by hand."""

from __future__ import annotations

from typing import Any

from zcube.network.packet.settings import PacketSettings
from zcube.report.packet_table import packet_text

COUNTS = dict.fromkeys(
    ("events", "packet_hops", "control_hops", "pauses", "marks", "notifications", "rate_cuts", "drops", "repeats", "timeouts"),
    0,
)


def port(source: str, target: str, **columns: Any) -> dict[str, Any]:
    zeros = dict.fromkeys(("priority", "pauses", "paused_s", "peak_bytes", "ingress_peak_bytes", "marks", "drops"), 0)
    return {"from": source, "to": target, **zeros, **columns}


def section(**changes: Any) -> dict[str, Any]:
    settings = PacketSettings(congestion_control="none").model_dump(mode="json")
    quiet = {"flows": 0, "blocked_s": 0.0, "victim_s": 0.0}
    return {"settings": settings, "counts": {**COUNTS, "late": 0}, "ports": [], "victims": quiet, **changes}


def test_a_run_with_pauses_and_victims() -> None:
    counts = {
        **COUNTS,
        "events": 342576,
        "packet_hops": 208101,
        "pauses": 45,
        "marks": 2000,
        "notifications": 30,
        "rate_cuts": 1,
        "late": 0,
    }
    ports = [
        port("A4", "B0", pauses=44, paused_s=0.0025, peak_bytes=4_000_000, ingress_peak_bytes=1_500_000, marks=1000),
        port("s1g0", "A4", pauses=1, paused_s=0.0000015),
        port("B0", "s0g0", peak_bytes=21_000_000, marks=1000),
    ]
    given = section(
        settings=PacketSettings(cell_bytes=32768, pfc_threshold="static", xoff_bytes=500_000).model_dump(mode="json"),
        counts=counts,
        ports=ports,
        victims={"flows": 8, "blocked_s": 0.08, "victim_s": 0.02},
        fluid_ratio={"mean": 1.25, "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.5},
        paused_ports=2,
        paused_s=0.002502,
    )
    assert packet_text(given).splitlines() == [
        "Packets          payload 4,096 bytes, in cells of 32,768; DCQCN; PFC, XOFF at 500 kB; buffer 33.55 MB",
        "Pauses           45 of 2 ports, 2.502 ms in all",
        "Marked           2,000 packets, 30 notifications, 1 rate cut",
        "Dropped          none",
        "Victims          8 flows; behind pauses 80 ms, 25.0% of it for others' congestion",
        "Against a fluid  mean 1.25, p50 1, p90 2, p99 3, max 4.5",
        "Simulated        342,576 events, 208,101 packet-hops",
        "",
        "Paused longest  Pauses  Paused  Queue  Ingress  Marks  Drops",
        "A4>B0               44  2.5 ms   4 MB   1.5 MB  1,000      -",
        "s1g0>A4              1  1.5 us      -        -      -      -",
        "",
        "Deepest queues  Pauses  Paused  Queue  Ingress  Marks  Drops",
        "B0>s0g0              -       -  21 MB        -  1,000      -",
        "A4>B0               44  2.5 ms   4 MB   1.5 MB  1,000      -",
        "",
        "Victims: flows that stood for a good part of their time behind pauses for a congested port not on their path.",
        "Against a fluid: a flow's duration over what it takes where links are shared without queues.",
        "Queue: deepest at the port. Ingress: most that came by its link and stood in the switch at the other end.",
    ]


def test_a_run_in_which_nothing_happened() -> None:
    assert packet_text(section()).splitlines()[:6] == [
        "Packets          payload 4,096 bytes; no congestion control; PFC, XOFF at 0.125 of the free buffer; buffer 33.55 MB",
        "Pauses           none",
        "Marked           none",
        "Dropped          none",
        "Victims          none",
        "Simulated        0 events, 0 packet-hops",
    ]


def test_losses_priorities_and_spray_are_told() -> None:
    settings = PacketSettings(congestion_control="none", pfc=False, path_choice="spray", priorities=2).model_dump(mode="json")
    counts = {**COUNTS, "drops": 7, "repeats": 9, "timeouts": 1, "late": 12}
    text = packet_text(section(settings=settings, counts=counts, ports=[port("A0", "B1", priority=1, peak_bytes=9, drops=7)]))
    assert "no PFC; buffer 33.55 MB; paths by spray; 2 priorities\n" in text
    assert "Dropped          7 packets, 9 sent again after 1 timeout\n" in text
    assert "Out of order     12 packets\n" in text
    assert "Deepest queues  Priority  Pauses  Paused    Queue  Ingress  Marks  Drops\n" in text
    assert "A0>B1                  1       -       -  9 bytes        -      -      7\n" in text


def test_a_list_of_paused_ports_alone_is_not_called_the_deepest() -> None:
    paused = [port(f"s{at}", "A", pauses=1, paused_s=1.0 + at, peak_bytes=5) for at in range(10)]
    assert "Deepest" not in packet_text(section(ports=paused))


def test_names_from_outside_stay_on_their_line() -> None:
    text = packet_text(section(ports=[port("a\nb\x1b[31m", "x" * 9999, pauses=1, paused_s=1.0)]))
    assert "a?b?[31m>xxx" in text
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) < 130


def test_how_packets_are_spread_and_what_failed_is_said():
    spread = {"path_choice": "spray-random", "spread_queue_pairs": 2, "queue_pair_ports": "all", "reorder": "buffer"}
    failing = {"link_failures": [{"link": "leaf0->spine0", "down_s": 0.0}]}
    settings = PacketSettings(**spread, **failing).model_dump(mode="json")
    text = packet_text(section(settings=settings, counts={**COUNTS, "late": 3, "lost": 1}))
    said = "paths by spray-random; 2 queue pairs with the same paths; queue pairs over all ports; 256 packets held for order; "
    assert said + "1 failure of links" in text
    assert "Lost             1 packet on links that went down\n" in text


def test_how_pauses_end_and_buffers_by_tier_are_said():
    more = {"pause_quanta": 1000, "pause_refresh": None, "pfc_watchdog_s": 1e-3, "pfc_watchdog_action": "forward"}
    tiers = {"tier_buffers": [{"tier": 2, "switch_class": "tomahawk-5"}]}
    settings = PacketSettings(**more, **tiers).model_dump(mode="json")
    text = packet_text(section(settings=settings, counts={**COUNTS, "late": 0, "storms": 2, "expiries": 1}))
    assert "; 1 tier with another; pauses of 1,000 quanta, not refreshed" in text
    assert "PFC watchdog     2 pauses ended by forwarding\nExpired          1 pause that no further frame held\n" in text
