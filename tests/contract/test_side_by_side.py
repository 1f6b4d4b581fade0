"""Runs in several processes: what comes of them is what comes of one, and no process is left, hangs or fails unnamed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from side_by_side_tasks import began_and_ended, end, end_while_answering, fail_from_two_on, square, tell_often

import zcube as zc
from zcube import side_by_side
from zcube.errors import InputError, RunError
from zcube.outputs import to_json
from zcube.progress import TogetherDone
from zcube.run_time import runs_side_by_side
from zcube.scenario import load_scenario
from zcube.side_by_side import SideBySide, jobs_for

SMALL: dict[str, Any] = {"fabrics": ["roft-256", "zcube-256"], "baseline": None, "requests.count": 60}


def nothing(number: int, share: float) -> None:
    pass


@pytest.fixture(scope="module")
def beside() -> Iterator[SideBySide]:
    with SideBySide(2, "zcube.errors") as both:
        yield both


def test_results_come_in_the_order_of_the_tasks_which_are_made_when_their_turn_is_near(beside: SideBySide) -> None:
    made = []

    def tasks() -> Iterator[int]:
        for number in range(12):
            made.append(number)
            yield number

    results = beside.in_order(square, tasks(), nothing)
    assert next(results) == 0 and len(made) <= 2 * beside.jobs
    assert list(results) == [number * number for number in range(1, 12)]


def test_the_fault_told_is_that_of_the_first_task_that_fails_though_others_fail_before(beside: SideBySide) -> None:
    told = []
    for jobs in (beside, SideBySide(1)):
        results = jobs.in_order(fail_from_two_on, range(5), nothing)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(InputError) as raised:
            next(results)
        told.append(raised.value.faults)
    assert told[0] == told[1] and told[0][0].where == "task 2" and len(told[0]) == 2


def test_runs_that_do_not_fit_in_memory_together_follow_each_other() -> None:
    with SideBySide(2, "zcube.errors", memory_gb=1.0) as both:
        spans = list(both.in_order(began_and_ended, [0.6e9, 0.6e9, 0.3e9, 5e9], nothing, lambda bytes_: bytes_))
    assert spans[0][1] <= spans[1][0], "0.6 and 0.6 GB of 1 GB"
    assert spans[2][0] < spans[1][1], "0.6 and 0.3 GB of 1 GB"
    assert spans[3][0] >= max(spans[1][1], spans[2][1]), "more than there is, by itself"


def test_a_killed_process_is_told_of_at_once_and_the_others_are_gone() -> None:
    began_s = time.monotonic()
    with pytest.raises(RunError, match=r"\(2\) by signal 9.*memory.*--jobs 1"), SideBySide(2, "zcube.errors") as both:
        list(both.in_order(end, [0, 1], nothing))
    assert time.monotonic() - began_s < 50
    assert not any(process.is_alive() for process in both._context.started)


@pytest.mark.skipif(not Path("/proc/self/syscall").is_file(), reason="looks at what a thread waits for in /proc")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_killed_in_the_middle_of_its_answer_is_told_of(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "can_be_copied", lambda: method == "fork")
    began_s = time.monotonic()
    with pytest.raises(RunError, match=r"by signal 9"), SideBySide(2, "zcube.errors") as both:
        list(both.in_order(end_while_answering, [1, 0, 1, 1], nothing))
    assert time.monotonic() - began_s < 50
    assert not any(process.is_alive() for process in both._context.started)


@pytest.mark.skipif(not Path("/proc/self/syscall").is_file(), reason="looks at what a thread waits for in /proc")
def test_an_interrupt_in_the_middle_of_an_answer_ends_the_others() -> None:
    with pytest.raises(KeyboardInterrupt), SideBySide(2, "zcube.errors") as both:
        both._copy()
        assert both._pool is not None
        future = both._submit(end_while_answering, 0, lambda share: None, 0.0).answer
        while not any(process.exitcode for process in both._context.started):
            time.sleep(0.01)
        assert not future.done()
        raise KeyboardInterrupt
    assert not any(process.is_alive() for process in both._context.started)


def test_what_is_told_of_runs_reaches_the_one_who_asked_and_each_run_ends_at_1(beside: SideBySide) -> None:
    told: dict[int, list[float]] = {0: [], 1: []}
    processes = set(beside.in_order(tell_often, [0, 1], lambda number, share: told[number].append(share)))
    assert os.getpid() not in processes
    for shares in told.values():
        assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) >= 3


def test_an_interrupt_reaches_this_process_alone_and_ends_the_others() -> None:
    with pytest.raises(KeyboardInterrupt), SideBySide(2, "zcube.errors") as both:
        list(both.in_order(square, range(4), nothing))
        for process in both._context.started:
            os.kill(process.pid or 0, signal.SIGINT)
        assert list(both.in_order(square, range(4), nothing)) == [0, 1, 4, 9]
        raise KeyboardInterrupt
    assert not any(process.is_alive() for process in both._context.started)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_interrupt_while_processes_start_is_raised_and_ends_them(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def interrupted(anew: bool) -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr(side_by_side, "undisturbed", interrupted)
    monkeypatch.setattr(side_by_side, "can_be_copied", lambda: method == "fork")
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), SideBySide(2, "zcube.errors") as both:
        list(both.in_order(square, range(2), nothing))
    assert set(multiprocessing.active_children()) <= before


COPIED = """
import signal, threading, side_by_side_tasks as tasks
from zcube.side_by_side import SideBySide
signal.signal(signal.SIGTERM, lambda number, frame: None)
tasks.MADE[0] = "copied"
end = threading.Event()
for thread in (None, threading.Thread(target=end.wait)):
    with SideBySide(2, "zcube.errors") as both:
        _ = thread and thread.start()
        print(*both.in_order(tasks.made, range(2), lambda number, share: None))
