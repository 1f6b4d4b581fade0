"""What the README says of ``zcube compare`` is what it prints; the commands of README and docs run as printed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from documented_commands import blocks_of, pages, reader_folder

from zcube.cli.compare import DEFAULT_SCENARIO
from zcube.comparison import compare
from zcube.samples.catalog import write_samples
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


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_of_a_page_runs_as_printed(page: Path, tmp_path: Path) -> None:
    """In one shell, block after block, line after line, each timed; blocks that say why they cannot be run are left out."""
    blocks = [block for block in blocks_of(page) if block.mark is None]
    if not blocks:
        pytest.skip("no commands on the page")
    folder = reader_folder(tmp_path, None if page.name == "README.md" else write_samples)
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "zcube"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m zcube "$@"\n')
    program.chmod(0o755)
    script = ["set -u", "TIMEFORMAT='took %1R s, %1U s of a processor'"]
    for block in blocks:
        for line, statuses in block.lines():
            shown = shlex.quote(f"+ {line}")
            fine = " && ".join(f"[ $status -ne {status} ]" for status in sorted(statuses))
            script.append(f"echo {shown} >&2\ntime {{ {line}\n}}\nstatus=$?")
            script.append(f'if {fine}; then echo "$status: {block.page}" >&2; exit 99; fi')
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    log = tmp_path / "log"
    with log.open("w") as stream:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=folder, env=environment, stdout=stream, stderr=stream, check=False
        )
    told = log.read_text(errors="replace")
    print("\n" + "\n".join(line for line in told.splitlines() if line.startswith(("+ zcube ", "took "))))
    assert done.returncode == 0, told[-3000:]
