"""A hidden folder beside a target in which its next content is made; what dead makers left beside the same target is cleared.

A workplace ``.NAME.XXXXXXXX`` holds a mark, locked while its maker lives, and the content. Whoever makes the next one for the
same target clears those whose lock is free. A folder without the mark is not ours and stays; so does a content that is neither
the one begun there nor, unchanged, the one it was to replace.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks, so nothing is cleared there.
    fcntl = None  # type: ignore[assignment]

MARK = "zcube-at-work"
#: Name of the content in a workplace, and the largest mark read.
_CONTENT, _MOST_MARK_BYTES = "content", 1 << 26


@contextmanager
def workplace(path: Path, replaces: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Yield a new empty folder beside a target; at the end it goes with its content, unless another content has its name.

    Parameters
    ----------
    path : Path
        The target.
    replaces : mapping of str to str, optional
        Digests of the files of a folder that may take the content's name when names are exchanged.
    """
    clear_leftovers(path)
    here = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path)))
    content = here / _CONTENT
    content.mkdir()
    made = content.stat().st_ino
    lock = _locked_mark(here, {"content": made, "replaces": replaces})
    try:
        yield content
    finally:
        if not os.path.lexists(content) or content.stat().st_ino == made:
            shutil.rmtree(here, ignore_errors=True)
        lock.close()


def clear_leftovers(path: Path) -> None:
    """Remove the workplaces beside a target whose makers are dead."""
    if fcntl is None:
        return
    for entry in _siblings(path):
        try:
            # A mark that is no plain file is another's, and one that is a pipe would hold up who opens it.
            with os.fdopen(os.open(entry / MARK, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as lock:
                if not stat.S_ISREG(os.fstat(lock.fileno()).st_mode):
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_done_with(entry, json.loads(lock.read(_MOST_MARK_BYTES))):
                    shutil.rmtree(entry, ignore_errors=True)
        except (OSError, ValueError, RecursionError):
            # No mark, one that is held, or a file system without locks.
            continue


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 digest of every file of a folder by name, in order of names; of a link or a subfolder nothing."""
    plain = {path: path.is_file() and not path.is_symlink() for path in sorted(folder.iterdir())}
    return {path.name: digest(path) if file else "" for path, file in plain.items()}


def digest(path: Path, first_bytes: int | None = None) -> str:
    """Return the SHA-256 digest of a file, or of so many of its first bytes."""
    with path.open("rb") as handle:
        if first_bytes is None:
            return hashlib.file_digest(handle, "sha256").hexdigest()
        return hashlib.sha256(handle.read(first_bytes)).hexdigest()


def _siblings(path: Path) -> list[Path]:
    try:
        with os.scandir(path.parent) as entries:
            named = [entry for entry in entries if entry.name.startswith(_prefix(path))]
            return [Path(entry.path) for entry in named if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _locked_mark(here: Path, mark: Mapping[str, Any]) -> IO[str]:
    """Write the mark and return it open and locked; it gets its name only then, so that nobody sees it unlocked."""
    hidden = here / f"{MARK}.new"
    lock = hidden.open("w", encoding="utf-8")
    json.dump(mark, lock)
    lock.flush()
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # A file system without locks: without its name the mark tells nobody that this folder may be cleared.
            return lock
        hidden.rename(here / MARK)
    return lock


def _is_done_with(here: Path, mark: Any) -> bool:
    """Return whether a dead maker's workplace holds the content begun there, what it was to replace, or nothing."""
    content = here / _CONTENT
    if not isinstance(mark, dict) or {entry.name for entry in here.iterdir()} - {MARK, _CONTENT}:
        return False
    if not os.path.lexists(content) or content.stat().st_ino == mark.get("content"):
        return True
    return content.is_dir() and not content.is_symlink() and digests(content) == mark.get("replaces")
