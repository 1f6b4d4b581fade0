"""What is started to measure: command lines, environments, and a child that fails, hangs, lies or is interrupted."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest

import zcube
from zcube.calibrate.measure.drivers import WORKER, nccl_tests_calls, path_environment, size_runs, torch_call
from zcube.calibrate.measure.hardware import Machine, look
from zcube.calibrate.measure.run import measure
from zcube.calibrate.measure.settings import MeasureSettings, doubling, parse_sizes
from zcube.calibrate.measure.transports import parse_transports, path_class
from zcube.calibrate.measurements import read_measurements
from zcube.errors import InputError, RunError
from zcube.inputs import validate

#: Where the ranks import the package from: the checkout, or the environment it is installed in.
PROJECT = Path(zcube.__file__).resolve().parents[1]
BASE = {"PATH": "/usr/bin", "NCCL_NVLS_ENABLE": "0"}
GPU = {"name": "NVIDIA H200", "driver": "580.1"}
TORCH = {"torch": "2.11.0", "cuda": "13.0", "gpus": 2, "distributed": True, "nccl": [2, 28, 9]}
MACHINE = Machine((GPU, GPU), 3600.0, (18, 18), {"GPU0-GPU1": "NV18"}, (), TORCH, (), False)


def settings(**changes):
    return validate(MeasureSettings, changes, "settings")


def flags(command):
    """Return each option of a command line with what follows it."""
    return {name: given for name, given in pairwise(command) if name.startswith("-")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nvlink", {}),
        ("shared-memory", {"NCCL_P2P_DISABLE": "1"}),
        ("socket", {"NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1", "NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1"}),
        ("network", {"NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1"}),
    ],
)
def test_each_path_mode_sets_its_variables_and_no_other(path, expected, tmp_path):
    assert path_environment(settings(path=path), BASE) == BASE | expected
    with_log = path_environment(settings(path=path), BASE, tmp_path)
    assert {name for name in with_log if name not in BASE | expected} == {"NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"}


@pytest.mark.parametrize("path", ["nvlink", "shared-memory", "socket", "network"])
def test_nvls_is_the_users(path, tmp_path):
    assert path_environment(settings(path=path), BASE, tmp_path)["NCCL_NVLS_ENABLE"] == "0"
    assert "NCCL_NVLS_ENABLE" not in path_environment(settings(path=path), {}, tmp_path)


def test_a_log_that_the_user_asked_for_is_left_alone(tmp_path):
    base = BASE | {"NCCL_DEBUG": "WARN"}
    assert path_environment(settings(), base, tmp_path) == base


def test_several_hosts_keep_their_own_paths_inside_a_host():
    several = settings(path="network", nodes=2, ranks=(16,), master="node0:29500")
    assert path_environment(several, BASE) == BASE
    assert several.plan(Path("r"))["ranks_per_host_id"] == 0


@pytest.mark.parametrize(("path", "split"), [("nvlink", 0), ("shared-memory", 0), ("socket", 1), ("network", 1)])
def test_host_identifiers_are_split_only_where_the_network_is_wanted(path, split):
    assert settings(path=path).plan(Path("result"))["ranks_per_host_id"] == split


def test_torchrun_on_one_host():
    call = torch_call(settings(ranks=(4,)), 4, Path("/plan.json"), BASE, 29555)
    assert call.command[:3] == (sys.executable, "-m", "torch.distributed.run")
    assert call.command[-3:] == ("-m", WORKER, "/plan.json")
    given = flags(call.command)
    assert (given["--nproc-per-node"], given["--nnodes"]) == ("4", "1")
    assert (given["--master-addr"], given["--master-port"]) == ("127.0.0.1", "29555")
    assert call.environment["PYTHONPATH"].split(os.pathsep)[0] == str(PROJECT)


def test_torchrun_on_each_of_several_hosts():
    several = settings(path="network", nodes=2, node_rank=1, ranks=(16,), master="node0:29500")
    given = flags(torch_call(several, 16, Path("p"), BASE, 1).command)
    assert (given["--nproc-per-node"], given["--nnodes"], given["--node-rank"]) == ("8", "2", "1")
    assert (given["--master-addr"], given["--master-port"]) == ("node0", "29500")


def test_mpirun_passes_the_variables_on():
    several = settings(path="network", nodes=2, ranks=(16,), hosts="node0:8,node1:8")
    call = torch_call(several, 16, Path("p"), BASE, 29501)
    assert call.command[0] == "mpirun"
    assert flags(call.command)["--host"] == "node0:8,node1:8"
    assert flags(call.command)["-np"] == "16"
    passed = {name for option, name in pairwise(call.command) if option == "-x"}
    assert {"NCCL_NVLS_ENABLE", "MASTER_ADDR", "MASTER_PORT", "PYTHONPATH"} <= passed
    assert (call.environment["MASTER_ADDR"], call.environment["MASTER_PORT"]) == ("node0", "29501")


def test_nccl_tests_on_one_host(tmp_path):
    wanted = settings(operations=("all-to-all", "send-receive"), sizes_bytes=doubling(1024, 1 << 20), dtypes=("float32",))
    calls = nccl_tests_calls(wanted, 2, tmp_path, BASE)
    assert [Path(call.command[0]).name for _, _, call in calls] == ["alltoall_perf", "sendrecv_perf"]
    for _, output, call in calls:
        given = flags(call.command)
        assert {key: given[key] for key in ("-b", "-e", "-f", "-d", "-c", "-g", "-J")} == {
            "-b": "1024", "-e": "1048576", "-f": "2", "-d": "float", "-c": "1", "-g": "2", "-J": str(output),
        }  # fmt: skip


def test_nccl_tests_over_sockets_gives_each_rank_its_own_host(tmp_path):
    wanted = settings(operations=("all-to-all",), sizes_bytes=(1024,), path="socket")
    ((_, _, call),) = nccl_tests_calls(wanted, 2, tmp_path, BASE)
    assert call.command[0] == "mpirun"
    assert [word for word in call.command if word.startswith("NCCL_HOSTID=")] == ["NCCL_HOSTID=zcube-0", "NCCL_HOSTID=zcube-1"]
    assert call.command.count("alltoall_perf") == 2


def test_sizes_that_double_make_one_call():
    assert size_runs((1, 2, 4, 6, 12, 100)) == [(1, 4), (6, 12), (100, 100)]


def test_sizes_in_words():
    assert parse_sizes("1K-8KiB,1m,3000") == (1024, 2048, 3000, 4096, 8192, 1 << 20)
    with pytest.raises(InputError) as error:
        parse_sizes("1K,many,-3,1T")
    assert len(error.value.faults) == 3
    with pytest.raises(InputError):
        parse_sizes("2K-1K")


def test_every_fault_of_the_settings_is_named():
    with pytest.raises(InputError) as error:
        settings(operations=("alltoal",), dtypes=("int3",), ranks=(1,), nodes=2, node_rank=2, sizes_bytes=(0,), patterns=("x",))
    text = str(error.value)
    assert all(part in text for part in ("alltoal", "int3", "ranks", "master", "node_rank", "sizes_bytes", "'x'"))


def test_transports_are_read_from_nccls_log():
    log = (
        "node1:42:43 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM\n"
        "node1:42:43 [0] NCCL INFO Channel 01/0 : 0[0] -> 1[1] via P2P/CUMEM/read\n"
        "node1:42:43 [0] NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA\n"
        "node1:42:43 [0] NCCL INFO Channel 00 : 0[0] -> 1[1] via SHM/direct/direct\n"
        "node1:42:43 [0] NCCL INFO Connected all rings\n"
    )
    assert parse_transports(log) == {"P2P/CUMEM": 1, "P2P/CUMEM/read": 1, "NET/IB/0/GDRDMA": 1, "SHM/direct/direct": 1}


@pytest.mark.parametrize(
    ("seen", "nvlink", "path"),
    [
        ({"P2P/CUMEM": 4}, True, "nvlink"),
        ({"P2P/CUMEM": 4}, None, "nvlink"),
        ({"P2P/direct pointer": 4}, False, "unspecified"),
        ({"SHM/direct/direct": 4}, True, "shared-memory"),
        ({"NET/Socket/0": 4, "SHM/direct/direct": 4}, True, "socket"),
        ({"NET/IB/0/GDRDMA": 4, "P2P/CUMEM": 8}, True, "same-leaf"),
        ({}, True, None),
    ],
)
def test_the_rows_path_is_the_one_taken(seen, nvlink, path):
    assert path_class(seen, nvlink, "same-leaf") == path


def test_the_ranks_need_nothing_but_the_standard_library():
    """The ranks may run under another Python, one that has PyTorch and none of zcube's dependencies."""
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); import zcube.calibrate.measure.worker\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in names if not name.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['zcube']"


