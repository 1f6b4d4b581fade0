"""The command line's contract: what goes to stdout, which status comes back, what is left on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.usefixtures("one_picture")

SMALL = ["--set", "requests.count=40", "--set", "load.rate_per_s=4"]
#: So few requests have no steady state; their rates are wanted all the same.
SMALL += ["--set", "measure.least_requests=10", "--set", "measure.least_turnovers=0", "--set", "measure.least_filled=0"]


def leaves(document, prefix=""):
    """Yield (dotted key, value) of every leaf of a JSON document."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, f"{prefix}{key}.")
    elif not isinstance(document, list):
        yield prefix[:-1], document


def test_json_is_one_document_with_the_promised_keys(run):
    status, out, err = run("compare", "glm51-pd-1024", *SMALL, "--json")
    assert status == 0, err
    document = json.loads(out)
    assert set(document["fabrics"]) == {"roft-1024", "zcube-1024"}
    latencies = {
        f"{name}.{part}"
        for name in ("ttft_s", "tpot_s", "e2e_s", "kv_transfer_s")
        for part in ("mean", "p50", "p80", "p90", "p99")
    }
    promised = latencies | {
        "requests.offered", "requests.completed", "requests.rejected", "requests.unfinished",
        "throughput.output_tokens_per_s", "throughput.input_tokens_per_s", "throughput.requests_per_s",
        "congestion.type1_slowdown", "congestion.type2_slowdown", "congestion.max_link_utilisation",
        "bill.switches", "bill.transceivers", "bill.switch_usd", "bill.optics_usd", "bill.total_usd", "bill.price_book",
        "relative.throughput", "relative.ttft_p99", "relative.bill_usd",
    }  # fmt: skip
    for name, fabric in document["fabrics"].items():
        found = dict(leaves(fabric))
        assert promised <= set(found), (name, promised - set(found))
        assert fabric["requests"]["offered"] == sum(fabric["requests"][key] for key in ("completed", "rejected", "unfinished"))
        assert fabric["bytes"]["sent"] == fabric["bytes"]["received"]
        assert fabric["bytes"]["sent"] == pytest.approx(fabric["bytes"]["kv"] + fabric["bytes"]["expert"], rel=1e-12)
        for link in fabric["congestion"]["hot_links"]:
            assert set(link) == {"link", "from", "to", "utilisation", "bytes", "peak_flows"}
    baseline = document["fabrics"][document["baseline"]]
    assert set(baseline["relative"].values()) == {0.0}


def test_relative_is_the_change_against_the_baseline(run):
    _, out, _ = run("compare", "glm51-pd-1024", *SMALL, "--baseline", "zcube-1024", "--json")
    fabrics = json.loads(out)["fabrics"]
    roft, zcube = fabrics["roft-1024"], fabrics["zcube-1024"]
    assert roft["relative"]["ttft_p99"] == pytest.approx(roft["ttft_s"]["p99"] / zcube["ttft_s"]["p99"] - 1)
    assert roft["relative"]["bill_usd"] == pytest.approx(0.5)


def test_same_seed_repeats_byte_for_byte_and_another_does_not(run):
    first = run("compare", "glm51-pd-1024", *SMALL, "--seed", "7", "--json")[1]
    assert run("compare", "glm51-pd-1024", *SMALL, "--seed", "7", "--json")[1] == first
    assert run("compare", "glm51-pd-1024", *SMALL, "--seed", "8", "--json")[1] != first


def test_a_recorded_run_is_repeated_from_its_record(run, tmp_path):
    status, _, err = run("compare", "glm51-pd-1024", *SMALL, "--seed", "3", "--out", tmp_path / "one")
    assert status == 0, err
    status, _, err = run("compare", tmp_path / "one" / "run.json", "--out", tmp_path / "two")
    assert status == 0, err
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "two" / "summary.json").read_bytes()


