"""Runs that were done, kept in a folder of results under a hash of all that they come from, so that stopped work goes on.

Every run is a line of a file, added as soon as it is known; the folder's record lets the file grow (:mod:`zcube.out_folder`).
A process that is killed leaves at most the last line torn, which the next one cuts off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pydantic import ConfigDict, Field

from zcube.errors import Fault, InputError, ZcubeError
from zcube.input_files import read_bounded
from zcube.inputs import Declared, validate
from zcube.json_text import json_value
from zcube.out_folder import out_folder
from zcube.outputs import INFINITE

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks, so that nobody is kept out there.
    fcntl = None  # type: ignore[assignment]

MOST_STORE_BYTES, MOST_RUNS = 1 << 30, 200_000
#: Largest figures that are read, whole and other, so that their sums and squares are numbers too; longest texts among them.
MOST_WHOLE, MOST_FIGURE, MOST_TEXT = (1 << 63) - 1, 1e100, 10_000
#: Columns that tables of runs have of their own, which no figure may be named as.
OWN_COLUMNS = frozenset({"point", "scenario", "fabric", "seed", "status", "error", "hash"})


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a run: figures, or why there are none."""

    figures: dict[str, Any] | None
    error: str | None = None


def done_by(run: Callable[[], dict[str, Any]], raised: tuple[type[ZcubeError], ...] = ()) -> Done:
    """Return what comes of a run; what goes wrong in it is kept, so that others go on, but for some errors that are raised."""
    try:
        return Done(run())
    except raised:
        raise
    except ZcubeError as error:
        return Done(None, str(error))
    except (ArithmeticError, AssertionError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        return Done(None, f"{type(error).__name__}: {error}")


class KeptRun(Declared):
    """A run's figures under the hash of what they come from; any other key is a name, for readers alone."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | int] = Field(init=False)

    key: str = Field(pattern="^[0-9a-f]{64}$", description="hash of program and inputs")
    figures: dict[str, Any] = Field(description="what was simulated")

    @classmethod
    def of(cls, key: str, names: Mapping[str, str | int], figures: Mapping[str, Any]) -> KeptRun:
        """Return a run with its names."""
        return cls.model_validate({"key": key, **names, "figures": figures})

    def line(self) -> str:
        """Return the run as a line of the store."""
        figures = {"figures": self.figures}
        return json.dumps({"key": self.key, **(self.__pydantic_extra__ or {}), **figures}, allow_nan=False) + "\n"


def read_runs(path: Path) -> dict[str, KeptRun]:
    """Return the runs that a file holds by their keys; none where there is no file. A last line without an end is none.

    Raises
    ------
    InputError
        With the lines that are no runs, that hold figures of another type than those before or out of range, or that give a
        run other figures than a line before; the first 20.
    """
    if not path.is_file():
        return {}
    *lines, _ = read_bounded(path, MOST_STORE_BYTES).split("\n")
    if len(lines) > MOST_RUNS:
        raise InputError(Fault(str(path), f"{len(lines)} lines", f"at most {MOST_RUNS} runs"))
    runs: dict[str, KeptRun] = {}
    kinds: dict[str, str] = {}
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        try:
            data = json_value(line)
            if not isinstance(data, dict):
                raise ValueError("no table")
            run = validate(KeptRun, data, where)
            _check_figures(run.figures, kinds)
            if run.key in runs and runs[run.key].figures != run.figures:
                raise ValueError(f"other figures of {run.key[:12]}... than a line before")
        except InputError as error:
            faults += error.faults
        except (ValueError, RecursionError) as error:
            faults.append(Fault(where, str(error)[:100], "a run as zcube writes it"))
        else:
            runs[run.key] = run
    if faults:
        raise InputError(faults[:20])
    return runs


def store_text(runs: Iterable[KeptRun]) -> str:
    """Return the store of some runs, by key."""
    return "".join(run.line() for run in sorted(runs, key=lambda run: run.key))


def _check_figures(figures: Mapping[str, Any], kinds: dict[str, str]) -> None:
    """Refuse figures that no run of this program has; what kind each is of is noted, for the runs after it."""
    if own := OWN_COLUMNS & set(figures):
        raise ValueError(f"figures named {', '.join(sorted(own))}, as columns of the table")
    found = dict(_kinds(figures, ""))
    for key, kind in found.items():
        if kinds.get(key, kind) != kind:
            raise ValueError(f"figures.{key}: {kind}, {kinds[key]} in lines before")
    kinds |= found


def _kinds(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of every figure by its key; a figure that is missing or infinite is of any."""
    if isinstance(value, Mapping):
        yield key, "a table"
        for inner, part in value.items():
            yield from _kinds(part, f"{key}.{inner}" if key else inner)
    elif isinstance(value, list):
        yield key, "a list"
        for part in value:
            for _ in _kinds(part, key):
                pass
    elif isinstance(value, bool):
        yield key, "a truth value"
    elif isinstance(value, int | float):
        if not abs(value) <= (MOST_WHOLE if isinstance(value, int) else MOST_FIGURE):
            raise ValueError(f"figures.{key}: {str(value)[:20]}, which is out of range")
        yield key, "a number"
    elif isinstance(value, str) and value != INFINITE:
        if len(value) > MOST_TEXT:
            raise ValueError(f"figures.{key}: a text of {len(value)} characters")
        yield key, "a text"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of an open file name it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


class KeptRuns:
    """The runs of a folder, which no other process adds to meanwhile; a context manager.

    Parameters
    ----------
    folder : Path
        Folder of results; made on entry, unless it is there.
    name : str
        Of its file of runs.
    record : callable
        Gives the run record of a folder that is made.

    Raises
    ------
    InputError
        If the folder may not be written or holds lines that are no runs; on entry, if another process adds to it.
    """

    def __init__(self, folder: Path, name: str, record: Callable[[], dict[str, Any]]):
        out_folder(folder)
        self.folder, self._name, self.record = folder, name, record
        self.runs: dict[str, KeptRun] = read_runs(folder / name)
        self._handle: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if not (self.folder / self._name).is_file():
            self.folder = out_folder(self.folder).write(self.fill, self.record(), grows=[self._name])
        while self._handle is None or not self._is_in_place(self._handle):
            if self._handle is not None:
                self._handle.close()
            self._handle = self._locked()
        self.runs = read_runs(self.folder / self._name)
        # Half a line, which a process that was killed had begun.
        with _naming(self.folder / self._name):
            self._handle.truncate((self.folder / self._name).read_bytes().rfind(b"\n") + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.close()

    def keep(self, run: KeptRun) -> None:
        """Add a run; one that cannot be written whole is none.

        Raises
        ------
        OSError
            Naming the file, as of a disk that is full.
        """
        assert self._handle is not None
        with _naming(self.folder / self._name):
            line, before = run.line().encode(), os.fstat(self._handle.fileno()).st_size
            try:
                while line:
                    line = line[self._handle.write(line) :]
            except OSError:
                self._handle.truncate(before)
                raise
        self.runs[run.key] = run

    def fill(self, folder: Path) -> None:
        """Write the store into a folder that is to take the place of this one."""
        (folder / self._name).write_text(store_text(self.runs.values()), encoding="utf-8", newline="\n")

    def _locked(self) -> IO[bytes]:
        path = self.folder / self._name
        # Unbuffered, so that nothing is left to be written when a write has failed.
        handle = path.open("ab", buffering=0)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.close()
            expected = "to wait for its end, or another folder (--out)"
            raise InputError(Fault(str(self.folder), "a run of zcube that is under way there", expected)) from error
        except OSError:
            # A file system without locks.
            pass
        return handle

    def _is_in_place(self, handle: IO[bytes]) -> bool:
        """Return whether the file is not one of a folder that another process has replaced since."""
        try:
            return os.path.samestat((self.folder / self._name).stat(), os.fstat(handle.fileno()))
        except FileNotFoundError:
            return False
