"""Runs on a dask cluster: the same table, workers that die, clusters that are not there."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from tasks_that_end import end_at_three, late_slow_square, slow_square, square
from test_sweep import declared, same, whole  # noqa: F401

from zcube.errors import InputError
from zcube.progress import silent
from zcube.run_inputs import program_digest
from zcube.sweep import on_dask as room
from zcube.sweep.executor import Lost
from zcube.sweep.on_dask import OnDask

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module", autouse=True)
def this_program():
    """Hash the program as it is now: another test of this process may have had packages of its own on the path."""
    program_digest.cache_clear()


@pytest.fixture(scope="module")
def cluster(this_program):
    """Return the address of a scheduler with two worker processes."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as two,
    ):
        yield two.scheduler_address


@pytest.fixture
def on_dask(cluster):
    with OnDask(cluster, None, [], silent) as executor:
        yield executor


def test_two_workers_give_the_table_to_the_byte(run, tmp_path, whole, cluster):  # noqa: F811
    path, unbroken = whole
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--dask", cluster)
    assert status == 0, err
    assert same(tmp_path / "o", unbroken)


def test_a_worker_killed_in_mid_run_loses_nothing(on_dask):
    done = []
    for number, (squared, pid) in on_dask.as_done(slow_square, list(range(16)), lambda number, share: None):
        done.append((number, squared))
        if len(done) == 3:
            os.kill(pid, signal.SIGKILL)
    assert sorted(done) == [(number, number * number) for number in range(16)]


def test_short_tasks_go_to_workers_together_and_long_ones_by_themselves(on_dask, monkeypatch):
    batches, submit = [], on_dask._client.submit

    def counting(function, work, tasks, **named):
        batches.append(len(tasks))
        return submit(function, work, tasks, **named)

    monkeypatch.setattr(on_dask._client, "submit", counting)
    assert dict(on_dask.as_done(square, list(range(200)), lambda number, share: None)) == {n: n * n for n in range(200)}
    assert sum(batches) == 200 and batches[0] == 1 and max(batches) > 8 and batches[-1] < 8 and len(batches) < 40
    batches.clear()
    assert len(list(on_dask.as_done(slow_square, list(range(8)), lambda number, share: None))) == 8
    assert max(batches) <= 2


def test_a_batch_ends_with_its_time_and_what_is_left_of_it_is_done_after(on_dask, monkeypatch):
    assert len(on_dask._client.submit(room._in_turn, slow_square, [0, 1, 2, 3]).result()[0]) == 2
    monkeypatch.setattr(room, "MOST_IN_BATCH", 10_000)
    done = dict(on_dask.as_done(late_slow_square, list(range(80)), lambda number, share: None))
    assert done == {number: number * number for number in range(80)}


def test_a_task_that_ends_its_workers_is_lost_and_no_other_is(on_dask):
    done = dict(on_dask.as_done(end_at_three, list(range(8)), lambda number, share: None))
    lost = done.pop(3)
    assert isinstance(lost, Lost) and "worker" in lost.why
    assert done == {number: number * number for number in range(8) if number != 3}


def test_a_worker_with_another_program_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(room, "program_digest", lambda: str(os.getpid()))
    with pytest.raises(InputError, match="worker tcp"):
        OnDask(cluster, None, [], silent).__enter__()


def test_kernels_are_compiled_by_one_worker_of_a_host(cluster, monkeypatch, tmp_path):
    told = str(tmp_path / "compiled")

    def compile_them(groups):
        with open(told, "a") as file:  # noqa: PTH123
            file.write(f"{','.join(groups)}\n")

    monkeypatch.setattr(room, "missing_groups", lambda groups: [groups])
    monkeypatch.setattr(room, "compile_groups", compile_them)
    with OnDask(cluster, None, ["flow", "routing"], silent):
        assert (tmp_path / "compiled").read_text() == "flow,routing\n"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://", "", "127.0.0.1"])
def test_a_cluster_that_does_not_answer_is_a_fault(run, tmp_path, monkeypatch, address):
    monkeypatch.setattr(room, "ANSWER_S", 0.5)
    path = declared(tmp_path, "[[points]]\nload.concurrency = 2\n")
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--dask", address)
    assert status == 2 and "--dask" in err and "no cluster" in err and "kept:" not in err and not (tmp_path / "o").exists()


@pytest.mark.parametrize("address", ["locl", "tls://localhost:9", "tcp://host:99999"])
def test_an_address_that_cannot_be_is_refused_before_dask_has_it(run, tmp_path, monkeypatch, address):
    def connect(*given, **named):
        raise AssertionError("a client was made")

    monkeypatch.setattr("distributed.Client", connect)
    path = declared(tmp_path, "[[points]]\nload.concurrency = 2\n")
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--dask", address)
    assert status == 2 and "no cluster" in err and "Traceback" not in err and not (tmp_path / "o").exists()


def test_without_the_package_it_says_how_to_install_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    path = declared(tmp_path, "[[points]]\nload.concurrency = 2\n")
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--dask", "local")
    assert status == 2 and "pip install 'zcube[dask]'" in err
