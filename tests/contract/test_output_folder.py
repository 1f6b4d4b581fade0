"""The output folder, read back by those who will read it: pandas, json, an HTML parser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zcube.comparison import Comparison, compare
from zcube.fabric.catalog import load_fabric
from zcube.inputs import bundled_folder
from zcube.network.link_set import LinkSet
from zcube.network.protocol import LinkTable
from zcube.out_folder import out_folder
from zcube.report import comparison_figures, plots
from zcube.report.folder import write_folder
from zcube.report.link_bands import switch_bands
from zcube.scenario import load_scenario

HOSTILE = "<script>alert($1$)"
REQUESTS = 6
RECORD = {"record_version": 1, "zcube_version": "0", "call": ["zcube", "compare"]}
PICTURES = ("ttft_cdf", "tpot_cdf", "kv_transfer_cdf", "ttft_parts", "link_load", "cost")
VOID = {"meta", "img", "link", "br", "wbr", "hr", "input"}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A small run of two fabrics, one of them from a file with a hostile name."""
    file = tmp_path_factory.mktemp("topologies") / f"{HOSTILE}.toml"
    shutil.copy(bundled_folder("topologies") / "zcube-256.toml", file)
    changes: dict[str, Any] = {
        "fabrics": ["roft-256", str(file)],
        "baseline": "roft-256",
        "gpus": 256,
        "requests.count": REQUESTS,
        "prefill.nodes": 24,
        "decode.nodes": 8,
    }
    return compare(load_scenario("glm51-pd-1024", changes))


