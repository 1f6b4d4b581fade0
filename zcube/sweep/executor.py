"""Who does the runs of a sweep: one interface, over processes of this machine or over a cluster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from zcube.errors import RunError
from zcube.progress import ShareDone
from zcube.side_by_side import SideBySide

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Lost:
    """A task that has ended every process that began it."""

    why: str


class Executor(Protocol):
    """Does tasks; a context manager, which has processes only inside."""

    def __enter__(self) -> Self:
        """Make ready."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End every process that was started, with what it is doing."""

    def as_done(
        self, work: Callable[[Task, ShareDone], Result], tasks: Sequence[Task], told: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """Yield number and outcome of every task as soon as it is there.

        A task whose process ends by itself is begun again; one that ends it again, with no other beside it, is lost.

        Parameters
        ----------
        work : callable
            ``work(task, told)``, a function of a module that raises nothing on purpose.
        tasks : sequence
            Frozen values.
        told : callable
            ``told(number, share)``: how much of a task, from 0, is done.
        """


class Processes:
    """Runs on this machine.

    Parameters
    ----------
    jobs : int
        At a time; 1: in this process, which a task can end.
    preload : str
        Module that processes import while this one does other things.
    """

    def __init__(self, jobs: int, preload: str):
        self._jobs, self._preload = jobs, preload
        self._beside: SideBySide | None = None

    def __enter__(self) -> Self:
        self._beside = SideBySide(self._jobs, self._preload).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._beside is not None:
            self._beside.__exit__(kind, error, trace)

    def as_done(
        self, work: Callable[[Task, ShareDone], Result], tasks: Sequence[Task], told: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """Yield what comes of tasks, see :class:`Executor`."""
        waiting = list(range(len(tasks)))
        while waiting:
            begun: list[int] = []
            try:
                for number, result in self._some(work, tasks, waiting, begun, told):
                    begun.remove(number)
                    yield number, result
                return
            except RunError:
                # Which of those that were begun has ended its process nobody knows.
                self._anew()
            for number in begun:
                yield number, self._by_itself(work, tasks[number], lambda share, number=number: told(number, share))  # type: ignore[misc]
            waiting = [number for number in waiting if number > max(begun)]

    def _some(
        self, work: Callable[[Task, ShareDone], Result], tasks: Sequence[Task], numbers: Sequence[int], begun: list[int],
        told: Callable[[int, float], None],
    ) -> Iterator[tuple[int, Result]]:  # fmt: skip
        assert self._beside is not None

        def handed_over() -> Iterator[Task]:
            for number in numbers:
                begun.append(number)
                yield tasks[number]

        for place, result in self._beside.as_done(work, handed_over(), lambda place, share: told(numbers[place], share)):
            yield numbers[place], result

    def _by_itself(self, work: Callable[[Task, ShareDone], Result], task: Task, told: ShareDone) -> Result | Lost:
        assert self._beside is not None
        try:
            ((_, result),) = self._beside.as_done(work, [task], lambda _, share: told(share))
            return result
        except RunError as error:
            self._anew()
            return Lost(f"ended its process twice, the second time with no other run beside it: {error}")

    def _anew(self) -> None:
        """Start other processes in the place of those that are gone."""
        assert self._beside is not None
        self._beside.__exit__(None, None, None)
        self._beside = SideBySide(self._jobs, self._preload).__enter__()
