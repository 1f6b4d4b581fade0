"""DeepSeek-V3 on H800 beside its published tokens per second and node: docs/any_model.md, whose commands are run; minutes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from zcube.comparison import compare
from zcube.scenario import load_scenario

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "any_model.md").read_text(encoding="utf-8")
#: open-infra-index, day 6: tokens/s of a node, and the part of prompts that was cached.
PUBLISHED_INPUT, PUBLISHED_OUTPUT, CACHED = 73_700, 14_800, 0.563


def runs() -> list[tuple[dict[str, Any], Any]]:
    """Return document and scenario of each command of the page's section, on one fabric."""
    (block,) = re.findall(r"```sh\n(zcube compare deepseek-v3-h800.*?)```", PAGE, flags=re.DOTALL)
    found = []
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        scenario = load_scenario(words[2], {"fabrics": ["roft-256"]}, words[4::2])
        assert words[3::2] == ["--set"] * len(words[4::2])
        found.append((compare(scenario).document()["fabrics"]["roft-256"], scenario))
    return found


def test_the_published_rates_are_met_as_the_page_says() -> None:
    (decode, scenario), (prefill, fewer) = runs()
    for fabric in (decode, prefill):
        assert fabric["window"]["no_rate"] is None and fabric["window"]["unsteady"] is None
        assert fabric["prefix_cache"]["hit_fraction"] == pytest.approx(CACHED, abs=0.01)
    output = decode["throughput"]["output_tokens_per_s"] / scenario.decode.nodes
    read = prefill["throughput"]["input_tokens_per_s"] / fewer.prefill.nodes
    print(f"\noutput {output:,.0f} ({100 * (output / PUBLISHED_OUTPUT - 1):+.1f} %)")
    print(f"input {read:,.0f} ({100 * (read / PUBLISHED_INPUT - 1):+.1f} %)")
    for name, rate in (("output", output), ("prompts, cached ones included", read)):
        (stated,) = re.findall(rf"^\| {name} \| [\d,]+ \| ([\d,]+) \|", PAGE, flags=re.MULTILINE)
        assert rate == pytest.approx(float(stated.replace(",", "")), rel=0.01)
    assert read == pytest.approx(PUBLISHED_INPUT, rel=0.25)
    # The page says which parts are too slow.
    assert -0.35 < output / PUBLISHED_OUTPUT - 1 < -0.25