end.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no process is copied elsewhere")
def test_processes_are_copies_while_there_is_one_thread_and_else_started_anew() -> None:
    folders = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": folders}
    said = subprocess.run([sys.executable, "-c", COPIED], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["('copied', True) ('copied', True)", "('anew', True) ('anew', True)"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_no_interrupt_reaches_the_first_process_either() -> None:
    shown = "print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    lines = [
        "import signal",
        "from multiprocessing import get_context",
        "from zcube.side_by_side import undisturbed",
        "with undisturbed(True):",
        "    process = get_context('spawn').Process(target=int)",
        "    process.start()",
        f"    {shown}",
        "process.join()",
        shown,
    ]
    done = subprocess.run([sys.executable, "-P", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_several_runs_are_told_as_one_piece_of_work() -> None:
    told: list[tuple[str, float, float, str]] = []
    together = TogetherDone(lambda *event: told.append(event), "simulating", 6)
    for run in range(6):
        together.name(run, "abcdef"[run])
    for run, share in ((0, 0.0), (0, 0.5), (1, 0.0), (0, 0.25), (0, 1.0), (1, 1.0), (1, 0.5)):
        together(run, share)
    for run in (2, 3, 4, 5):
        together(run, 0.0)
    assert [(phase, done) for phase, done, *_ in told] == [
        ("simulating a", 0.0),
        ("simulating a", 0.5),
        ("simulating a; b", 0.5),
        ("simulating b", 1.0),
        ("simulating b", 2.0),
        ("simulating c", 2.0),
        ("simulating c; d", 2.0),
        ("simulating c; d; e", 2.0),
        ("simulating c; d; e; 1 more", 2.0),
    ]
    assert {(total, unit) for *_, total, unit in told} == {(6, "%")}


@pytest.mark.parametrize(
    ("asked", "runs", "run_s", "jobs"),
    [
        (None, 8, 10.0, 4),
        (None, 3, 10.0, 3),
        (None, 1, 1e9, 1),
        (None, 0, 1e9, 1),
        (3, 0, 0.0, 1),
        (None, 2, 0.5, 1),
        (None, 40, 0.1, 4),
        (7, 3, 0.0, 3),
        (1, 8, 1e9, 1),
    ],
)
def test_as_many_as_processors_where_they_save_more_than_they_take(
    asked: int | None, runs: int, run_s: float, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "processors", lambda: 4)
    assert jobs_for(asked, runs, run_s) == jobs
    monkeypatch.setattr(side_by_side, "processors", lambda: 1)
    assert asked is not None or jobs_for(asked, runs, run_s) == 1


def test_shorter_runs_pay_where_processes_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "processors", lambda: 4)
    for is_copied, jobs in ((False, 1), (True, 2)):
        monkeypatch.setattr(side_by_side, "can_be_copied", lambda is_copied=is_copied: is_copied)
        assert jobs_for(None, 2, 0.5) == jobs
        assert jobs_for(None, 2, 0.2) == 1


def test_a_short_comparison_starts_no_process_and_a_long_one_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[int] = []

    def note(self: SideBySide, jobs: int, preload: str, memory_gb: float | None) -> None:
        started.append(jobs)

    monkeypatch.setattr(side_by_side, "processors", lambda: 2)
    monkeypatch.setattr(SideBySide, "__init__", note)
    trace = tmp_path / "trace.jsonl"
    for changes in (
        SMALL,
        {"requests.count": 20_000},
        {**SMALL, "fabrics": ["roft-256"], "requests.count": 20_000},
        {**SMALL, "network.fidelity": "packet", "requests.count": 200},
        {**SMALL, "requests.source": str(trace), "requests.count": None},
    ):
        trace.write_text("x" * 1000)
        runs_side_by_side(load_scenario("glm51-pd-256", changes), None)
    assert started == [1, 2, 1, 2, 1]


# What comes of a comparison.


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_file_of_a_comparison_is_the_same_to_the_byte(
    jobs: int, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    written = []
    for number in (1, jobs):
        trace, folder = tmp_path / f"{number}.parquet", tmp_path / f"{number}"
        words = ["glm51-pd-256", "--seeds", "2", "--set", "requests.count=60", "--set", "slo.ttft_s=2"]
        words += [
            "--fabric",
            "roft-256@random-links:0.02",
            "--fabric",
            "zcube-256",
            "--fabric",
            "zcube-256@random-switches:0.02",
        ]
        words += ["--trace-out", str(trace), "--out", str(folder)]
        status, shown, _ = run("compare", *words, "--jobs", number)
        assert status == 0
        record = json.loads((folder / "run.json").read_text())
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}
        written.append((shown, trace.read_bytes(), files, record["scenario"], record["seed"]))
    assert len(written[0][2]) > 8
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"network.fidelity": "packet", "network.packet.cell_bytes": 65536, "requests.count": 8},
        pytest.param({"network.fidelity": "ideal", "load.mode": "closed", "load.concurrency": 20}, marks=pytest.mark.slow),
        pytest.param({"network.zcube-256.nic_gbps": 40.0, "load.horizon_s": 4.0}, marks=pytest.mark.slow),
        {"decode.nodes": 4, "decode.nodes_per_instance": 2, "requests.count": 10},
    ],
    ids=["packet", "ideal, closed loop", "a cap and a horizon", "experts over decode nodes"],
)
def test_documents_and_tables_are_the_same(changes: dict[str, Any]) -> None:
    one, two = (zc.compare("glm51-pd-256", {**SMALL, **changes}, jobs=jobs) for jobs in (1, 2))
    assert to_json(one.document()) == to_json(two.document())
    pd.testing.assert_frame_equal(one.requests(), two.requests(), check_exact=True)
    pd.testing.assert_frame_equal(one.links(), two.links(), check_exact=True)


