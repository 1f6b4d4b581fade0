"""What runs in other processes answer is what they would have returned here, without a second copy of its arrays."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_tasks import FEW, MANY, Settings, Task, answer, fail, ones

from zcube import side_by_side
from zcube.run_answer import MOST_OPEN, AnswerFiles, answer_of, result_of
from zcube.side_by_side import SideBySide
from zcube.workload.block_runs import BlockRuns, KeptBlocks

needs_memory_files = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")


def nothing(number: int, share: float) -> None:
    pass


def task(numbers: int) -> Task:
    return Task(np.arange(5), Settings(3), numbers)


def refuse(name: str) -> int:
    raise OSError(12, "Cannot allocate memory")


def in_processes(
    method: str, tasks: list[Any], monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any] = answer
) -> list[Any]:
    monkeypatch.setattr(side_by_side, "can_be_copied", lambda: method == "fork")
    with SideBySide(2, "answer_tasks") as both:
        return list(both.in_order(work, tasks, nothing))


def files_in_memory() -> list[str]:
    """Return the files of answers that are open in this process."""
    with os.scandir("/proc/self/fd") as open_files:
        # Among them the one that the folder itself is read by.
        names = [str(Path(file.path).readlink()) for file in open_files if Path(file.path).is_symlink()]
    return [name for name in names if "zcube run" in name]


@pytest.mark.parametrize("numbers", [FEW, MANY])
@pytest.mark.parametrize("way", ["fork", "spawn", "no such files", "a system that refuses"])
def test_an_answer_is_what_the_run_returned(way: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "no such files":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif way == "a system that refuses":
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    tasks = [task(numbers) for _ in range(5)]
    for given, found in zip(tasks, in_processes("spawn" if way == "spawn" else "fork", tasks, monkeypatch), strict=True):
        expected = answer(given, lambda share: None)
        assert list(found) == list(expected)
        for name in list(expected)[:-1]:
            assert (found[name].dtype, found[name].shape) == (expected[name].dtype, expected[name].shape), name
            np.testing.assert_array_equal(found[name], expected[name], strict=True)
            assert found[name].flags.writeable == expected[name].flags.writeable, name
        assert found["settings"] == expected["settings"]
        # As in one process: what the task has, one array where it was one, and nothing said twice of what repeats.
        assert found["given"] is given.given and found["settings"][0] is given.settings
        assert found["again"] is found["numbers"] and found["frozen"].strides == (0, 0)
        assert found["by columns"].flags.f_contiguous
        found["numbers"][:] = 1.0


@needs_memory_files
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_no_file_is_left_whether_answers_are_taken_or_a_run_fails(taken: int) -> None:
    with SideBySide(2, "answer_tasks") as both:
        answers = both.in_order(fail, [0, 0, 0, 1, 0, 0], nothing)
        for _ in range(taken):
            next(answers)
        answers.close()
    with pytest.raises(ValueError, match="no answer"), SideBySide(2, "answer_tasks") as both:
        list(both.in_order(fail, [0, 0, 0, 1, 0, 0], nothing))
    assert files_in_memory() == []


@needs_memory_files
def test_more_answers_than_a_socket_holds_wait_for_nobody() -> None:
    with SideBySide(2, "answer_tasks") as both:
        both._copy()
        under_way = [both._submit(ones, MANY, lambda share: None, 0.0) for _ in range(400)]
        # The last is asked for first: what the others sent by then must not stand in its way.
        assert all(both._result(one).sum() == MANY for one in reversed(under_way))


@needs_memory_files
def test_few_files_are_open_however_many_answers_wait() -> None:
    with SideBySide(2, "answer_tasks") as both:
        both._copy()
        under_way = [both._submit(ones, MANY, lambda share: None, 0.0) for _ in range(MOST_OPEN + 6)]
        for one in under_way:
            one.answer.result()
        both._files.take_what_came()
        assert len(files_in_memory()) == MOST_OPEN
        assert all(both._result(one).sum() == MANY for one in under_way)


NO_ROOM = """
import os, resource, sys
from answer_tasks import MANY, ones
from zcube.errors import RunError
from zcube.side_by_side import SideBySide

def nothing(number, share):
    pass