# A stand-in for Python with torchrun: an executable that gets the plan as its last argument.


def stand_in(folder, body):
    script = folder / "python-with-torch"
    script.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\nplan = json.load(open(sys.argv[-1]))\n{body}\n")
    script.chmod(0o755)
    return script


ROW = {
    "operation": "all-to-all", "pattern": "", "ranks": 2, "size_bytes": 1024, "dtype": "bfloat16", "time_s": 1e-5,
    "p10_s": 9e-6, "p90_s": 2e-5, "min_s": 8e-6, "repetitions": 9, "batch": 32, "launch_hidden": 1.0,
    "in_place": False, "correct": True,
}  # fmt: skip
RESULT = {
    "rows": [ROW],
    "matrices": [{"pattern": "pairs", "size_bytes": 1024, "gbps": [[None, 5.0], [6.0, None]], "correct": True}],
    "notes": [],
    "facts": {"torch": "2.11.0", "nccl": "2.28.9"},
}


def answer(result):
    """Return the body of a stand-in that says which way NCCL took and writes a result."""
    return (
        "log = os.environ['NCCL_DEBUG_FILE'].replace('%h', 'secret-host').replace('%p', '1')\n"
        "open(log, 'w').write('secret-host:1:1 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM\\n')\n"
        "print('zcube: halfway', file=sys.stderr)\n"
        f"json.dump(json.loads({json.dumps(result)!r}), open(plan['result'], 'w'))"
    )


