"""Writing results so that a reader never sees half of one.

A file is written under a temporary name beside its target and renamed; so is a folder, as a whole.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError

#: The file whose presence marks a folder as written by this program, hence replaceable by it.
RUN_FILE = "run.json"


def to_json(document: Any) -> str:
    """Return a document as indented JSON with a final newline; NaN and infinities are refused."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write one file through a temporary name.

    Parameters
    ----------
    path : Path
        The target.
    write : callable
        Called with the temporary path.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        temporary.replace(path)


def check_out_folder(folder: Path) -> None:
    """Refuse an output folder that holds anything this program did not write.

    Raises
    ------
    InputError
        If ``folder`` is a file, or a non-empty folder without a ``run.json``.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(Fault(str(folder), "a file", "a folder to write, or a new name"))
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RUN_FILE).is_file():
        raise InputError(Fault(str(folder), f"a non-empty folder without {RUN_FILE}", "an empty, new or earlier run's folder"))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the target's name only if the block ends well.

    An interrupt or error leaves the target as it was and removes the temporary folder.
    """
    check_out_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            retired = temporary.with_name(temporary.name + ".old")
            folder.replace(retired)
            temporary.replace(folder)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