def test_real_mooncake_trace_is_served_whole(run, shared_data):
    trace = shared_data / "mooncake" / "conversation_trace.jsonl"
    status, out, err = run("compare", "glm51-pd-1024", "--requests", trace, "--fabric", "zcube-1024", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["requests"]["requests"] == 12_031
    for fabric in document["fabrics"].values():
        assert fabric["requests"]["offered"] == 12_031
        assert fabric["bytes"]["sent"] == fabric["bytes"]["received"]


def test_infinitely_fast_network_makes_fabrics_equal(run):
    arguments = ["compare", "glm51-pd-1024", *SMALL, "--fidelity", "ideal", "--set", "network.nic_gbps=100000", "--json"]
    fabrics = json.loads(run(*arguments)[1])["fabrics"]
    for key in ("ttft_s", "tpot_s", "e2e_s", "kv_transfer_s", "throughput"):
        assert fabrics["roft-1024"][key] == fabrics["zcube-1024"][key]


def test_rewiring_saves_a_third_of_ports_and_switch_side_optics(run):
    document = json.loads(run("cost", "roft-1024", "zcube-1024", "--json")[1])
    roft, zcube = document["fabrics"]["roft-1024"], document["fabrics"]["zcube-1024"]
    assert (roft["switches"], zcube["switches"]) == (48, 32)
    for key in ("switch_usd", "optics_usd", "transceivers"):
        assert zcube[key] * 3 == roft[key] * 2
    assert zcube["with_nic_side"]["optics_usd"] * 4 == roft["with_nic_side"]["optics_usd"] * 3
    assert "native ports" in document["counting_rule"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "no-such-scenario"], ["no-such-scenario", "no such file", "glm51-pd-1024"]),
        (["compare", "--set", "load.rat=3"], ["load.rat", "unknown key"]),
        (["compare", "--set", "load.rate_per_s=-1"], ["load.rate_per_s", "-1", "greater than 0"]),
        (["compare", "--fabric", "roft-256"], ["roft-256", "256", "1024"]),
        (["compare", "--fabric", "nowhere"], ["nowhere", "roft-1024"]),
        (["compare", "--price-book", "none"], ["none", "mixnet-2025"]),
        (["compare", "--set", "load.rate_per_s=-1", "--set", "seed=-3", "--set", "kv.x=1"], ["rate_per_s", "seed", "kv.x"]),
        (["compare", "--set", "load"], ["--set", "KEY=VALUE"]),
        (["cost", "roft-1024", "roft-1024"], ["roft-1024", "once"]),
        (["fabric", "show", "zcube-77"], ["zcube-77", "zcube-n64"]),
        (["compare", "--requests", "x" * 400], ["x" * 60, "no such file"]),
        (["compare", "--fabric", "x" * 400], ["x" * 60, "no such file"]),
        (["compare", "--no-such-option"], ["--no-such-option"]),
        (["plot"], ["plot"]),
    ],
)  # fmt: skip
def test_bad_input_exits_2_and_names_everything(run, arguments, words):
    # Else processes that are not needed would be started before a fault is found.
    jobs = ("--jobs", "1") if arguments[0] == "compare" else ()
    status, out, err = run(*arguments, *jobs)
    assert status == 2
    assert out == ""
    for word in words:
        assert word in err
    assert "Traceback" not in err


def test_broken_trace_line_is_named(run, tmp_path):
    good = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}\n'
    trace = tmp_path / "trace.jsonl"
    trace.write_text(good * 16 + '{"timestamp": 0, "input_length": -4}\n' + good)
    status, _, err = run("compare", "glm51-pd-1024", "--requests", trace)
    assert status == 2
    assert "line 17" in err
    assert "-4" in err