def test_a_run_is_written_and_read_back(tmp_path):
    out, lines = tmp_path / "out.json", []
    measure(settings(python=stand_in(tmp_path, answer(RESULT)), ranks=(2,)), out, lines.append, MACHINE)
    found = read_measurements(out)
    row = next(found.rows())
    assert (row.operation, row.path, row.time_s, row.correct) == ("all-to-all", "nvlink", 1e-5, True)
    assert found.matrices[0].gbps[1, 0] == 6.0
    assert found.metadata.hardware == "2x NVIDIA H200"
    assert found.metadata.nccl_version == "2.28.9"
    assert found.metadata.details["2_ranks"]["transports"] == {"P2P/CUMEM": 1}
    assert "halfway" in lines
    text = out.read_text()
    assert "secret-host" not in text
    assert str(tmp_path) not in text


def test_rows_say_the_path_that_was_taken_not_the_one_asked_for(tmp_path):
    lines = []
    wanted = settings(python=stand_in(tmp_path, answer(RESULT)), ranks=(2,), path="socket")
    found = measure(wanted, tmp_path / "out.json", lines.append, MACHINE)
    assert set(found.path) == {"nvlink"}
    assert any("socket was asked for" in line for line in lines)


def test_several_rank_counts_make_one_file(tmp_path):
    wanted = settings(python=stand_in(tmp_path, answer(RESULT)), ranks=(2, 2))
    assert len(measure(wanted, tmp_path / "out.json", lambda line: None, MACHINE)) == 2


def test_wrong_data_is_marked_and_fails_the_run(tmp_path):
    out = tmp_path / "out.json"
    result = RESULT | {"rows": [ROW, ROW | {"operation": "all-gather", "correct": False}]}
    with pytest.raises(RunError, match="all-gather"):
        measure(settings(python=stand_in(tmp_path, answer(result)), ranks=(2,)), out, lambda line: None, MACHINE)
    assert [row.correct for row in read_measurements(out).rows()] == [True, False]