def test_searches_come_to_the_same_and_share_their_runs() -> None:
    changes = {**SMALL, "slo.ttft_s": 2.0, "measure.least_requests": 1, "measure.least_turnovers": 0.0}
    asked: dict[str, Any] = {"find_knee": {"max_loads": 3}, "find_capacity": {"max_loads": 3}}
    said: list[list[str]] = [[], []]
    one, two = (
        zc.compare("glm51-pd-256", changes, jobs=jobs, progress=lambda phase, *_, lines=lines: lines.append(phase), **asked)
        for jobs, lines in zip((1, 2), said, strict=True)
    )
    assert to_json(one.document()) == to_json(two.document())
    others = [sorted(phase for phase in lines if phase.startswith("other loads")) for lines in said]
    assert others[0] == others[1] and len(set(others[0])) > 2


@pytest.mark.slow
def test_a_plan_that_simulates_comes_to_the_same(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    scenario = tmp_path / "short.toml"
    words = ("--gpus", 256, "--nic", 400, "--switch", "25.6T", "--families", "zcube,spine-leaf")
    (source,) = [load_scenario("glm51-pd-256", {"requests.count": 40, "gpus": None})]
    scenario.write_text(_toml(source.model_dump(mode="json", exclude_unset=True)))
    plans = [run("plan", *words, "--scenario", scenario, "--json", "--jobs", jobs) for jobs in (1, 2)]
    assert plans[0][:2] == plans[1][:2]
    assert sum(one["simulation"] is not None for one in json.loads(plans[0][1])["fabrics"].values()) > 1


def test_degraded_fabrics_come_to_the_same(run: Callable[..., tuple[int, str, str]]) -> None:
    fabrics = ("zcube-256@switch:A0", "roft-256@random-links:0.05", "zcube-256@nic:s0g0")
    told = [run("fabric", "degrade", *fabrics, "--json", "--jobs", jobs) for jobs in (1, 2)]
    assert told[0][:2] == told[1][:2] and told[0][0] == 0


#: A verb whose first process to begin the run of a fabric of the family zcube is killed in it.
KILLED = """
import sys, side_by_side_tasks
import {module} as verb
from zcube.cli import main
verb.{work} = side_by_side_tasks.killed_on_zcube
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("module", "work", "words", "run"),
    [
        ("zcube.network.degradation", "_degraded", "fabric degrade roft-256 zcube-256@switch:A0", "zcube-256@switch:A0"),
        pytest.param(
            "zcube.comparison", "run_fabric", "compare glm51-pd-256 --seeds 1 --out out", "zcube-256, fabric 2 of 3",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["degrade", "compare"],
)  # fmt: skip
def test_a_killed_process_ends_its_verb_which_names_the_run(
    module: str, work: str, words: str, run: str, tmp_path: Path
) -> None:
    code = KILLED.format(module=module, work=work)
    folders = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words.split(), "--jobs", "2"], cwd=tmp_path, capture_output=True, text=True,
        timeout=50, check=False, env={**os.environ, "PYTHONPATH": folders},
    )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1 and not done.stdout, done.stderr
    assert f"its run ({run}) by signal 9" in errors[0] and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interrupted_or_killed_comparison(sent: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a file of the present folder was taken for a module')\n")
    words = ["compare", "glm51-pd-256", "--jobs", "2", "--set", "requests.count=20000", "--out", "out"]
    main = "import sys; sys.path.remove('') if '' in sys.path else None; from zcube.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", main, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("simulating") and ";" in line:
            break
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
        assert process.stderr.read().splitlines()[-1] == "interrupted" and process.wait(60) == 130
    else:
        process.send_signal(sent)
        process.wait(60)
    assert not (tmp_path / "out").exists() and "Traceback" not in "".join(said)
    until_s = time.monotonic() + 60
    while _group_lives(process.pid) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert not _group_lives(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no process that its parent has ended")
def test_a_process_in_a_long_kernel_does_not_outlive_the_one_that_started_it(tmp_path: Path) -> None:
    code = (
        "from side_by_side_tasks import hold_python; from zcube.side_by_side import SideBySide\n"
        "def told(number, share): print('begun', flush=True)\n"
        "if __name__ == '__main__':\n"
        "    with SideBySide(2, 'zcube.errors') as both: list(both.in_order(hold_python, [90, 90], told))\n"
    )
    (tmp_path / "long.py").write_text(code)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "long.py"], cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait()
    until_s = time.monotonic() + 30
    while _group_lives(process.pid) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert not _group_lives(process.pid)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _toml(keys: dict[str, Any], under: str = "") -> str:
    from zcube.inputs import toml_value

    plain = {key: value for key, value in keys.items() if not isinstance(value, dict) and value is not None}
    tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
    text = "".join(f"{key} = {toml_value(value)}\n" for key, value in plain.items())
    return text + "".join(f"[{under}{key}]\n{_toml(value, f'{under}{key}.')}" for key, value in tables.items())


def test_a_process_whose_threads_nobody_can_count_is_not_copied(monkeypatch):
    """As in a change of root without /proc."""

    def unlisted(path):
        raise FileNotFoundError(str(path))

    monkeypatch.setattr(Path, "iterdir", unlisted)
    assert not side_by_side.can_be_copied()
