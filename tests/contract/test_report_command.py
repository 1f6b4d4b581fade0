"""zcube report: the same page again from what is stored, several runs side by side, and folders that nobody should trust."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zcube import __version__
from zcube.comparison import compare
from zcube.errors import InputError
from zcube.out_folder import out_folder
from zcube.report.folder import write_folder
from zcube.report.rebuilt import rebuilt_page
from zcube.report.results import Results
from zcube.report.runs_apart import pairing, side_by_side
from zcube.report.stored import read_results, stored_table
from zcube.scenario import load_scenario
from zcube.serving.repeats import seed_noise, student_interval
from zcube.verdict.table import ROWS
from zcube.workplace import digest

SMALL: dict[str, Any] = {
    "fabrics": ["roft-256", "zcube-256"],
    "gpus": 256,
    "prefill.nodes": 24,
    "decode.nodes": 8,
    "requests.count": 6,
}


def made(folder: Path, **changes: Any) -> Path:
    scenario = load_scenario("glm51-pd-256", SMALL | changes)
    record = {
        "record_version": 1,
        "zcube_version": __version__,
        "call": ["compare", "a b"],
        "scenario": scenario.model_dump(mode="json"),
    }
    return write_folder(compare(scenario), record, out_folder(folder))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    where = tmp_path_factory.mktemp("runs")
    return made(where / "first"), made(where / "second", **{"requests.count": 7, "seeds": 2})


@pytest.fixture
def copied(stored: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(stored[0], tmp_path / "copy")


def test_the_page_is_the_same_again_to_the_byte(stored: tuple[Path, Path], run: Any, tmp_path: Path) -> None:
    for number, folder in enumerate(stored):
        page = tmp_path / f"{number}.html"
        status, out, err = run("report", folder, "--out", page)
        assert (status, out) == (0, "") and f"written: {page}" in err
        assert page.read_bytes() == (folder / "report.html").read_bytes()
        assert "zcube compare &#39;a b&#39;" in page.read_text()


def test_runs_stand_side_by_side_with_what_differs(stored: tuple[Path, Path], run: Any, tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    status, _, err = run("report", *stored, "--out", page)
    assert status == 0, err
    text = page.read_text()
    head = text[text.index("<h2>Headline figures") : text.index("<h2>What differs")]
    plain = " ".join(re.sub(r"<[^>]*>", " ", head).split())
    documents = [json.loads((folder / "summary.json").read_text()) for folder in stored]
    for name in SMALL["fabrics"]:
        first, second = (f"{document['fabrics'][name]['bill']['total_usd']:,.0f}" for document in documents)
        assert f"Total USD {name} {first} {second} 0.0 %" in plain
    careful = text[text.index('aria-label="To be careful with"') : text.index("<h2>Headline figures")]
    for document in documents:
        for said in document["verdict"]["sentences"]["cautions"]:
            assert said in html.unescape(careful)
    assert "second: other seeds than first, or one: its differences have no intervals." in plain
    assert [f"{folder.name}: {name}" in text for folder in stored for name in SMALL["fabrics"]] == [True] * 4
    differs = text[text.index("<h2>What differs") : text.index('<details class="section"')]
    rows = re.findall(r'<th scope="row">(.*?)</th><td class="words">(.*?)</td><td class="words">(.*?)</td>', differs)
    assert [(re.sub(r"<[^>]*>", "", key), one, other) for key, one, other in rows] == [
        ("seeds", "1", "2"), ("requests.count", "6", "7"),
    ]  # fmt: skip


def test_runs_of_the_same_seeds_are_told_apart_seed_by_seed() -> None:
    row = next(one for one in ROWS if one.path == ("ttft_s", "p99"))

    def of(values: list[float], seeds: int = 5) -> Results:
        noise = {"ttft_s.p99": seed_noise([{"ttft_s.p99": value} for value in values], [{"ttft_s.p99": 0.0}] * len(values))}
        fabric = {"ttft_s": {"p99": sum(values) / len(values)}, "noise": {"ttft_s.p99": noise["ttft_s.p99"]["ttft_s.p99"]}}
        return Results({"seed": 0, "seeds": seeds, "fabrics": {"f": fabric}}, {}, {}, {}, {})

    first = of([1.0, 2.0, 3.0, 4.0, 5.0])
    runs = {"a": first, "slower": of([1.5, 2.6, 3.4, 4.5, 5.5]), "alike": of([1.1, 1.9, 3.1, 3.9, 5.1]), "few": of([2.0], 1)}
    _, slower, alike, few = side_by_side(runs, row)["f"]
    low, high = student_interval(np.array([0.5, 0.6, 0.4, 0.5, 0.5]))
    assert slower["difference"] == f"+{low:.3g} to +{high:.3g}" and slower["mark"] == "worse"
    assert (slower["change"], alike["change"], alike["mark"]) == ("+16.7 %", "no difference", "")
    assert few["difference"] == "" and few["mark"] == ""
    assert [run for run, _ in pairing(runs, {name: name for name in runs})] == ["few"]


def test_what_is_there_is_not_lost(stored: tuple[Path, Path], run: Any, tmp_path: Path) -> None:
    own = tmp_path / "notes.html"
    own.write_text("<p>mine</p>")
    for target in (own, stored[0] / "report.html", tmp_path / "page.txt"):
        status, _, err = run("report", stored[0], "--out", target)
        assert status == 2 and str(target) in err
    assert own.read_text() == "<p>mine</p>"


def test_every_fault_is_told_at_once(stored: tuple[Path, Path], run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(stored[0])
    again = stored[0] / ".." / stored[0].name
    places = [tmp_path / "missing", tmp_path / "empty", tmp_path / "link", stored[0], again]
    status, _, err = run("report", *places, "--out", tmp_path / "page.html")
    assert status == 2 and "4 faults" in err
    for found in ("no such folder", "no run.json", "a link", "1 named more than once"):
        assert found in err


def test_a_page_where_nothing_can_be_written_is_refused_before_the_work(
    stored: tuple[Path, Path], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever runs as root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setattr("zcube.report.rebuilt.rebuilt_page", lambda runs: pytest.fail("work"))
    status, _, err = run("report", stored[0], "--out", tmp_path / "page.html")
    assert status == 2 and "cannot be written" in err


def sealed(folder: Path) -> None:
    """Give the record the digests of what the folder holds, as whoever makes a false folder would."""
    record = json.loads((folder / "run.json").read_text())
    record["files"] = {path.name: digest(path) for path in folder.iterdir() if path.name != "run.json"}
    (folder / "run.json").write_text(json.dumps(record))


def bands(figures: Any) -> Any:
    return figures["link_load"]["roft-256"]["bands"]


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))
        sealed(folder)

    return alter


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        path = folder / "requests-roft-256.parquet"
        change(pd.read_parquet(path)).to_parquet(path)
        sealed(folder)

    return alter


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda folder: (folder / "summary.json").write_text("{}"), "another content than was written"),
        (lambda folder: (folder / "cost.svg").unlink(), None),
        (lambda folder: (folder / "links-roft-256.parquet").unlink(), "no file"),
        (lambda folder: os.truncate(folder / "links-roft-256.parquet", 40 << 30), "42,949,672,960 bytes"),
        (lambda folder: os.truncate(folder / "figures.json", 40 << 30), "42,949,672,960 bytes"),
        (changed("run.json", lambda record: record.update(record_version=2)), "record_version"),
        (changed("run.json", lambda record: record.update(zcube_version="0.0.1")), "zcube_version"),
        (changed("figures.json", lambda found: bands(found).extend(bands(found)[:1] * 100)), "bands"),
        (changed("figures.json", lambda found: bands(found)[0].update(percent=[[1] * 3000] * 1500)), "links, more than"),
        (table(lambda frame: frame.assign(ttft_s=frame["ttft_s"].astype(str).astype("category"))), "expected numbers"),
        (table(lambda frame: frame.assign(ttft_s=[[1.0]] * len(frame))), "expected numbers"),
        (lambda folder: (folder / "requests-roft-256.parquet").unlink(), "no file"),
        (changed("run.json", lambda record: record.pop("scenario")), "run.json"),
        (changed("summary.json", lambda document: document.update(schema_version=99)), "schema_version"),
        (changed("summary.json", lambda document: document.update(baseline="other")), "summary.json"),
        (changed("summary.json", lambda document: document["fabrics"]["roft-256"].pop("bill")), "summary.json"),
        (changed("summary.json", lambda document: document["fabrics"]["roft-256"].update(ttft_s=7)), "summary.json"),
        (changed("summary.json", lambda document: document.update(fabrics=[])), "summary.json"),
        (changed("figures.json", lambda document: document.update(link_load={})), "figures.json"),
        (changed("figures.json", lambda found: bands(found)[0].update(percent=[[1], []])), "figures.json"),
        (changed("figures.json", lambda found: found.update(congestion_trees={"roft-256": [{"ports": []}]})), "figures.json"),
        (changed("topology-roft-256.json", lambda found: found.pop("names")), "topology-roft-256.json"),
        (changed("topology-roft-256.json", lambda found: found["a"].update(deflated="AAAA")), "topology-roft-256.json"),
        (changed("topology-roft-256.json", lambda found: found["b"].update(type="object")), "topology-roft-256.json"),
        (table(lambda frame: frame.drop(columns="counted")), "no column counted"),
        (table(lambda frame: frame.assign(ttft_s="x")), "requests-roft-256.parquet"),
        (lambda folder: ((folder / "requests-roft-256.parquet").write_bytes(b"PAR1"), sealed(folder)), "a Parquet table"),
    ],
)  # fmt: skip
def test_folders_that_were_changed_are_refused(
    copied: Path, run: Any, tmp_path: Path, alter: Callable[[Path], Any], told: str | None
) -> None:
    alter(copied)
    status, out, err = run("report", copied, "--out", tmp_path / "page.html")
    assert status == (0 if told is None else 2) and out == "" and "Traceback" not in err
    assert (tmp_path / "page.html").exists() == (told is None)
    assert told is None or told in err


def test_all_faults_of_a_folder_are_told_at_once(copied: Path, run: Any, tmp_path: Path) -> None:
    (copied / "summary.json").write_text("{}")
    (copied / "figures.json").write_text("{}")
    for name in ("links-roft-256.parquet", "topology-zcube-256.json"):
        (copied / name).unlink()
    status, _, err = run("report", copied, "--out", tmp_path / "page.html")
    assert status == 2 and "4 faults" in err
    (copied / "summary.json").write_text(json.dumps({"schema_version": 0}))
    for name in ("requests-roft-256.parquet", "requests-zcube-256.parquet"):
        (copied / name).unlink()
    assert "6 faults" in run("report", copied, "--out", tmp_path / "page.html")[2]


@pytest.mark.parametrize(("name", "told"), [("number", "numbers"), ("text", "at most")])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before(tmp_path: Path, name: str, told: str) -> None:
    path, rows = tmp_path / "a.parquet", 1_000_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array(["x" * 20_000]))
    pq.write_table(pa.table({name: text}), path, store_schema=False)
    assert path.stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match=told):
        stored_table(path, [name], 2 * rows, ("text",))
    assert pa.default_memory_pool().max_memory() - before < 200 << 20


def test_texts_of_a_table_are_read_as_they_were_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"to": ["a", "b", "a", None], "bytes": [1.0, 2.0, 3.0, 4.0]})
    frame.to_parquet(tmp_path / "a.parquet", index=False, row_group_size=2)
    found = stored_table(tmp_path / "a.parquet", ["to", "bytes"], 100, ("to",))
    assert found["to"].tolist()[:3] == ["a", "b", "a"] and found["bytes"].tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(InputError, match="at most 3"):
        stored_table(tmp_path / "a.parquet", ["to"], 3, ("to",))
    with pytest.raises(InputError, match="texts"):
        stored_table(tmp_path / "a.parquet", ["bytes"], 100, ("bytes",))


def test_markup_in_stored_results_stays_text(copied: Path) -> None:
    word = '"><script>alert(1)</script>\u202e$x_{$'

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(one) for key, one in value.items()}
        if isinstance(value, list):
            return [poison(one) for one in value]
        return value + word if isinstance(value, str) else value

    document = json.loads((copied / "summary.json").read_text())
    for key in ("verdict", "compute", "counting_rule", "cost_rule"):
        document[key] = poison(document[key])
    for fabric in document["fabrics"].values():
        fabric["congestion"]["hot_links"] = poison(fabric["congestion"]["hot_links"])
        fabric["bill"]["lines"] = poison(fabric["bill"]["lines"])
    (copied / "summary.json").write_text(json.dumps(document))
    sealed(copied)
    page = rebuilt_page({copied: read_results(copied)})
    clean = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert clean.count("<script") == clean.count("</script>") == 3 and "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in page