if __name__ == "__main__":
    with SideBySide(2, "answer_tasks", memory_gb=1.0) as both:
        list(both.in_order(ones, [1, 1], nothing))
        # No number below the last is free.
        last = [os.dup(1) for _ in range(100)][-1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            list(both.in_order(ones, [MANY] * 9, nothing, lambda task: float(sys.argv[1])))
        except RunError as error:
            print(error)
"""


@needs_memory_files
@pytest.mark.parametrize("needed_bytes", ["0", "6e8"])
def test_an_answer_that_finds_no_room_among_the_open_files_is_told_of_and_not_awaited(
    needed_bytes: str, tmp_path: Path
) -> None:
    script = tmp_path / "no_room.py"
    script.write_text(NO_ROOM)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ran = subprocess.run(
        [sys.executable, script, needed_bytes],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "open files (ulimit -n)" in ran.stdout, ran.stderr


@needs_memory_files
def test_a_system_without_such_sockets_answers_by_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socketpair", lambda *kind: refuse("socketpair"))
    files = AnswerFiles()
    assert files.sends is None
    assert result_of(answer_of(np.ones(MANY), None, 1, files.sends), None, 1, files).sum() == MANY
    files.close()


@pytest.mark.parametrize(
    "one",
    [
        np.array("ab", "U5"),
        np.array(1.5, ">f8"),
        np.array([[1, 2], None], dtype=object)[0:1].reshape(()),
        np.array(1, dtype=object),
    ],
    ids=["text", "other byte order", "list", "number as an object"],
)
def test_an_array_that_repeats_what_is_no_plain_number_keeps_its_type(one: np.ndarray) -> None:
    files, array = AnswerFiles(), np.broadcast_to(one, (2, 3))
    found = result_of(answer_of(array, None, 1, files.sends), None, 1, files)
    files.close()
    assert found.dtype == array.dtype and found.strides == (0, 0) and found.tolist() == array.tolist()


def test_an_array_that_repeats_a_number_and_may_be_written_still_may() -> None:
    files, array = AnswerFiles(), np.lib.stride_tricks.as_strided(np.ones(1), (4,), (0,))
    found = result_of(answer_of(array, None, 1, files.sends), None, 1, files)
    files.close()
    assert found.flags.writeable and found.tolist() == [1.0] * 4


@dataclass(frozen=True)
class MadeAnew:
    """A task whose field is another object each time that it is asked for."""

    blocks: Any = KeptBlocks()  # noqa: RUF009


def test_what_a_task_makes_anew_is_not_taken_for_what_has_its_place_later() -> None:
    files, runs = AnswerFiles(), BlockRuns.joined(iter([(np.array([3]), np.arange(3))]))
    found = result_of(answer_of(Fresh(), MadeAnew(runs), 1, files.sends), MadeAnew(runs), 1, files)
    files.close()
    assert [one.tolist() for one in found] == [[7, 7, 7]] * 9


class Fresh:
    """Makes arrays as it is sent, as large as those of the task."""

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ([np.full(3, 7, dtype=np.int32) for _ in range(9)],)


@needs_memory_files
def test_an_answer_that_cannot_be_read_leaves_no_file() -> None:
    files = AnswerFiles()
    answered = answer_of(np.ones(MANY), None, 1, files.sends)
    with pytest.raises(pickle.UnpicklingError):
        result_of(replace(answered, head=b"no pickle"), None, 1, files)
    assert files_in_memory() == []
    files.close()


PEAK = """
import resource
from answer_tasks import ones
from zcube.side_by_side import SideBySide

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

if __name__ == "__main__":
    with SideBySide(2, "answer_tasks") as both:
        list(both.in_order(ones, [2 * 131072], lambda number, share: None))
        before = peak()
        found = list(both.in_order(ones, [100_000_000 // 8] * 2, lambda number, share: None))
        assert sum(one.sum() for one in found) == 2 * (100_000_000 // 8)
        print((peak() - before) / 200e6)
"""


@needs_memory_files
def test_arrays_are_in_memory_once(tmp_path: Path) -> None:
    script = tmp_path / "peak.py"
    script.write_text(PEAK)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ran = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert float(ran.stdout) < 1.1