def test_output_folder_of_somebody_else_is_refused(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    status, _, err = run("compare", "glm51-pd-1024", *SMALL, "--out", tmp_path / "mine")
    assert status == 2
    assert "run.json" in err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_new_folder_runs_and_is_not_overwritten(run, tmp_path):
    assert run("new", tmp_path / "cluster")[0] == 0
    status, out, err = run("compare", tmp_path / "cluster" / "scenario.toml", *SMALL, "--json")
    assert status == 0, err
    assert set(json.loads(out)["fabrics"]) == {"roft-1024", "zcube-1024"}
    assert run("new", tmp_path / "cluster")[0] == 2


@pytest.mark.parametrize(
    ("number", "times", "status", "word"),
    [(signal.SIGINT, 1, 130, "interrupted"), (signal.SIGINT, 4, 130, "interrupted"), (signal.SIGTERM, 1, 143, "terminated")],
)
def test_interrupt_leaves_nothing_behind(tmp_path, number, times, status, word):
    command = [sys.executable, "-m", "zcube", "compare", "--out", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(3.0)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.05 * (times > 1))
        _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err and word in err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_modules_are_loaded_is_an_interrupt_too(run, monkeypatch):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "zcube.cli.app", Interrupted())
    assert run("compare") == (130, "", "interrupted\n")


def test_human_output_in_a_pipe_has_no_colour_and_talk_goes_to_stderr(run, tmp_path):
    status, out, err = run("compare", "glm51-pd-1024", *SMALL, "--out", tmp_path / "run")
    assert status == 0
    assert "\x1b" not in out + err
    assert "roft-1024" in out and "zcube-1024" in out
    assert "written" in err and "written" not in out


def test_an_interrupt_inside_code_made_from_text_ends_with_the_same_status(tmp_path):
    """As inside a dataclass that is being made: CPython then ends by the signal, unless it has run other such code since."""
    (tmp_path / "interrupted.py").write_text(
        "import sys, types\n"
        "from zcube.cli import main\n"
        "module = types.ModuleType('zcube.cli.app')\n"
        "module.__getattr__ = lambda name: exec('raise KeyboardInterrupt')\n"
        "sys.modules['zcube.cli.app'] = module\n"
        "main(['compare'])\n"
    )
    found_in = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    call = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(call, env={**os.environ, "PYTHONPATH": found_in}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_help_is_quick():
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "zcube", "--help"], capture_output=True, text=True, check=True)
    assert "compare" in done.stdout
    # 0.3 s on an idle machine; the bound leaves room for a loaded one.
    assert time.perf_counter() - started < 1.5


def test_a_failed_fabric_is_compared_and_one_that_cuts_gpus_off_is_a_result_with_a_reason(run, tmp_path):
    fabrics = ["--fabric", "roft-1024", "--fabric", "zcube-1024@switch:A3,link:A0-B5#0"]
    status, out, err = run("compare", "glm51-pd-1024", *SMALL, *fabrics, "--json")
    assert status == 0, err
    failed = json.loads(out)["fabrics"]["zcube-1024@switch:A3,link:A0-B5#0"]
    assert failed["requests"]["completed"] == 40
    assert all("A3" not in (link["from"], link["to"]) for link in failed["congestion"]["hot_links"])
    assert run("compare", "glm51-pd-1024", *SMALL, *fabrics, "--out", tmp_path / "run")[0] == 0
    cut = "zcube-1024@" + ",".join(f"nic:s{server}g0" for server in range(96))
    for rule, kind in (("nvlink-relay", "completed"), ("none", "failed")):
        words = ("--fabric", cut, "--set", f"network.fall_back={rule}", "--json")
        status, out, err = run("compare", "glm51-pd-1024", *SMALL, *words)
        assert status == 0 and "Traceback" not in err
        (found,) = json.loads(out)["fabrics"].values()
        assert found["requests"][kind] == found["requests"]["offered"] == 40
    assert found["reachability"]["first_without_path"][0]["from"] == "s0g0"
    assert "no path" in found["failure"]


def test_ctrl_c_while_the_command_line_is_loaded_ends_it_without_a_traceback():
    """SIGINT at the first look for zcube.cli, before the command line can hear of it."""
    code = (
        "import os, signal, sys\n"
        "class Presses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'zcube.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Presses())\n"
        "from zcube.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
