"""Runs on the workers of a dask cluster: one that listens at an address, or one that is started here."""

from __future__ import annotations

import platform
import re
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from zcube.errors import Fault, InputError, RunError
from zcube.progress import COMPILING, Progress, ShareDone
from zcube.run_inputs import program_digest
from zcube.side_by_side import processors, undisturbed
from zcube.sweep.executor import Lost
from zcube.warm import compile_groups, missing_groups

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Result = TypeVar("Result")

LOCAL = "local"
_ADDRESS = re.compile(r"(tcp|tls)://([^\s/:@\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
EXPECTED = "the address of a dask scheduler that runs and has workers, as tcp://HOST:8786, or local"
#: How long a scheduler may take to answer, and to have its first worker.
ANSWER_S, FIRST_WORKER_S = 10.0, 120.0
#: Batches handed to the scheduler for each thread of the workers: one to do, one to go on with.
AHEAD = 2
#: Short tasks go to a worker together, for so long and so many, since scheduler and messages cost some 16 ms a batch.
BATCH_S, MOST_IN_BATCH = 0.5, 32
#: Of a cluster started here: workers that a task may end before it is tried by itself. Of any other its scheduler says so.
ALLOWED_FAILURES = 1


class OnDask:
    """Runs on a dask cluster, see :class:`~zcube.sweep.executor.Executor`.

    Parameters
    ----------
    address : str
        Of a scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``; ``local`` starts one here, with workers of a thread each.
    jobs : int, optional
        Workers of a cluster started here; default: one a processor.
    groups : sequence of str
        Kernels that runs need, see :data:`zcube.warm.GROUPS`: compiled once on every host before work is spread.
    progress : Progress
        Told what is under way.
    """

    def __init__(self, address: str, jobs: int | None, groups: Sequence[str], progress: Progress):
        self._address, self._jobs, self._groups, self._progress = address, jobs, list(groups), progress
        self._where = f"--dask {address}"
        self._cluster: Any = None
        self._client: Client | None = None
        check_address(address)
        check_installed()

    def __enter__(self) -> Self:
        import dask
        from distributed import Client, LocalCluster, Security

        self._progress("asking the cluster", 0, 0, "")
        try:
            target: Any = self._address
            if self._address == LOCAL:
                settings = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
                with dask.config.set(settings), undisturbed(True):
                    target = self._cluster = LocalCluster(
                        n_workers=self._jobs or processors(), threads_per_worker=1, dashboard_address=":0", silence_logs=50
                    )
            if self._address.startswith("tls:") and Security().get_connection_args("client").get("ssl_context") is None:
                raise ValueError("no certificates: dask's distributed.comm.tls names none")
            self._client = Client(target, timeout=ANSWER_S, set_as_default=False)
            self._client.wait_for_workers(1, timeout=FIRST_WORKER_S)
            self._check_programs()
            self._warm()
        except (OSError, ValueError, TimeoutError) as error:
            self.__exit__(None, None, None)
            raise InputError(Fault(self._where, f"no cluster ({_in_short(error)})", EXPECTED)) from error
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in (self._client, self._cluster):
            if one is not None:
                one.close(timeout=ANSWER_S)
        self._client = self._cluster = None

    def as_done(
        self, work: Callable[[Task, ShareDone], Result], tasks: Sequence[Task], told: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """Yield what comes of tasks, see :class:`~zcube.sweep.executor.Executor`; of a task under way nothing is told."""
        assert self._client is not None
        killed: list[int] = []
        for number, result in self._some(work, tasks, range(len(tasks))):
            if isinstance(result, Lost):
                # Maybe only beside one that ended its worker.
                killed.append(number)
                continue
            told(number, 1.0)
            yield number, result
        for number, result in self._some(work, tasks, killed, alone=True):
            told(number, 1.0)
            yield number, result

    def _some(
        self, work: Callable[[Task, ShareDone], Result], tasks: Sequence[Task], numbers: Sequence[int], alone: bool = False
    ) -> Iterator[tuple[int, Result | Lost]]:
        from distributed import as_completed

        assert self._client is not None
        waiting, done = deque(numbers), as_completed(loop=self._client.loop)
        under_way: dict[Future, list[int]] = {}
        in_batch, threads = 1, self._threads()
        while waiting or under_way:
            while waiting and len(under_way) < (1 if alone else AHEAD * threads):
                batch = [waiting.popleft() for _ in range(1 if alone else min(in_batch, len(waiting)))]
                future = self._client.submit(_in_turn, work, [tasks[number] for number in batch], pure=False)
                under_way[future] = batch
                done.add(future)
            future = next(done)
            batch = under_way.pop(future)
            result = self._result(future)
            if isinstance(result, Lost):
                yield from ((number, result) for number in batch)
            else:
                results, took_s = result
                yield from zip(batch, results, strict=False)
                waiting.extendleft(reversed(batch[len(results) :]))
                most = min(MOST_IN_BATCH, BATCH_S * len(results) / max(took_s, 1e-6))
                # The last ones are spread over all threads.
                in_batch = max(1, min(2 * in_batch, int(most), len(waiting) // (AHEAD * threads)))
            # Workers come and go.
            threads = self._threads()

    def _threads(self) -> int:
        assert self._client is not None
        return max(1, sum(self._client.nthreads().values()))

    def _result(self, future: Future) -> tuple[list[Any], float] | Lost:
        from distributed import CancelledError, KilledWorker

        try:
            result: tuple[list[Any], float] = future.result()
        except KilledWorker as error:
            return Lost(f"ended every worker that began it: {_in_short(error)}")
        except (CancelledError, OSError, TimeoutError) as error:
            raise RunError(f"{self._where}: the scheduler is gone ({_in_short(error)})") from error
        future.release()
        return result

    def _check_programs(self) -> None:
        """Refuse workers that would compute other figures."""
        assert self._client is not None
        own = program_digest()
        found = self._client.run(program_digest, on_error="return")
        faults = [
            Fault(
                f"{self._where}: worker {worker}",
                _found(digest),
                "the zcube, and versions of what it computes with, of this machine",
            )
            for worker, digest in found.items()
            if digest != own
        ]
        if faults:
            raise InputError(faults)

    def _warm(self) -> None:
        """Compile what is missing on one worker of every host, so that the others find it."""
        assert self._client is not None
        of_host = {host: worker for worker, host in self._client.run(platform.node).items()}
        missing = self._client.run(missing_groups, self._groups, workers=list(of_host.values()))
        if lacking := [worker for worker, groups in missing.items() if groups]:
            self._progress(COMPILING, 0, 0, "")
            self._client.run(compile_groups, self._groups, workers=lacking)


_alone = threading.Lock()


def _in_turn(work: Callable[[Any, ShareDone], Any], tasks: Sequence[Any]) -> tuple[list[Any], float]:
    """Do tasks in a worker for about :data:`BATCH_S`, the first one whatever it takes; return what came of them, and the time.

    A worker's threads, if it has several, wait for each other, for kernels and SimPy keep to one.
    """
    done: list[Any] = []
    with _alone:
        began_s = time.monotonic()
        for task in tasks:
            done.append(work(task, lambda share: None))
            if time.monotonic() - began_s >= BATCH_S:
                break
        return done, time.monotonic() - began_s


def check_address(address: str) -> None:
    """Raise an :class:`~zcube.errors.InputError` for what is no scheduler's address, over which dask takes its time."""
    match = _ADDRESS.fullmatch(address)
    if address != LOCAL and (match is None or not 0 < int(match["port"]) < 1 << 16):
        raise InputError(Fault("--dask", f"no cluster's address: {address[:100]!r}", EXPECTED))


def check_installed() -> None:
    """Raise an :class:`~zcube.errors.InputError` where dask.distributed is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(Fault("--dask", "no package distributed", "pip install 'zcube[dask]'")) from error


def _found(digest: Any) -> str:
    return f"another one ({digest[:12]})" if isinstance(digest, str) else f"none that answers ({_in_short(digest)})"


def _in_short(error: Any) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
