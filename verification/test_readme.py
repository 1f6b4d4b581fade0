"""What the README's first screen says of ``zcube compare`` is what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from zcube.cli.compare import DEFAULT_SCENARIO
from zcube.comparison import compare
from zcube.scenario import load_scenario
from zcube.verdict.headline import BILL, OUTPUT, TTFT_P99
from zcube.verdict.rows import NO_DIFFERENCE, Row
from zcube.verdict.table import row

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()

JUDGED: dict[str, Row] = {
    "KV transfer P99": row("Latency of completed requests", "KV transfer P99", "ms"),
    "output throughput": OUTPUT,
    "P99 time to first token": TTFT_P99,
    "switches and switch-side optics": BILL,
}
#: Where ZCube does not win stands first.
ORDER = ("Loses", "No difference", "Gains")


def lines_of(document: Mapping[str, Any]) -> list[str]:
    base, fabric = document["fabrics"].values()
    found = []
    for label, figure in JUDGED.items():
        value, reference = figure.value(fabric), figure.value(base)
        told, better = figure.against(fabric, base)
        head = "No difference" if told == NO_DIFFERENCE or better is None else "Gains" if better else "Loses"
        both = f"{figure.text(value)} against {figure.text(reference)} {figure.unit}"
        if figure.exact:
            interval = "no seed moves it"
        else:
            low, high = (100 * figure.scale * end / reference for end in figure.noise(fabric)["difference_interval"])
            interval = f"{low:+.1f} to {high:+.1f} %"
        found.append((ORDER.index(head), f"* **{head}**: {label} {figure.change(value, reference)} ({interval}), {both}"))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


@pytest.mark.slow
def test_the_first_screen_says_what_the_command_prints() -> None:
    lines = lines_of(compare(load_scenario(DEFAULT_SCENARIO)).document())
    print("\n" + "\n".join(lines))
    assert "\n".join(lines) in README, "the lines are printed above"
    assert README.index(lines[0]) < README.index("## ")
