"""One verdict: terminal, JSON and page say the same sentences, in the same order, before everything else."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

import zcube as zc
from zcube.report.html import render_html
from zcube.report.terminal import document_table

pytestmark = pytest.mark.usefixtures("one_picture")

TEXT = "glm51-pd-256"
#: Long enough for a window.
LOAD = {
    "fabrics": ["roft-256", "zcube-256"],
    "baseline": "roft-256",
    "publication": "zai-2026",
    "load.mode": "open",
    "requests.count": 300,
    "load.rate_per_s": 4.0,
    "measure.least_turnovers": 0.0,
    "measure.least_filled": 0.0,
}
OPTIONS = [option for key, value in LOAD.items() for option in ("--set", f"{key}={json.dumps(value)}")]
KNEE = {"highest": 1.0, "max_loads": 1}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return zc.compare(TEXT, LOAD, find_knee=KNEE).document()


def said(document: dict[str, Any]) -> list[str]:
    return [sentence for part in document["verdict"]["sentences"].values() for sentence in part]


def test_the_document_has_every_part(document: dict[str, Any]) -> None:
    assert next(iter(document)) == "verdict"
    sentences = document["verdict"]["sentences"]
    assert len(sentences["headline"]) == 1 and sentences["headline"][0].startswith("zcube-256 against roft-256: ")
    assert [sentence.split(":")[0] for sentence in sentences["limits"]] == [
        f"Nothing limits {name}, the load is below capacity" for name in ("roft-256", "zcube-256")
    ]
    assert [sentence.split(":")[0] for sentence in sentences["knee"]] == ["Knee of roft-256", "Knee of zcube-256"]
    assert "throughput +15 %" in sentences["published"][0] and "-40.6 %" in sentences["published"][0]
    # One seed: nothing of the run is a gain or a loss.
    assert "loses" not in sentences["headline"][0]
    assert sentences["headline"][0].split("; gains: ")[1].startswith("switches and switch-side optics 33.3 % less")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_terminal_begins_with_it(document: dict[str, Any], width: int) -> None:
    text = document_table(document, width=width)
    before = text[: text.index("Metric ")]
    assert " ".join(before.split()) == " ".join(said(document))


def test_the_page_begins_with_it(document: dict[str, Any]) -> None:
    page = render_html(document, {}, {})
    header = page[page.index("<header>") : page.index("</header>")]
    texts = [html.unescape(text) for _, text in re.findall(r"<(p|li)>(.*?)</\1>", header)]
    # Cautions are listed right behind the headline; each sentence stands once.
    texts.remove("<b>To be careful with:</b>")
    assert texts[: len(document["verdict"]["sentences"]["headline"])] == document["verdict"]["sentences"]["headline"]
    assert sorted(texts) == sorted(said(document))
    # Not a mark on the change of a serving figure.
    rows = re.findall(r'<th scope="row">(.*?)</th>.*?<span class="(\w*)">', page, flags=re.DOTALL)
    marked = {re.sub(r"<[^>]*>", "", name) for name, mark in rows if mark}
    assert marked and marked <= {
        "Switches", "Switch-side modules", "Switch-side optics", "Total", "Total with NIC optics", "Fabric power",
    }  # fmt: skip


def test_the_command_line_prints_it_and_nothing_else_is_another_one(run: Any, tmp_path: Path, document: dict[str, Any]) -> None:
    status, out, _ = run("compare", TEXT, *OPTIONS, "--json", "--out", tmp_path / "out")
    assert status == 0
    printed = json.loads(out)
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert printed["verdict"]["sentences"] == document["verdict"]["sentences"] | {
        "knee": [], "rules": document["verdict"]["sentences"]["rules"][:1],
    }  # fmt: skip
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert all(f"<p>{sentence}</p>" in page or f"<li>{sentence}</li>" in page for sentence in said(printed))


def test_find_knee_is_an_option_with_its_own_share(run: Any) -> None:
    few = [*OPTIONS, "--set", "requests.count=8"]
    status, out, _ = run("compare", TEXT, *few, "--json", "--find-knee", "--knee-share", "0.2", "--knee-tolerance", "0.5")
    assert status == 0
    knee = json.loads(out)["knee"]
    assert (knee["share"], knee["tolerance"], knee["base_load"], knee["unit"]) == (0.2, 0.5, 4.0, "requests/s")
    # Eight requests have no window at any load, and so no knee.
    assert {found["status"] for found in knee["fabrics"].values()} == {"no window"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--knee-share", "0.1"], "--knee-share: found no --find-knee"),
        (["--find-knee", "--knee-share", "0"], "share"),
        (["--find-knee", "--fidelity", "ideal"], "network.fidelity"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(run: Any, options: list[str], fault: str) -> None:
    status, out, err = run("compare", TEXT, *options)
    assert (status, out) == (2, "") and fault in err and "simulating" not in err


def test_the_front_door_checks_what_is_searched() -> None:
    with pytest.raises(zc.InputError, match="find_knee: share"):
        zc.compare(TEXT, LOAD, find_knee={"share": -1.0})
