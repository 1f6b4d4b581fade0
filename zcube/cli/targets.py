"""Files a command is asked to write, checked before it starts working."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError


@dataclass(frozen=True)
class Target:
    """One file to be written.

    Attributes
    ----------
    option : str
        What the user wrote it behind.
    path : Path or None
        The file; None if it was not asked for.
    endings : sequence of str
        What its name may end in.
    write : callable
        ``write(result, path)``.
    """

    option: str
    path: Path | None
    endings: Sequence[str]
    write: Callable[[Any, Path], None]

    def faults(self) -> list[Fault]:
        """Return what is wrong with it."""
        if self.path is None:
            return []
        where = f"{self.option} {self.path}"
        if self.path.suffix not in self.endings:
            return [Fault(where, f"the ending {self.path.suffix!r}", " or ".join(self.endings))]
        if self.path.is_dir() or not self.path.resolve().parent.is_dir():
            found = "a folder" if self.path.is_dir() else f"no folder {self.path.parent}"
            return [Fault(where, found, "a file in a folder that exists")]
        return []


def check_targets(targets: Sequence[Target], read: Iterable[Path] = (), more: Iterable[Fault] = ()) -> None:
    """Refuse targets that cannot be written, or that are one of the files read or named twice.

    Raises
    ------
    InputError
        With the faults of all targets, and those found elsewhere.
    """
    faults = [fault for target in targets for fault in target.faults()]
    taken = {path.resolve() for path in read}
    for target in targets:
        if target.path is not None:
            if target.path.resolve() in taken:
                faults.append(Fault(f"{target.option} {target.path}", "a file named before", "a file of its own"))
            taken.add(target.path.resolve())
    if faults := [*faults, *more]:
        raise InputError(faults)


def write_targets(targets: Sequence[Target], result: Any) -> None:
    """Write what was asked for, and say so on stderr."""
    for target in targets:
        if target.path is not None:
            target.write(result, target.path)
            print(f"written: {target.path}", file=sys.stderr)
