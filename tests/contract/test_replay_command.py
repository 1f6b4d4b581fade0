"""``zcube replay``: its streams, files and refusals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest

ROWS = "id,src,dst,bytes,start_s\nx,s0g0,s1g0,1e6,0\ny,0,9,2e6,0\n"


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(ROWS)
    return path


def test_json_is_one_document_with_the_promised_keys(run, trace):
    status, out, err = run("replay", trace, "--fabric", "roft-256", "--json")
    assert status == 0 and err == ""
    document = json.loads(out)
    assert {
        "fabric", "fidelity", "routing", "path_split", "queue_pairs", "seed", "flows", "bytes", "makespan_s", "duration_s",
        "slowdown", "max_link_utilisation", "hot_links",
    } <= set(document)  # fmt: skip
    assert document["flows"] == 2
    assert document["bytes"]["payload"] == 3e6
    assert set(document["duration_s"]) == {"mean", "p50", "p80", "p90", "p99", "max"}
    assert "coflows" not in document


def test_human_output_is_plain_and_talk_goes_to_stderr(run, trace, tmp_path):
    status, out, err = run("replay", trace, "--fabric", "roft-256", "--out", tmp_path / "out.csv")
    assert status == 0
    assert "Makespan" in out and "roft-256" in out
    assert "\x1b" not in out + err
    assert "written" in err and "written" not in out


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_have_the_promised_columns_in_the_lists_order(run, trace, tmp_path, ending):
    files = {name: tmp_path / f"{name}.{ending}" for name in ("out", "links", "paths")}
    options = ["--out", files["out"], "--links-out", files["links"], "--paths-out", files["paths"]]
    assert run("replay", trace, "--fabric", "zcube-n16", "--routing", "hash", *options)[0] == 0
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    flows, links, paths = (read(files[name]) for name in ("out", "links", "paths"))
    assert list(flows) == [
        "id", "src", "dst", "bytes", "start_s", "finish_s", "duration_s", "mean_rate_gbps", "slowdown", "bound_link",
    ]  # fmt: skip
    assert flows.id.tolist() == ["x", "y"] and flows.dst.tolist() == [8, 9]
    assert list(links) == ["link", "from", "to", "kind", "capacity_bps", "bytes", "peak_flows", "utilisation"]
    assert links.link.tolist() == list(range(len(links)))
    assert list(paths) == ["flow", "hop", "from", "to", "link", "capacity_bps", "subflow", "share", "latency_s"]
    named = links.loc[paths.link]
    assert named["from"].tolist() == paths["from"].tolist() and named["to"].tolist() == paths["to"].tolist()
    # Bytes of links follow from the paths.
    carried = np.zeros(len(links))
    np.add.at(carried, paths.link, paths.flow.map(flows.set_index("id").bytes) * paths.share)
    np.testing.assert_allclose(links.bytes, carried, rtol=1e-9)
    assert links.bytes[links["from"].str.match(r"s\d+g\d+$")].sum() == pytest.approx(3e6, rel=1e-12)


def test_csv_quotes_only_what_needs_it(run, trace, tmp_path):
    trace.write_text('id,src,dst,bytes,start_s\n"a,b",0,9,1,0\nc,0,9,1,0\n')
    assert run("replay", trace, "--fabric", "roft-256", "--out", tmp_path / "out.csv")[0] == 0
    rows = list(csv.reader((tmp_path / "out.csv").open(newline="")))
    assert [row[0] for row in rows] == ["id", "a,b", "c"]
    trace.write_text(ROWS)
    run("replay", trace, "--fabric", "roft-256", "--out", tmp_path / "out.csv")
    assert '"' not in (tmp_path / "out.csv").read_text()


def test_seed_and_routing_are_heeded_and_runs_repeat(run, trace, tmp_path):
    def paths(*options: str) -> str:
        assert run("replay", trace, "--fabric", "roft-256", "--paths-out", tmp_path / "paths.csv", *options)[0] == 0
        return (tmp_path / "paths.csv").read_text()

    first = paths("--routing", "hash", "--seed", "1")
    assert first == paths("--routing", "hash", "--seed", "1")
    assert len({paths("--routing", "hash", "--seed", str(seed)) for seed in range(8)}) > 1
    assert paths("--routing", "ecmp", "--queue-pairs", "4").count("\n") > 2 * first.count("\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fabric", "nowhere"], ["nowhere", "roft-1024"]),
        (["--fabric", "roft-256", "--routing", "zcube-paths"], ["zcube-paths", "hash"]),
        (["--fabric", "roft-256", "--fidelity", "exact"], ["--fidelity", "'exact'", "ideal, flow, lossless, packet"]),
        (["--fabric", "roft-256", "--fidelity", "x", "--path-split", "y"], ["--fidelity", "--path-split"]),
        (["--fabric", "roft-256", "--isolation", "0.5"], ["--isolation", "--fidelity flow", "--fidelity lossless"]),
        (["--fabric", "roft-256", "--fidelity", "lossless", "--isolation", "2"], ["--isolation", "less than or equal to 1"]),
        (["--fabric", "roft-256", "--calibration-draws", "5"], ["--calibration-draws", "no --calibration"]),
        (["--fabric", "roft-256", "--jobs", "2"], ["--jobs", "no --calibration"]),
        (["--fabric", "roft-256", "--out", "out.txt"], ["--out out.txt", ".parquet"]),
        (["--fabric", "roft-256", "--out", "no/such/folder.csv"], ["no/such", "exists"]),
        (["--fabric", "roft-256", "--out", "a.csv", "--links-out", "a.csv"], ["--links-out", "file of its own"]),
        (["--fabric", "roft-256", "--queue-pairs", "0"], ["queue-pairs"]),
        (["--fabric", "roft-256@nic:s1g0"], ["line 2", "GPU 0 to GPU 8", "path"]),
        ([], ["--fabric"]),
    ],
)
def test_bad_input_exits_2_before_anything_is_written(run, trace, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("replay", trace, *arguments)
    assert status == 2
    assert out == "" and "Traceback" not in err
    for word in words:
        assert word in err
    assert [path.name for path in tmp_path.iterdir()] == ["flows.csv"]


def test_the_list_itself_is_not_overwritten(run, trace):
    status, _, err = run("replay", trace, "--fabric", "roft-256", "--out", trace)
    assert status == 2 and "--out" in err
    assert trace.read_text() == ROWS


def test_unreachable_pairs_are_named_and_the_rest_counted(run, trace):
    trace.write_text("src,dst,bytes,start_s\n" + "".join(f"{gpu},0,5,0\n" for gpu in range(8, 58)))
    status, _, err = run("replay", trace, "--fabric", "roft-256@nic:s0g0")
    assert status == 2
    assert "line 2" in err and "line 21" in err and "line 22" not in err
    assert "30 more without a path" in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_bins_add_up_to_the_links_totals(run, trace, tmp_path, ending):
    bins_out, links_out = tmp_path / f"bins.{ending}", tmp_path / f"links.{ending}"
    options = ["--bin-s", "1e-5", "--bins-out", bins_out, "--links-out", links_out]
    assert run("replay", trace, "--fabric", "zcube-n16", *options)[0] == 0
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    bins, links = read(bins_out), read(links_out)
    carried = bins.groupby("link").bytes.sum().reindex(links.link, fill_value=0.0)
    np.testing.assert_allclose(carried, links.bytes, rtol=1e-9)
    assert bins.utilisation.max() <= 1 + 1e-9
    assert np.allclose(bins.bin_start_s / 1e-5, np.round(bins.bin_start_s / 1e-5))
    assert run("replay", trace, "--fabric", "zcube-n16", "--bin-s", "1e-5")[0] == 2


def test_quantum_saves_events_and_is_recorded(run, tmp_path):
    rows = "".join(f"{g},{100 + g},{1e6 + g},{g * 1e-7}\n" for g in range(0, 90))
    (tmp_path / "many.csv").write_text("src,dst,bytes,start_s\n" + rows)
    exact = json.loads(run("replay", tmp_path / "many.csv", "--fabric", "roft-256", "--json")[1])
    coarse = json.loads(run("replay", tmp_path / "many.csv", "--fabric", "roft-256", "--quantum-s", "1e-6", "--json")[1])
    assert (exact["quantum_s"], coarse["quantum_s"]) == (0.0, 1e-6)
    assert coarse["events"] < exact["events"]
    assert coarse["makespan_s"] == pytest.approx(exact["makespan_s"], rel=0.1)


@pytest.mark.parametrize("other", [None, {"size_bytes": 7, "duration_s": 1e-3}, {"size_bytes": 4096, "duration_s": 0.0}])
def test_a_recording_of_another_job_is_not_held_against(run, tmp_path, other):
    from zcube.trace.builder import TraceBuilder
    from zcube.trace.files import write_trace

    def written(name, **values):
        builder = TraceBuilder(ranks=2, ranks_per_node=1)
        if values:
            builder.transfer("kv", 0, 1, **values)
        write_trace(builder.build({}), tmp_path / name)
        return tmp_path / name

    job = written("job.jsonl", size_bytes=4096)
    against = written("other.jsonl", **(other or {}))
    status, _, err = run("replay", job, "--fabric", "roft-256", "--against", against)
    assert status == 2
    assert "no operation to compare" in err
