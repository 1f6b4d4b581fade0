"""A comparison packet by packet shows its pauses, victims and marks everywhere: document, terminal, page, pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zcube as zc
from zcube.calibrate.links import carrier_on
from zcube.comparison import Comparison, compare
from zcube.fabric.catalog import load_fabric
from zcube.out_folder import out_folder
from zcube.replays.operations import replay_trace
from zcube.report.folder import write_folder
from zcube.report.terminal import document_table
from zcube.scenario import load_scenario
from zcube.verdict.table import PACKET_ROWS

#: Receivers in one server, no congestion control: queues grow until switches pause.
CHANGES: dict[str, Any] = {
    "fabrics": ["roft-256", "zcube-256"],
    "baseline": "roft-256",
    "requests.count": 10,
    "decode.nodes": 1,
    "network.fidelity": "packet",
    "network.packet.cell_bytes": 1 << 16,
    "network.packet.congestion_control": "none",
}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(load_scenario("glm51-pd-256", CHANGES), record="roft-256")


@pytest.fixture(scope="module")
def fabrics(comparison: Comparison) -> dict[str, Any]:
    return comparison.document()["fabrics"]


def test_its_counts_are_those_of_the_replay_of_what_it_sent(comparison: Comparison, fabrics: dict[str, Any]) -> None:
    carrier = comparison.results["roft-256"].carrier
    assert comparison.recorded is not None
    replayed = replay_trace(carrier_on(load_fabric("roft-256"), carrier.network, carrier.seed), comparison.recorded).document()[
        "packet"
    ]
    packet = fabrics["roft-256"]["packet"]
    assert packet["counts"]["pauses"] > 100
    assert {key: replayed[key] for key in packet} == packet
    assert "settings" not in packet and fabrics["roft-256"]["network"]["packet"] == replayed["settings"]


def test_sums_are_those_of_ports_and_transfers(comparison: Comparison, fabrics: dict[str, Any]) -> None:
    for name, result in comparison.results.items():
        packets, packet = result.packets, fabrics[name]["packet"]
        assert packets is not None
        assert packet["paused_s"] == pytest.approx(packets.queues.paused_s.sum())
        assert packet["paused_ports"] == np.count_nonzero(packets.queues.pauses) > 0
        assert packet["counts"]["pauses"] == packets.queues.pauses.sum()
        assert packet["victims"]["victim_s"] <= packet["victims"]["blocked_s"]
        longest = [port["paused_s"] for port in packet["ports"][:10]]
        assert longest == sorted(packets.queues.paused_s, reverse=True)[:10]


def test_the_terminal_has_rows_and_the_ports_paused_longest(comparison: Comparison, fabrics: dict[str, Any]) -> None:
    text = document_table(comparison.document())
    for row in PACKET_ROWS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {row.label} ")]
        for fabric in fabrics.values():
            assert row.text(row.value(fabric)) in line.split()
    for name, fabric in fabrics.items():
        _, _, below = text.partition(f"Paused longest on {name}")
        port = fabric["packet"]["ports"][0]
        assert below.splitlines()[1].startswith(f"{port['from']}>{port['to']} ")
    # No line is wider than the terminal.
    assert max(map(len, document_table(comparison.document(), width=60).splitlines())) <= 60


def test_pictures_of_trees_stand_in_the_folder_and_on_the_page(
    comparison: Comparison, fabrics: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_folder(comparison, {"record_version": 1}, out_folder(tmp_path / "run"))
    trees = {f"congestion_trees-{name}" for name in comparison.results}
    assert {path.stem for path in folder.glob("congestion_trees-*.png")} == trees
    page = (folder / "report.html").read_text()
    text = _Text.of(page)
    for name in comparison.results:
        assert f"Congestion trees on {name}: " in text
        assert fabrics[name]["packet"]["ports"][0]["from"] + ">" in text
    assert len(re.findall(r'<svg [^>]*role="img"', page)) == 5 + len(trees)
    assert "Ports paused longest" in text and "Behind others' congestion" in text
    assert set(zc.figures(comparison)) == {"ttft_cdf", "tpot_cdf", "kv_transfer_cdf", "ttft_parts", "link_load", "cost", *trees}


def test_fabrics_of_other_fidelities_stand_beside_it() -> None:
    changes = CHANGES | {"network.fidelity": "flow", "requests.count": 3, "network.zcube-256": {"fidelity": "packet"}}
    mixed = compare(load_scenario("glm51-pd-256", changes))
    document = mixed.document()
    assert "packet" not in document["fabrics"]["roft-256"] and "packet" in document["fabrics"]["zcube-256"]
    (line,) = [line for line in document_table(document).splitlines() if line.startswith("  Pauses ")]
    assert line.split() == ["Pauses", "-", str(document["fabrics"]["zcube-256"]["packet"]["counts"]["pauses"]), "-"]
    assert {name for name in zc.figures(mixed) if name.startswith("congestion_trees")} <= {"congestion_trees-zcube-256"}


class _Text(HTMLParser):
    """What a page says, without its tags."""

    parts: list[str]

    @staticmethod
    def of(page: str) -> str:
        parser = _Text()
        parser.parts = []
        parser.feed(page)
        return " ".join(parser.parts)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
