"""The cases of docs/where-zcube-does-not-win.md: its own commands, run, and who is ahead."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[1] / "docs" / "where-zcube-does-not-win.md"


def shown(heading: str) -> list[dict[str, Any]]:
    """Return the documents of the commands under a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    commands = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    assert commands and all(words[0] == "zcube" for words in commands)
    run = [
        subprocess.run([sys.executable, "-m", *words, "--json"], check=True, capture_output=True, text=True).stdout
        for words in commands
    ]
    return [json.loads(text) for text in run]


def difference(document: dict[str, Any], key: str) -> tuple[float, float]:
    """Return the interval of ZCube's figure less ROFT's, and print it."""
    noise = document["fabrics"]["zcube-256"]["noise"][key]
    low, high = noise["difference_interval"]
    print(f"\n{key}: {noise['difference']:+.4g} ({low:+.4g} to {high:+.4g})")
    return low, high


def test_it_loses_transposes() -> None:
    zcube, roft = (
        {name: pattern["share_of_line_rate_mean"] for name, pattern in document["patterns"].items()}
        for document in shown("Transposes")
    )
    print({name: (round(zcube[name], 3), round(roft[name], 3)) for name in zcube if name in roft})
    assert zcube["transpose"] < 0.5 * roft["transpose"] and zcube["bit-shift"] < roft["bit-shift"]
    assert zcube["segment-shuffle"] > roft["segment-shuffle"] and zcube["reverse"] > roft["reverse"]


def test_it_loses_with_shortest_paths() -> None:
    (document,) = shown("Shortest-path routing")
    assert difference(document, "congestion.type2_slowdown")[0] > 0.1
    assert difference(document, "kv_transfer_s.p99")[0] > 0.05
    low, high = difference(document, "ttft_s.p99")
    assert low < 0 < high


def test_it_costs_more_than_one_switch_where_one_is_enough() -> None:
    (document,) = shown("Small clusters")
    lost = {one["objective"]: one for one in document["where_zcube_does_not_win"]}
    capital = lost["capital_usd"]
    print(capital["words"])
    assert capital["zcube_value"] > 1.5 * capital["value"]


def test_it_is_no_better_on_same_rail_plans() -> None:
    (document,) = shown("Same-rail plans")
    roft = document["fabrics"]["roft-256"]["congestion"]
    assert roft["type2_slowdown"] == pytest.approx(1.0, abs=1e-6)
    assert roft["type2_slowdown_p99"] == pytest.approx(1.0, abs=1e-6)
    assert difference(document, "congestion.type2_slowdown")[0] > 0
    low, high = difference(document, "ttft_s.p99")
    assert low < 0 < high


def test_it_is_behind_an_adaptive_roft() -> None:
    (document,) = shown("Adaptive ROFT")
    assert difference(document, "congestion.type2_slowdown")[0] > 0.05
    assert difference(document, "congestion.type2_slowdown_p99")[0] > 0.1
