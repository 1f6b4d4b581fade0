"""Files a command is asked to write, checked before it starts working."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError
from zcube.out_folder import is_recorded
from zcube.workplace import no_place, no_way


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
        What its name may end in, and that of the file which it is a link to.
    write : callable
        ``write(result, path)``.
    any_new_name : bool
        Whether a file that is not there yet may have another ending.
    is_own : callable, optional
        Of a name that the user did not give: whether the file of that name may be replaced.
    """

    option: str
    path: Path | None
    endings: Sequence[str]
    write: Callable[[Any, Path], None]
    any_new_name: bool = False
    is_own: Callable[[Path], bool] | None = None

    def faults(self) -> list[Fault]:
        """Return what is wrong with it: a file of the user's that it would replace, or a name that cannot be written."""
        if self.path is None:
            return []
        where = f"{self.option} {self.path}"
        if why := no_way(self.path):
            return [Fault(where, why, "a file in a folder that exists")]
        real = self.path.resolve()
        suffix = next((path.suffix for path in (self.path, real) if path.suffix not in self.endings), None)
        if suffix is not None and (real.is_file() or not self.any_new_name):
            there = " of a file that is there" if self.any_new_name else ""
            return [Fault(where, f"the ending {suffix!r}{there}", " or ".join(self.endings))]
        if real.is_dir() or not real.parent.is_dir():
            found = "a folder" if real.is_dir() else f"no folder {self.path.parent}"
            return [Fault(where, found, "a file in a folder that exists")]
        if why := no_place(real.parent):
            return [Fault(where, f"a folder that {why}, {real.parent}", "a file in a folder that can be written")]
        if is_recorded(real):
            return [Fault(where, "a run record, or a file that the record beside it lists", "another name or folder")]
        if self.is_own is not None and real.is_file() and not self.is_own(real):
            return [Fault(where, "a file that zcube did not write", "another name, or none that is taken")]
        return []


def page_target(path: Path | None, page: Callable[[Any], str]) -> Target:
    """Return the page of a result as a target, ``--page``."""
    from zcube.report.page import write_page

    return Target("--page", path, (".html",), lambda result, place: write_page(page(result), place))


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
        if target.path is not None and not no_way(target.path):
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
