"""A user's trace keeps its own times unless a rate is given with it, and every run says what became of them."""

from __future__ import annotations

import json

import pytest

from zcube.cli.request_options import request_changes
from zcube.errors import InputError
from zcube.report.request_lines import request_lines
from zcube.scenario import load_scenario
from zcube.workload.offered import offered_requests
from zcube.workload.source import Requests

pytestmark = pytest.mark.usefixtures("one_picture")

SCENARIO = "glm51-pd-1024"


@pytest.fixture
def trace(tmp_path):
    """Eleven requests of 600 tokens in 102 s; half of the first block is all that two of them share."""
    path = tmp_path / "mine.jsonl"
    rows = [
        {"timestamp": 10_200 * i, "input_length": 600, "output_length": 5, "hash_ids": [i // 2, 100 + i]} for i in range(11)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def declared(trace, *assignments, **options):
    told = {"rate": None, "sessions": None, "block_tokens": None, "time_unit": None, "columns": None} | options
    return load_scenario(SCENARIO, request_changes(trace, **told, assignments=assignments), assignments)


def offered(scenario):
    return offered_requests(scenario.requests, scenario.load.rate_per_s, scenario.load.mode == "closed", scenario.seed)


def test_the_scenarios_rate_does_not_squeeze_a_users_trace(trace):
    assert load_scenario(SCENARIO).load.rate_per_s == 24.0
    found = offered(declared(trace))
    assert found.trace.duration_s == pytest.approx(102)
    assert (found.clock, found.time_factor) == ("own", 1.0)


@pytest.mark.parametrize(
    ("assignments", "options"),
    [((), {"rate": "40"}), (("load.rate_per_s=40",), {}), (("load={mode='open', rate_per_s=40}",), {})],
)
def test_a_rate_on_the_same_line_scales_it(trace, assignments, options):
    found = offered(declared(trace, *assignments, **options))
    assert found.trace.duration_s == pytest.approx(11 / 40)
    assert found.clock == "rescaled"
    assert found.time_factor == pytest.approx(11 / 40 / 102)


def test_the_traces_own_rate_can_be_asked_for(trace, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        f'fabrics = ["roft-256"]\n[requests]\nsource = "{trace}"\n[load]\nrate_per_s = 5\n'
        '[prefill]\nnodes = 16\n[decode]\nnodes = 16\n'
    )  # fmt: skip
    # A scenario's own file comes at the rate the scenario states beside it.
    assert load_scenario(str(own)).load.rate_per_s == 5
    assert load_scenario(str(own), request_changes(None, "trace", None, None, None, None, ())).load.rate_per_s is None


def test_what_something_looks_at_may_be_named(trace):
    assert declared(trace, "load.mode=closed", "load.concurrency=40").load.concurrency == 40
    assert declared(trace, "network.fidelity=lossless", "network.isolation=0.3").network.isolation == 0.3
    lossless = ("network.roft-1024.fidelity=lossless", "network.isolation=0.3")
    assert declared(trace, *lossless).network_of("roft-1024").isolation == 0.3
    # Without a value the key goes.
    assert load_scenario(SCENARIO, {"network.isolation": None}).network.isolation == 0.0


def test_any_way_to_name_the_file_keeps_its_clock(trace):
    assert load_scenario(SCENARIO, {"requests.source": trace}).load.rate_per_s is None
    assert load_scenario(SCENARIO, assignments=[f"requests.source={trace}", "requests.count=5"]).load.rate_per_s is None
    assert load_scenario(SCENARIO, {"requests.source": "coding-agent"}).load.rate_per_s == 24.0


def test_a_count_on_the_same_line_is_kept(trace):
    assert declared(trace).requests.count is None
    assert declared(trace, "requests.count=7").requests.count == 7


@pytest.mark.parametrize(
    ("assignments", "options", "named"),
    [
        (("load.rate_per_s=40",), {"rate": "40"}, "--rate"),
        ((), {"rate": "fast"}, "--rate"),
        ((), {"rate": "-1"}, "load.rate_per_s"),
        ((), {"rate": "nan"}, "load.rate_per_s"),
        (("load.mode=closed",), {"rate": "40"}, "load.rate_per_s"),
        (("load.mode=closed",), {"rate": "trace"}, "load.rate_per_s"),
        (("load.mode=closed", "load.rate_per_s=40"), {}, "load.mode = open"),
        (("load.concurrency=40",), {}, "load.mode = closed"),
        (("network.isolation=0.3",), {}, "network.fidelity = lossless"),
        (("router.max_local_prefill_tokens=30",), {}, "router.policy = conditional"),
        ((), {"columns": "arrival"}, "--columns"),
        ((), {"columns": "arrival=a,input=b"}, "requests.columns"),
        ((), {"sessions": "both"}, "requests.sessions"),
        ((), {"block_tokens": 0}, "requests.block_tokens"),
    ],
)
def test_what_cannot_be_meant_is_refused(trace, assignments, options, named):
    with pytest.raises(InputError) as caught:
        declared(trace, *assignments, **options)
    assert named in str(caught.value)


def test_a_generator_has_no_file_to_say_things_of():
    with pytest.raises(InputError, match="sessions could be said"):
        load_scenario(SCENARIO, {"requests.sessions": "whole"})


def lines_of(scenario):
    return dict(request_lines(offered(scenario).document()))


def test_span_rate_scaling_and_bound_are_said(trace):
    own = lines_of(declared(trace))
    assert own["Arrivals"] == "at their own times: 102 s, 0.108 per second."
    # Five of eleven requests find their first block of 512 tokens.
    assert (
        own["Prefix hits"]
        == f"at most {100 * 5 * 512 / 6600:.1f} % of all prompt tokens, warm-up included, with an unlimited prefix cache."
    )
    scaled = lines_of(declared(trace, rate="40"))["Arrivals"]
    assert scaled == "own times (102 s, 0.108 per second) multiplied by 0.002696: 40 per second."
    closed = lines_of(declared(trace, "load.mode=closed"))["Arrivals"]
    assert closed == "closed loop: the source's own times (102 s, 0.108 per second) are not used."


def test_the_generators_clock_is_said():
    assert lines_of(load_scenario(SCENARIO, {"requests.count": 240}))["Arrivals"] == "generated: 10 s, 24 per second."


def test_sessions_that_start_at_once_say_how_they_were_spaced(tmp_path):
    path = tmp_path / "sessions.jsonl"
    rows = [{"session_id": s, "timestamp": 0, "input_length": 10, "output_length": 1} for s in "abc"]
    rows += [{"session_id": s, "delay": 5, "input_length": 10, "output_length": 1} for s in "ab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = declared(str(path), sessions="delta", rate="0.5")
    assert lines_of(found)["Arrivals"] == (
        "sessions, which the file starts all at once, evenly spaced: 0.5 per second; "
        "2 wait for the request before them in their session."
    )
    at_once = lines_of(declared(str(path), sessions="delta"))["Arrivals"]
    assert at_once.startswith("at their own times: all at once; 2 wait")


def test_a_rate_for_requests_that_all_come_at_once_is_refused(tmp_path):
    path = tmp_path / "once.jsonl"
    path.write_text('{"timestamp": 5, "input_length": 1, "output_length": 1}\n' * 2)
    with pytest.raises(InputError, match="one arrival time only"):
        offered(declared(str(path), rate="3"))
    one = Requests(source=str(path), count=1)
    assert offered_requests(one, 3.0, closed_loop=False, seed=0).clock == "own"


def test_the_command_says_it_in_table_json_and_page(run, trace, tmp_path):
    arguments = ["compare", "glm51-pd-256", "--fidelity", "ideal", "--set", "load.mode=open", "--requests", trace]
    status, out, _ = run(*arguments, "--json")
    assert status == 0
    requests = json.loads(out)["requests"]
    assert requests["clock"] == {
        "kind": "own",
        "own_span_s": pytest.approx(102),
        "own_rate_per_s": pytest.approx(11 / 102),
        "time_factor": 1.0,
        "rate_per_s": pytest.approx(11 / 102),
    }
    assert requests["prefix_hit_bound"] == pytest.approx(5 * 512 / 6600)
    status, out, _ = run(*arguments, "--out", str(tmp_path / "out"))
    assert status == 0
    assert "Arrivals: at their own times: 102 s, 0.108 per second." in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Arrivals: at their own times: 102 s, 0.108 per second." in page
    status, out, _ = run("compare", str(tmp_path / "out" / "run.json"), "--json")
    assert (status, json.loads(out)["requests"]) == (0, requests)


def test_the_command_takes_a_map_of_columns(run, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("when,in,out\n1,700,2\n3,800,3\n")
    arguments = ["compare", "glm51-pd-256", "--fidelity", "ideal", "--set", "load.mode=open", "--requests", path, "--json"]
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "--columns" in err
    status, out, _ = run(*arguments, "--columns", "arrival=when,input=in,output=out", "--rate", "trace")
    assert status == 0
    assert json.loads(out)["requests"]["duration_s"] == 2.0