def test_a_scratch_file_that_cannot_be_removed_costs_no_measurement(tmp_path, monkeypatch):
    """A disk that fails as the scratch folder goes has done so after the ranks have ended: the file is written."""
    unlink = os.unlink

    def failing(path, *args, **kwargs):
        if "plan.json" in os.fspath(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return unlink(path, *args, **kwargs)

    out = tmp_path / "out.json"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "unlink", failing)
    measure(settings(python=stand_in(tmp_path, answer(RESULT)), ranks=(2,)), out, lambda line: None, MACHINE)
    assert len(read_measurements(out)) == len(RESULT["rows"])
    assert list(tmp_path.glob("zcube-calibrate-*/plan.json")), "the fault was met"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([], "rows: found nothing"),
        (RESULT | {"rows": {}}, "rows: found dict; expected list"),
        (RESULT | {"rows": [{**ROW, "time_s": "soon"}, {"operation": "all-gather"}]}, "row 1: time_s: found 'soon'"),
        (RESULT | {"rows": [ROW | {"time_s": -1.0}]}, "row 1: time_s: found -1"),
        (RESULT | {"rows": [3]}, "row 1: found a JSON int"),
        (RESULT | {"matrices": [{"pattern": "pairs", "size_bytes": 1024, "gbps": [[None]] * 2}]}, "matrix 1: gbps"),
    ],
)
def test_what_the_ranks_hand_back_is_not_believed(tmp_path, result, said):
    out = tmp_path / "out.json"
    with pytest.raises(RunError, match=said):
        measure(settings(python=stand_in(tmp_path, answer(result)), ranks=(2,)), out, lambda line: None, MACHINE)
    assert not out.exists()


def test_sums_that_nobody_checked_are_not_right(tmp_path):
    unchecked = {key: value for key, value in ROW.items() if key != "correct"}
    wanted = settings(python=stand_in(tmp_path, answer(RESULT | {"rows": [unchecked]})), ranks=(2,))
    with pytest.raises(RunError, match="wrong data was received"):
        measure(wanted, tmp_path / "out.json", lambda line: None, MACHINE)


def test_a_rank_that_is_missing_is_told_and_nothing_written(tmp_path):
    out = tmp_path / "out.json"
    result = RESULT | {"rows": [ROW, ROW | {"ranks": 1}]}
    with pytest.raises(RunError, match="among 1 ranks, and 2 were asked for"):
        measure(settings(python=stand_in(tmp_path, answer(result)), ranks=(2,)), out, lambda line: None, MACHINE)
    assert not out.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("print('out of luck'); sys.exit(3)", "out of luck"),
        ("open(plan['result'], 'w').write('{\"rows\": [')", "without a result"),
        ("pass", "without a result"),
        ("time.sleep(60)", "killed after"),
    ],
)
def test_a_failed_child_leaves_the_earlier_file(tmp_path, body, message):
    out = tmp_path / "out.json"
    out.write_text("earlier")
    wanted = settings(python=stand_in(tmp_path, body), ranks=(2,), timeout_s=60 if "sleep" not in body else 0.4)
    with pytest.raises(RunError, match=message):
        measure(wanted, out, lambda line: None, MACHINE)
    assert out.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "python-with-torch"]


