"""``zcube trace`` and ``zcube replay`` of a trace: from an engine's schedule to times on two fabrics."""

import json

import pytest

GLM_MOE_LAYERS, GLM_DISPATCH_BYTES, GLM_COMBINE_BYTES = 75, 6416, 12336


EP32 = (
    "trace", "generate", "--engine", "sglang", "--prefill-layout", "dp8", "--prefill-nodes", "4", "--decode-nodes", "0",
    "--requests", "4", "--new-tokens", "8192", "--json", "--out",
)  # fmt: skip


@pytest.fixture(scope="module")
def ep32(ran, tmp_path_factory):
    path = tmp_path_factory.mktemp("traces") / "ep32.parquet"
    status, out, err = ran(*EP32, path)
    assert status == 0, err
    return path, json.loads(out)


def test_an_expert_parallel_prefill_moves_the_published_bytes_a_token(ep32):
    _, totals = ep32
    remote_nodes = 4 * (1 - (3 / 4) ** 8) * 3 / 4
    a_token = GLM_MOE_LAYERS * remote_nodes * (GLM_DISPATCH_BYTES + GLM_COMBINE_BYTES)
    assert totals["between_nodes_bytes"] / (4 * 8192) == pytest.approx(a_token, rel=1e-3)
    assert a_token == pytest.approx(3.8e6, rel=0.01)
    assert totals["between_nodes_cross_rail_bytes"] == 0
    sent = [row["bytes"] for row in totals["rails"]] if "rails" in totals else totals["ranks_sent_bytes"]
    assert max(sent) == pytest.approx(min(sent), rel=1e-6)


@pytest.mark.parametrize("fabric", ["roft-1024", "zcube-1024"])
def test_the_iteration_runs_on_both_fabrics(run, ep32, fabric):
    path, totals = ep32
    status, out, err = run("replay", path, "--fabric", fabric, "--json")
    assert status == 0, err
    document = json.loads(out)
    trace = document["trace"]
    assert trace["completion_without_network_s"] == pytest.approx(totals["critical_path_s"])
    assert trace["completion_s"] > trace["completion_without_network_s"]
    assert sum(row["nic_sent_bytes"] for row in trace["rails"]) == pytest.approx(totals["between_nodes_bytes"], rel=1e-9)
    assert sum(row["nvlink_sent_bytes"] for row in trace["rails"]) == pytest.approx(totals["in_node_bytes"], rel=1e-9)
    assert document["hot_links"][0]["utilisation"] <= 1
    assert {row["operation"] for row in trace["operations_by_name"]} >= {"dispatch", "combine", "attention", "experts"}


def test_a_trace_is_the_same_byte_for_byte(run, ep32, tmp_path):
    path, _ = ep32
    again = tmp_path / "again.parquet"
    status, _, err = run(*EP32, again)
    assert status == 0, err
    assert again.read_bytes() == path.read_bytes()


def test_operations_and_timeline_of_a_replay_are_written(run, tmp_path):
    trace, table, chrome = tmp_path / "t.jsonl", tmp_path / "operations.csv", tmp_path / "t.json"
    status, _, err = run("trace", "generate", "--engine", "sglang", "--layers", "3", "--new-tokens", "2048", "--out", trace)
    assert status == 0, err
    status, _out, err = run(
        "replay", trace, "--fabric", "roft-256", "--operations-out", table, "--chrome", chrome, "--first-server", "3"
    )
    assert status == 0, err
    rows = table.read_text().splitlines()
    events = json.loads(chrome.read_text())["traceEvents"]
    assert rows[0].startswith("operation,kind,name,phase")
    assert {event["ph"] for event in events} >= {"X", "M"}
    gpus = {int(row.split(",")[7]) for row in rows[1:]}
    assert min(gpus) == 3 * 8


def test_options_that_belong_to_traces_are_refused_for_lists(run, tmp_path):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,8,1000,0\n")
    status, _out, err = run(
        "replay", flows, "--fabric", "roft-256", "--collective", "all-reduce=ring", "--chrome", tmp_path / "c.json"
    )
    assert status == 2
    assert "--chrome" in err
    assert "--collective" in err


def test_faults_of_a_replayed_trace_name_its_file(run, tmp_path):
    path = tmp_path / "trace.jsonl"
    head = {"zcube_trace": True, "schema_version": 1, "ranks": 16, "groups": [[0, 8]]}
    rows = [{"kind": "collective", "name": "all-gather", "group": 0, "size_bytes": 10, "source": 3}]
    path.write_text("\n".join(json.dumps(row) for row in (head, *rows)))
    status, _, err = run("replay", path, "--fabric", "roft-256")
    assert status == 2
    assert f"{path}: operation 0: found a root outside its group" in err
    rows = [{"kind": "collective", "name": "all-gather", "group": 0, "size_bytes": 10}]
    path.write_text("\n".join(json.dumps(row) for row in (head, *rows)))
    status, _, err = run("replay", path, "--fabric", "roft-256@switch:leaf0")
    assert status == 2
    assert f"{path}: expanded operation 2: found GPU 0 to GPU 8; expected a pair with a path left" in err


def test_prompts_too_long_for_a_transfer_are_named_by_their_option(run, tmp_path):
    options = ("--engine", "vllm", "--new-tokens", "4194304", "--set", "cached_tokens=1", "--layers", "1")
    status, _, err = run("trace", "generate", *options, "--out", tmp_path / "t.parquet")
    assert status == 2
    assert "new_tokens and cached_tokens of at most 4194304 together" in err


def test_an_unknown_choice_is_named_with_what_the_engine_offers(run, tmp_path):
    status, _out, err = run(
        "trace", "generate", "--engine", "tilert", "--prefill-layout", "cp8", "--decode-layout", "dp8", "--out",
        tmp_path / "t.parquet",
    )  # fmt: skip
    assert status == 2
    assert "prefill_layout" in err
    assert "decode_layout" in err
    assert not (tmp_path / "t.parquet").exists()


def test_a_broken_recording_keeps_what_stands_before_the_break(run, tmp_path):
    line = (
        '{"header":{"id":"0x1","rank":%d,"n_ranks":2,"nnodes":1},"metadata":{"dump_timestamp_us":1000},"coll_perf":'
        '{"coll":"AllReduce","coll_sn":%d,"coll_msg_size_bytes":4096,"coll_exec_time_us":10}}\n'
    )
    log = tmp_path / "inspector.json"
    whole = "".join(line % (rank, number) for number in range(3) for rank in range(2))
    log.write_text(whole + (line % (0, 3))[:70])
    status, out, err = run("trace", "import", log, "--out", tmp_path / "t.jsonl", "--json")
    assert status == 1
    assert "7" in err
    report = json.loads(out)
    assert report["operations"] == {"all-reduce": {"count": 3, "size_bytes": 3 * 4096}}
    _, out, _ = run("trace", "show", tmp_path / "t.jsonl", "--json")
    assert json.loads(out)["total"]["collectives"] == 3
