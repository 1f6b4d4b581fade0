"""Runs that do not need each other: several at a time in processes of their own, or one after the other in this one.

Which it is changes nothing in what comes of them: a run is a function of a frozen value that is sent to it whole, and results
are taken in the order of the runs. Where this process has no thread beside its first, as on the command line, the others are
copies of it (``fork``), with all that it has imported and loaded; else they are started anew (``spawn``), for a copy would have
the threads of this one's libraries half.
"""

from __future__ import annotations

import copyreg
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from copy import copy
from multiprocessing import get_context, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeVar, cast

from zcube.errors import RunError
from zcube.memory import BYTES_PER_GB, available_memory_bytes
from zcube.process_copy import can_be_copied
from zcube.progress import ShareDone
from zcube.run_answer import Answer, AnswerFiles, result_of
from zcube.run_process import TOLD, begin, do

Task = TypeVar("Task")
Result = TypeVar("Result")

#: About what it takes until a process is ready that is started anew, most of it for imports, and until a copy of this one is,
#: which loads the kernels that it needs.
START_S, COPY_S = 1.5, 0.4

#: How often it is looked whether a process has ended by itself, and how long after that the others are ended too.
LOOK_EVERY_S, NOTICED_WITHIN_S = 0.5, 2.0

# Fabrics keep their parameters in these, which are values like any other.
copyreg.pickle(MappingProxyType, lambda mapping: (_unchangeable, (dict(mapping),)))  # type: ignore[arg-type,return-value]


