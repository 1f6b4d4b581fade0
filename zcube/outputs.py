"""Writing results so that a reader never sees half of one: a file is written under a temporary name and renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from zcube.atomic_names import signals_held_back
from zcube.workplace import is_being_made, workplace

#: Stands in JSON for an infinite number: a quantile that falls on a request which failed, a price per token where none came.
INFINITE = "infinity"
#: Errors of file systems that have no hard links.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
#: Name in a workplace of what a target held, and where the target itself has that name.
_BEFORE, _OTHERWISE = "before", "before-it"


def to_json(document: Any) -> str:
    """Return a document as indented JSON with a final newline; NaN and infinities are refused."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def flat(document: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by their keys, joined by points."""
    values: dict[str, Any] = {}
    for key, value in document.items():
        values |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return values


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write one file through a temporary name; without one into a folder that is itself being made.

    Parameters
    ----------
    path : Path
        The target; where it is a link, what it leads to, so that the link stays.
    write : callable
        Called with the temporary path.

    Raises
    ------
    OutputError
        If it cannot be written; what was there before is there still.
    """
    path = Path(path).resolve()
    if is_being_made(path.parent):
        write(path)
        return
    with workplace(path) as folder:
        temporary = folder / path.name
        write(temporary)
        temporary.replace(path)


def write_new_file(path: Path, text: str) -> bool:
    """Write one file unless something has its name, and return whether it was written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with workplace(path) as folder:
        temporary = folder / path.name
        temporary.write_text(text, encoding="utf-8", newline="\n")
        if os.path.lexists(path):
            return False
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            # Something has taken it meanwhile.
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            temporary.rename(path)
        return True


def write_files(texts: Mapping[Path, str]) -> None:
    """Write several files that belong together: all get their names, or none.

    An end that the program does not hear of (SIGKILL) between the last two steps, or a disk that fails there and goes on
    failing, leaves each file whole, the first with its new content and the others with their old one.

    Raises
    ------
    OutputError
        If one cannot be written; what was there before is there still.
    """
    with ExitStack() as stack:
        made: list[tuple[Path, Path]] = []
        for given, text in texts.items():
            path = given.resolve()
            folder = stack.enter_context(workplace(path))
            (folder / path.name).write_text(text, encoding="utf-8", newline="\n")
            if path.exists():
                shutil.copy2(path, _before(folder / path.name))
            made.append((folder / path.name, path))
        with signals_held_back():
            _name_all(made)


def _before(temporary: Path) -> Path:
    return temporary.with_name(_OTHERWISE if temporary.name == _BEFORE else _BEFORE)


def _name_all(made: Sequence[tuple[Path, Path]]) -> None:
    """Give files their names; if one cannot have its own, those before it get their old content back."""
    done: list[tuple[Path, Path]] = []
    try:
        for temporary, path in made:
            temporary.replace(path)
            done.append((_before(temporary), path))
    except OSError:
        for before, path in reversed(done):
            if before.exists():
                before.replace(path)
            else:
                path.unlink()
        raise