@pytest.fixture(scope="module")
def folder(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "run"
    assert write_folder(comparison, RECORD, out_folder(target)) == target
    return target


def test_the_files(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [
            "run.json", "summary.json", "figures.json", "report.html",
            *(f"{name}{suffix}" for name in (*PICTURES, "load_over_time") for suffix in (".png", ".svg")),
            "requests-roft-256.parquet", "links-roft-256.parquet",
            "requests-script-alert-1.parquet", "links-script-alert-1.parquet",
            "load-roft-256.parquet", "load-script-alert-1.parquet",
            "topology-roft-256.json", "topology-script-alert-1.json",
        ]
    )  # fmt: skip


def test_requests_table(folder: Path, comparison: Comparison) -> None:
    table = pd.read_parquet(folder / "requests-roft-256.parquet")
    metrics = comparison.results["roft-256"].metrics
    assert len(table) == REQUESTS
    assert {"request", "outcome", "input_tokens", "arrival_s", "ttft_s", "tpot_s", "e2e_s", "kv_transfer_s"} <= set(table)
    assert table["ttft_s"].mean() == pytest.approx(metrics["ttft_s"]["mean"])
    assert table["outcome"].eq("completed").sum() == metrics["requests"]["completed"]


def test_links_table(folder: Path, comparison: Comparison) -> None:
    result = comparison.results["roft-256"]
    table = pd.read_parquet(folder / "links-roft-256.parquet")
    assert list(table) == ["link", "from", "to", "kind", "capacity_bps", "bytes", "peak_flows", "utilisation"]
    assert len(table) == result.fabric.links
    fullest = table.loc[table["kind"] != "nvlink", "utilisation"].max()
    assert fullest == pytest.approx(result.metrics["congestion"]["max_link_utilisation"])


def test_json(folder: Path, comparison: Comparison) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert set(record.pop("files")) == {path.name for path in folder.iterdir()} - {"run.json"}
    assert record == RECORD
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == json.loads(json.dumps(comparison.document()))


def test_summary_is_byte_identical(
    folder: Path, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = compare(comparison.scenario)
    # Pictures take longest, and test_drawing.py looks at theirs.
    monkeypatch.setattr(comparison_figures, "comparison_draws", lambda results: {})
    write_folder(again, {"elapsed_s": 1.0}, out_folder(tmp_path / "again"))
    assert (tmp_path / "again" / "summary.json").read_bytes() == (folder / "summary.json").read_bytes()


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(folder: Path, name: str) -> None:
    raw = (folder / f"{name}.png").read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(raw[start : start + 4], "big") for start in (16, 20))
    assert width >= 780 and height >= 400 and len(raw) > 10_000


class Page(HTMLParser):
    """Collects what a browser would act on, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    parser = Page()
    parser.feed((folder / "report.html").read_text(encoding="utf-8"))
    parser.close()
    return parser


def test_page_is_whole(page: Page) -> None:
    assert page.open == []
    # How full links were is explored instead of drawn.
    assert page.tags.count("svg") == len(PICTURES) - 1 and "img" not in page.tags


def test_page_fetches_nothing(page: Page, folder: Path) -> None:
    sources = [value for name, value in page.attributes if name in ("src", "href", "data", "action", "srcset", "xlink:href")]
    assert sources and all(value.startswith(("#", "data:image/png;base64,")) for value in sources)
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_only_scripts_and_styles_that_the_policy_names_are_in_the_page(page: Page, folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    (policy,) = (value for name, value in page.attributes if name == "content" and "default-src" in value)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'" and "unsafe" not in policy
    for tag, part in (("script", "script-src"), ("style", "style-src")):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        assert found
        digests = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in found}
        assert {f"'sha256-{digest}'" for digest in digests} == set(parts[part].split())
    # An attribute would be neither run nor heeded; every other script element is data.
    assert not {"style"} & {name for name, _ in page.attributes}
    assert set(re.findall(r"<script([^>]*)>", text)) <= {""} | set(re.findall(r'<script( type="application/json"[^>]*)>', text))


def test_hostile_name_is_only_text(page: Page) -> None:
    assert HOSTILE in "".join(page.text)
    # The frame's, the topology's, and the latter's data.
    assert page.tags.count("script") == 4


def test_page_tells_the_story(page: Page, comparison: Comparison) -> None:
    text = " ".join("".join(page.text).split())
    document = comparison.document()
    for heading in ("Metrics", "Distributions", "Fullest links", "Bills", "Definitions", "Conditions"):
        assert heading in text
    assert f"{document['fabrics']['roft-256']['bill']['total_usd']:,.0f}" in text
    assert document["counting_rule"] in text
    assert "decode.max_batch" in text and "TTFT P99" in text


def test_what_to_be_careful_with_is_seen_without_opening_anything(folder: Path, comparison: Comparison) -> None:
    text = html.unescape((folder / "report.html").read_text())
    sentences = comparison.document()["verdict"]["sentences"]["cautions"]
    assert sentences
    for sentence in sentences:
        assert text.index("<h1>") < text.index(f"<li>{sentence}</li>") < text.index("<details")


@pytest.mark.parametrize("break_it", ["record", "picture"])
def test_a_failure_midway_leaves_nothing(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    record: dict[str, Any] = {"elapsed_s": float("nan")} if break_it == "record" else {}
    if break_it == "picture":
        monkeypatch.setattr(plots, "FIGURES", {**plots.FIGURES, "ttft_parts": fail})
    with pytest.raises((OSError, ValueError)):
        write_folder(comparison, record, out_folder(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_survives_a_failure(comparison: Comparison, tmp_path: Path) -> None:
    target = tmp_path / "out"
    out_folder(target).write(lambda folder: (folder / "summary.json").write_text("{}"), RECORD)
    with pytest.raises(ValueError, match=r"NaN|nan|JSON"):
        write_folder(comparison, {"elapsed_s": float("nan")}, out_folder(target))
    assert sorted(path.name for path in target.iterdir()) == ["run.json", "summary.json"]


def test_load_picture_places_links_by_port() -> None:
    """Link ``i`` of a fabric is loaded to ``i`` per mille; each cell must then name its own link."""
    fabric = load_fabric("zcube-256")
    link_set = LinkSet.of_fabric(fabric)
    bits = link_set.capacity_bps * np.arange(fabric.links) / 1000.0
    idle = np.zeros(fabric.links, dtype=np.int64)
    table = LinkTable(
        link_set.source,
        link_set.target,
        link_set.kind,
        link_set.capacity_bps,
        bits / 8,
        idle,
        link_set.leaves_gpu,
        link_set.enters_gpu,
    )
    result: Any = SimpleNamespace(
        fabric=fabric, run=SimpleNamespace(links_in_window=table, window=SimpleNamespace(length_s=1.0))
    )
    bands = switch_bands(result)
    assert [band.role for band in bands] == [group.name for group in fabric.groups]
    port = np.stack([fabric.cables.a_port, fabric.cables.b_port], axis=1).ravel()
    seen = 0
    for band, group in zip(bands, fabric.groups, strict=True):
        for switch, row in enumerate(band.percent):
            links = np.rint(row[np.isfinite(row)] * 10).astype(int)
            assert (fabric.link_source[links] == group.first_node + switch).all()
            to_gpu = fabric.link_target[links] < fabric.gpus
            assert to_gpu[: band.gpu_links].all() and not to_gpu[band.gpu_links :].any()
            assert (np.diff(port[links[to_gpu]]) > 0).all() and (np.diff(port[links[~to_gpu]]) > 0).all()
            seen += len(links)
    leaving = (fabric.link_source >= fabric.gpus) & (fabric.link_source < fabric.gpus + fabric.switches)
    assert seen == leaving.sum()
    means = bands[0].collapsed()
    assert means[0, 0] == pytest.approx(np.nanmean(bands[0].percent[0, : bands[0].gpu_links]))
    assert means[0, 3] == pytest.approx(np.nanmax(bands[0].percent[0, bands[0].gpu_links :]))
