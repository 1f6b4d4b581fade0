"""A hidden folder beside a target in which its next content is made; what dead makers left beside the same target is cleared.

A workplace ``.NAME.zcube-XXXXXXXX`` holds a mark, locked while its maker lives, and the content. Whoever makes the next one for
the same target clears those whose lock is free, wherever their maker ended: an empty one that has no mark yet, one whose mark
was not written yet and whose content is empty, one that was being cleared. Any other folder without the mark is not ours and
stays; so does a content that is neither the one begun there nor, unchanged, the one it was to replace.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from zcube.errors import OutputError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks, so nothing is cleared there.
    fcntl = None  # type: ignore[assignment]

MARK = "zcube-at-work"
#: Names in a workplace of the content, of one that is given up, and of one whose name is being exchanged in steps.
_CONTENT, _GIVEN_UP, ASIDE = "content", "given-up", "content.aside"
#: Largest mark read, and longest name of a target that stands in its workplace's name.
_MOST_MARK_BYTES, _MOST_NAME_BYTES = 1 << 26, 200
#: What a target's folder must have free, on its disk, before work starts.
LEAST_ROOM_BYTES = 1 << 20


@contextmanager
def workplace(path: Path, replaces: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Yield a new empty folder beside a target; at the end it goes with its content, unless another content has its name.

    Parameters
    ----------
    path : Path
        The target.
    replaces : mapping of str to str, optional
        Digests of the files of a folder that may take the content's name when names are exchanged.

    Raises
    ------
    OutputError
        Naming the target, for whatever the system refuses.
    """
    here = None
    try:
        clear_leftovers(path)
        here, lock = _begun(path)
        content, made = here / _CONTENT, None
        try:
            content.mkdir()
            made = content.stat().st_ino
            if lock is not None:
                json.dump({"content": made, "replaces": replaces}, lock)
                lock.flush()
            yield content
        finally:
            if not os.path.lexists(content) or content.stat().st_ino == made:
                _clear(here)
            if lock is not None:
                lock.close()
    except OutputError:
        raise
    except OSError as error:
        elsewhere = error.filename is not None and here is not None and str(here) not in str(error.filename)
        of = f" ({error.filename})" if elsewhere else ""
        raise OutputError(f"{path} cannot be written: {error.strerror or error}{of}") from error


def give_up(content: Path) -> None:
    """Let a content that took the place of the one begun go with its workplace, however far the removal comes."""
    try:
        content.rename(content.with_name(_GIVEN_UP))
    except OSError:
        shutil.rmtree(content, ignore_errors=True)


def is_being_made(folder: Path) -> bool:
    """Return whether a folder is the content of a workplace, whose files need no names of their own before they are whole."""
    return folder.name == _CONTENT and (folder.parent / MARK).is_file()


def no_place(folder: Path) -> str:
    """Return why nothing can be written into a folder that exists, nothing where something can."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    if hasattr(os, "statvfs"):
        disk = os.statvfs(folder)
        free = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
        if disk.f_blocks and free * disk.f_frsize < LEAST_ROOM_BYTES:
            return f"has {free * disk.f_frsize} bytes free on its disk"
        if disk.f_files and not disk.f_ffree:
            return "has no room for another file on its disk"
    return ""


def no_way(path: Path) -> str:
    """Return why the system cannot follow a path that need not exist, nothing where it can."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"a path that cannot be followed: {(error.strerror or str(error)).lower()}"
    return ""


def clear_leftovers(path: Path) -> None:
    """Remove the workplaces beside a target whose makers are dead."""
    if fcntl is None:
        return
    for entry in _siblings(path):
        try:
            # A mark that is no plain file is another's, and one that is a pipe would hold up who opens it.
            descriptor = os.open(entry / MARK, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            if entry.name.startswith(_prefix(path)):
                # Fails unless it is empty: its maker was ended, or has to begin again.
                with contextlib.suppress(OSError):
                    entry.rmdir()
            continue
        except OSError:
            continue
        try:
            with os.fdopen(descriptor, "rb") as lock:
                if not stat.S_ISREG(os.fstat(lock.fileno()).st_mode):
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_done_with(entry, path, lock.read(_MOST_MARK_BYTES)):
                    _clear(entry)
        except (OSError, ValueError, RecursionError):
            # A mark that is held, or a file system without locks.
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
            named = [entry for entry in entries if entry.name.startswith((f".{path.name}.", _prefix(path)))]
            return [Path(entry.path) for entry in named if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _prefix(path: Path) -> str:
    name = os.fsencode(path.name)
    short = path.name if len(name) <= _MOST_NAME_BYTES else hashlib.sha256(name).hexdigest()
    return f".{short}.zcube-"


def _begun(path: Path) -> tuple[Path, IO[str] | None]:
    """Make a workplace and return it with its mark, empty and locked; without one on a file system that has no locks."""
    while True:
        here = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path)))
        mark = here / MARK
        try:
            lock = mark.open("x", encoding="utf-8")
        except FileNotFoundError:
            # Another run has found it empty, and cleared it.
            continue
        except BaseException:
            with contextlib.suppress(OSError):
                here.rmdir()
            raise
        if fcntl is None:
            return here, lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(mark.stat(), os.fstat(lock.fileno())):
                return here, lock
        except (BlockingIOError, FileNotFoundError):
            # Another run is clearing it, or has.
            pass
        except OSError:
            # A file system without locks: an empty mark tells nobody that what is made here may be cleared.
            lock.close()
            return here, None
        lock.close()


def _is_done_with(here: Path, path: Path, text: bytes) -> bool:
    """Return whether a dead maker's workplace holds the content begun there, what it was to replace, or nothing."""
    content, aside = here / _CONTENT, here / ASIDE
    if {entry.name for entry in here.iterdir()} - {MARK, _CONTENT, _GIVEN_UP, ASIDE}:
        return False
    try:
        mark = json.loads(text)
    except (ValueError, RecursionError):
        # Nothing is made before the mark is whole.
        return not os.path.lexists(content) or (stat.S_ISDIR(content.lstat().st_mode) and not any(content.iterdir()))
    if not isinstance(mark, dict):
        return False
    if os.path.lexists(aside):
        # Names were being exchanged in steps: the target has its old content again, or the new one.
        aside.rename(content if os.path.lexists(path) else path)
    if not os.path.lexists(content) or content.lstat().st_ino == mark.get("content"):
        return True
    return content.is_dir() and not content.is_symlink() and digests(content) == mark.get("replaces")


def _clear(here: Path) -> None:
    """Remove a workplace, in an order by which it is known as one until it is gone."""
    content, given_up = here / _CONTENT, here / _GIVEN_UP
    with contextlib.suppress(OSError):
        if os.path.lexists(given_up):
            shutil.rmtree(given_up)
        if os.path.lexists(content):
            give_up(content)
            shutil.rmtree(given_up, ignore_errors=not os.path.lexists(given_up))
        (here / MARK).unlink(missing_ok=True)
        here.rmdir()
