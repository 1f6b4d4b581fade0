"""Runs that were done, kept in a folder of results under a hash of all that they come from, so that stopped work goes on.

Every run is a line of a file, added as soon as it is known; the folder's record lets the file grow (:mod:`zcube.out_folder`).
A process that is killed leaves at most the last line torn, which the next one cuts off.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pydantic import ConfigDict, Field

from zcube.errors import Fault, InputError, ZcubeError
from zcube.inputs import Declared, read_bounded, validate
from zcube.out_folder import out_folder

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks, so that nobody is kept out there.
    fcntl = None  # type: ignore[assignment]

MOST_STORE_BYTES, MOST_RUNS = 1 << 30, 200_000


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
        With the lines that are no runs, the first 20.
    """
    if not path.is_file():
        return {}
    *lines, _ = read_bounded(path, MOST_STORE_BYTES).split("\n")
    if len(lines) > MOST_RUNS:
        raise InputError(Fault(str(path), f"{len(lines)} lines", f"at most {MOST_RUNS} runs"))
    runs: dict[str, KeptRun] = {}
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        try:
            data = json.loads(line)
            if not isinstance(data, dict) or not _finite(data.get("figures")):
                raise ValueError("no figures")
            run = validate(KeptRun, data, where)
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


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


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
        self._handle.truncate((self.folder / self._name).read_bytes().rfind(b"\n") + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.close()

    def keep(self, run: KeptRun) -> None:
        """Add a run."""
        assert self._handle is not None
        self.runs[run.key] = run
        self._handle.write(run.line().encode())
        self._handle.flush()

    def fill(self, folder: Path) -> None:
        """Write the store into a folder that is to take the place of this one."""
        (folder / self._name).write_text(store_text(self.runs.values()), encoding="utf-8", newline="\n")

    def _locked(self) -> IO[bytes]:
        path = self.folder / self._name
        handle = path.open("ab")
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