def test_an_interrupt_ends_the_ranks_and_writes_nothing(tmp_path):
    pid_file, out = tmp_path / "pid", tmp_path / "out.json"
    script = stand_in(tmp_path, f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    code = (
        "from pathlib import Path; from zcube.calibrate.measure.run import measure\n"
        "from zcube.calibrate.measure.settings import MeasureSettings; from zcube.calibrate.measure.hardware import Machine\n"
        f"machine = Machine(({GPU!r},) * 2, None, (), {{}}, (), {TORCH!r}, (), False)\n"
        f"measure(MeasureSettings(python=Path({str(script)!r}), ranks=(2,)), Path({str(out)!r}), print, machine)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert not out.exists()


def test_no_place_for_the_file_is_named_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="no place"):
        measure(settings(), tmp_path / "missing" / "out.json", lambda line: None, MACHINE)


NCCL_TESTS = """#!/bin/sh
while [ "$1" != -J ]; do shift; done
cat > "$2" <<'END'
{"version": 2, "start_time": "x", "args": ["/opt/alltoall_perf", "-b", "1024"], "env": ["NCCL_NVLS_ENABLE=0", "HOME=/secret"],
 "nccl_version": 22809, "end_time": "x",
 "config": {"iterations": 20, "nthreads": 1, "ngpus": 2,
  "devices": [{"rank": 0, "hostname": "secret", "device_info": "NVIDIA H200"}]},
 "results": [{"size": 1024, "count": 512, "type": "bfloat16", "out_of_place": {"time": 10.5, "nwrong": 0}},
  {"size": 2048, "count": 1024, "type": "bfloat16", "out_of_place": {"time": 11.5, "nwrong": 0}}]}
END
"""


def test_nccl_tests_output_becomes_the_same_file(tmp_path):
    program = tmp_path / "alltoall_perf"
    program.write_text(NCCL_TESTS)
    program.chmod(0o755)
    machine = Machine((GPU, GPU), None, (), {}, (), None, ("all-to-all",), False)
    wanted = settings(nccl_tests=tmp_path, operations=("all-to-all",), sizes_bytes=(1024, 2048), driver="nccl-tests")
    found = measure(wanted, tmp_path / "out.json", lambda line: None, machine)
    assert [(row.operation, row.ranks, row.path, row.size_bytes, row.correct) for row in found.rows()] == [
        ("all-to-all", 2, "nvlink", 1024, True),
        ("all-to-all", 2, "nvlink", 2048, True),
    ]
    assert found.time_s == pytest.approx([10.5e-6, 11.5e-6])
    assert "secret" not in (tmp_path / "out.json").read_text()


def test_wrong_sums_of_nccl_tests_fail_the_run(tmp_path):
    program = tmp_path / "alltoall_perf"
    program.write_text(NCCL_TESTS.replace('"nwrong": 0}},\n  {"size": 2048', '"nwrong": 3}},\n  {"size": 2048'))
    program.chmod(0o755)
    machine = Machine((GPU, GPU), None, (), {}, (), None, ("all-to-all",), False)
    wanted = settings(nccl_tests=tmp_path, operations=("all-to-all",), sizes_bytes=(1024, 2048), driver="nccl-tests")
    with pytest.raises(RunError, match=r"wrong data was received.*\n.*1024 B, 2 ranks"):
        measure(wanted, tmp_path / "out.json", lambda line: None, machine)
    assert [row.correct for row in read_measurements(tmp_path / "out.json").rows()] == [False, True]


# The real thing, where it is there.


def test_two_processes_over_gloo(tmp_path):
    pytest.importorskip("torch", reason="no PyTorch here")
    wanted = settings(backend="gloo", sizes_bytes=(4096,), patterns=("pairs",), pattern_sizes_bytes=(4096,), budget_s=0.01)
    found = measure(wanted, tmp_path / "out.json", lambda line: None)
    assert set(found.path) == {"gloo"}
    # One row per operation and one for one-way pairs.
    assert len(found) == len(wanted.operations) + 1
    assert (found.correct == 1).all()


def test_two_gpus_for_real(tmp_path):
    if shutil.which("nvidia-smi") is None:
        pytest.skip("needs two GPUs and PyTorch with NCCL; here is no nvidia-smi")
    wanted = settings(sizes_bytes=doubling(1024, 1 << 20), pattern_sizes_bytes=(1 << 20,), budget_s=0.05, ranks=(2,))
    machine = look(wanted)
    if len(machine.gpus) < 2 or not (machine.torch or {}).get("nccl"):
        pytest.skip(f"needs two GPUs and PyTorch with NCCL; here: {len(machine.gpus)} GPUs, PyTorch {machine.torch}")
    found = measure(wanted, tmp_path / "out.json", lambda line: None, machine)
    assert (found.correct == 1).all()
    assert {str(operation) for operation in found.operation} == set(wanted.operations)
    large = found.time_s[(found.size_bytes == 1 << 20) & (found.operation == "all-to-all")]
    # Half a megabyte each way: faster than 10 ms on any link, slower than NVLink's line rate.
    assert 1e-6 < large[0] < 1e-2