def _unchangeable(mapping: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(mapping)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_for(asked: int | None, runs: int, run_s: float) -> int:
    """Return how many runs are done at a time.

    Parameters
    ----------
    asked : int, optional
        At most, whatever that saves; default: :func:`processors`, or 1 where processes would take longer to start than they
        save.
    runs : int
        How many there are.
    run_s : float
        About how long one takes.
    """
    jobs = max(1, min(asked or processors(), runs))
    saves_s = run_s * (runs - -(-runs // jobs))
    return jobs if asked is not None or saves_s > (COPY_S if can_be_copied() else START_S) else 1


class _UnderWay(NamedTuple):
    """A run by its number, what it is of, and where its answer is to come."""

    run: int
    task: Any
    answer: Future[Answer]


class SideBySide:
    """Does runs; a context manager, at whose end all its processes are gone.

    Parameters
    ----------
    jobs : int
        Runs at a time; 1: in this process, and none is started.
    preload : str
        Module that processes which are started anew import while this one has other things to do; copies are made of this
        one when it has the first run to hand on.
    memory_gb : float, optional
        What all runs under way may take together, by their estimates; default: what is available now. One run always may.
    """

    def __init__(self, jobs: int = 1, preload: str = "zcube", memory_gb: float | None = None):
        self.jobs = jobs
        self._room_bytes = available_memory_bytes() if memory_gb is None else memory_gb * BYTES_PER_GB
        self._taken: dict[int, float] = {}
        self._told: dict[int, ShareDone] = {}
        self._names: dict[int, str] = {}
        self._begun: dict[int, int] = {}
        self._changed = threading.Condition()
        self._runs = 0
        self._pool: ProcessPoolExecutor | None = None
        self._listener: threading.Thread | None = None
        self._preload = preload
        #: Whether processes are to be copies of this one, which it is to make ready before its first run.
        self.awaits_copying = jobs > 1 and can_be_copied()
        if jobs > 1 and not self.awaits_copying:
            self._start("spawn")

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is None:
            return
        if error is not None:
            self._kill()
        self._pool.shutdown(cancel_futures=True)
        if self._listener is not None:
            self._tells.send_bytes(b"")
            self._listener.join()
        self._heard.close()
        self._tells.close()
        self._files.close()

    def _start(self, method: str) -> None:
        self._context = _context(method)
        self._heard, self._tells = self._context.Pipe(duplex=False)
        self._files = AnswerFiles()
        settings = (self._tells, self._files.sends, gc.get_threshold(), self._preload, method == "fork")
        self._pool = ProcessPoolExecutor(self.jobs, self._context, begin, settings)
        try:
            with undisturbed(method == "spawn"):
                for _ in range(self.jobs):
                    self._pool.submit(int)
        except BaseException as error:
            # An interrupt that was held back; who starts these processes may not have come to its `with`.
            self.__exit__(type(error), error, None)
            raise
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        self._listener = listener

    def _copy(self) -> None:
        """Start the processes that were to be copies of this one; where it has threads by then, others."""
        if self.awaits_copying:
            self.awaits_copying = False
            importlib.import_module(self._preload)
            self._start("fork" if can_be_copied() else "spawn")

    def in_order(
        self,
        work: Callable[[Task, ShareDone], Result],
        tasks: Iterable[Task],
        told: Callable[[int, float], None],
        needed_bytes: Callable[[Task], float] = lambda task: 0.0,
    ) -> Iterator[Result]:
        """Yield what comes of every task, in their order; a task is made when its turn is near.

        Parameters
        ----------
        work : callable
            ``work(task, told)``, a function of a module; tasks and what comes of them are sent to processes and back.
        tasks : iterable
            Frozen values.
        told : callable
            ``told(number, share)``: how much of a task, from 0, is done; may come from another thread.
        needed_bytes : callable
            Estimate of the memory that a task's run takes.

        Raises
        ------
        RunError
            If a process ended by itself.
        Exception
            What the first task in order raised that did not come to its end.
        """
        self._copy()
        if self._pool is None:
            for number, task in enumerate(tasks):
                result = work(task, lambda share, number=number: told(number, share))  # type: ignore[misc]
                told(number, 1.0)
                yield result
            return
        under_way: deque[_UnderWay] = deque()
        for number, task in enumerate(tasks):
            under_way.append(self._submit(work, task, lambda share, number=number: told(number, share), needed_bytes(task)))  # type: ignore[misc]
            if len(under_way) == 2 * self.jobs:
                yield self._result(under_way.popleft())
        while under_way:
            yield self._result(under_way.popleft())

    def as_done(
        self, work: Callable[[Task, ShareDone], Result], tasks: Iterable[Task], told: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Result]]:
        """Yield number and outcome of every task as soon as it is there; parameters and errors as of :meth:`in_order`."""
        self._copy()
        if self._pool is None:
            yield from enumerate(self.in_order(work, tasks, told))
            return
        under_way: dict[Future[Answer], tuple[int, _UnderWay]] = {}
        for number, task in enumerate(tasks):
            begun = self._submit(work, task, lambda share, number=number: told(number, share), 0.0)  # type: ignore[misc]
            under_way[begun.answer] = number, begun
            if len(under_way) == 2 * self.jobs:
                yield from self._ended(under_way)
        while under_way:
            yield from self._ended(under_way)

    def _ended(self, under_way: dict[Future[Answer], tuple[int, _UnderWay]]) -> Iterator[tuple[int, Any]]:
        """Take what has ended out of what is under way, what came to its end before what failed."""
        ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for answer in sorted(ended, key=lambda one: (one.exception() is not None, under_way[one][0])):
            number, begun = under_way.pop(answer)
            yield number, self._result(begun)

    def each(self, function: Callable[[Task], Result], items: Sequence[Task], at_once: int | None = None) -> list[Result]:
        """Return ``function`` of every item; where there are processes, of several at once in threads, which wait for these.

        Threads are as many as ``at_once``, or else as there are items.
        """
        self._copy()
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(len(items), at_once or len(items))) as threads:
            futures = [threads.submit(function, item) for item in items]
            try:
                return [future.result() for future in futures]
            except BaseException:
                # Else the threads would be waited for.
                self._kill()
                raise

    def _submit(self, work: Callable[[Task, ShareDone], Any], task: Task, told: ShareDone, needed_bytes: float) -> _UnderWay:
        """Hand a run to the processes as soon as its memory is to be had."""
        assert self._pool is not None

        def fits() -> bool:
            return not self._taken or self._room_bytes is None or sum(self._taken.values()) + needed_bytes <= self._room_bytes

        with self._changed:
            self._changed.wait_for(fits)
            self._runs += 1
            run = self._runs
            self._taken[run], self._told[run] = needed_bytes, told
            self._names[run] = str(getattr(task, "name", run))
        try:
            future = self._pool.submit(do, run, work, task)
        except BrokenProcessPool as error:
            raise self._lost() from error

        def over(done: Future[Answer]) -> None:
            with self._changed:
                del self._taken[run], self._told[run]
                if done.cancelled() or not isinstance(done.exception(), BrokenProcessPool):
                    del self._names[run]
                self._changed.notify_all()
            try:
                # First, for taking files lets the thread go on that waits for the answer.
                told(1.0)
            finally:
                self._files.take_what_came()

        future.add_done_callback(over)
        return _UnderWay(run, task, future)

    def _result(self, begun: _UnderWay) -> Any:
        try:
            return result_of(begun.answer.result(), begun.task, begun.run, self._files)
        except BrokenProcessPool as error:
            raise self._lost() from error

    def _lost(self) -> RunError:
        """Return the error of a process that has ended, when the pool has ended the others."""
        assert self._pool is not None
        self._pool.shutdown()
        own = {process.pid: process.exitcode for process in self._context.started if process.exitcode not in _ENDED_BY_POOL}
        ends = ", ".join(f"by signal {-code}" if code < 0 else f"with status {code}" for code in sorted({*own.values()}))
        why = ", as the system ends what takes too much memory" if -9 in own.values() else ""
        self._tells.send_bytes(TOLD.pack(os.getpid(), 0, 0.0))
        with self._changed:
            # When this process is heard, so is what others told before they ended.
            self._changed.wait_for(lambda: os.getpid() in self._begun, NOTICED_WITHIN_S)
            names = [self._names[run] for process, run in self._begun.items() if process in own and run in self._names]
        runs = f" ({'; '.join(sorted(names))})" if names else ""
        return RunError(
            f"a process of --jobs {self.jobs} ended before its run{runs} {ends}{why}; with --jobs 1 none is started"
        )

    def _kill(self) -> None:
        for process in self._context.started:
            if process.pid is not None:
                process.kill()

    def _listen(self) -> None:
        """Hand on how far runs are, until told nothing; look after processes that end by themselves."""
        ended_s, broken_off = float("inf"), False
        while True:
            if self._heard.poll(LOOK_EVERY_S):
                message = self._heard.recv_bytes()
                if not message:
                    return
                process, run, share = TOLD.unpack(message)
                with self._changed:
                    self._begun[process] = run
                    told = self._told.get(run)
                    self._changed.notify_all()
                if told is not None:
                    told(share)
            if not broken_off and any(process.exitcode for process in self._context.started):
                ended_s = min(ended_s, time.monotonic())
                if time.monotonic() - ended_s > NOTICED_WITHIN_S:
                    self._break_off()
                    broken_off = True

    def _break_off(self) -> None:
        """End all processes, and let nobody wait for the rest of an answer that one of them has begun.

        The pool notices by itself that a process has ended, unless it is reading an answer at that time: every process, and
        this one, could write the rest (CPython 3.11 to 3.13).
        """
        self._kill()
        answers = getattr(getattr(self._pool, "_result_queue", None), "_writer", None)
        if answers is None or sys.platform == "win32":
            return
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            # The pool itself closes what it has opened.
            os.dup2(nowhere.fileno(), answers.fileno(), inheritable=False)


#: How processes end that did not end by themselves: well, not yet, or by the pool when another is gone.
_ENDED_BY_POOL = (0, None, -signal.SIGTERM)

#: Starts nothing.
IN_THIS_PROCESS = SideBySide()


def _context(method: str) -> Any:
    """Return what starts processes by a method; its ``started`` holds them."""
    context: Any = copy(get_context(method))
    start, context.started = context.Process, []

    def process(*arguments: Any, **named: Any) -> BaseProcess:
        context.started.append(start(*arguments, **named))
        return cast(BaseProcess, context.started[-1])

    context.Process = process
    return context


@contextmanager
def undisturbed(anew: bool) -> Iterator[None]:
    """Let processes start that no interrupt reaches, and where no module of the present folder stands before Python's own.

    Parameters
    ----------
    anew : bool
        Whether they are no copies of this one.
    """
    name, blocked = "PYTHONSAFEPATH", getattr(signal, "pthread_sigmask", None)
    if blocked and anew:
        # Started with the first process, it would leave the signal unblocked for that one.
        resource_tracker.ensure_running()
    before, mask = os.environ.get(name), blocked and blocked(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
        if blocked:
            blocked(signal.SIG_SETMASK, mask)
