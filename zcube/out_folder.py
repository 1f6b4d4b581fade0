"""Folders of results: replaced as a whole, and only where every file in them is known to be this program's own.

A folder that was written holds a run record, ``run.json``, whose ``files`` give the SHA-256 digest of every other file. A
folder may be replaced if it is empty, or if it holds nothing but what its record lists, unchanged but for files that the record
lets grow. Anything else stays: a file of the user's, a file the user changed, a link, a subfolder, a record of another program.

The new folder is complete under a temporary name before it gets its own. Where the system can exchange two names at once
(Linux ``renameat2``, macOS ``renamex_np``) the target is at every instant the old folder or the new one; elsewhere two renames
follow each other with signals held back, and a failure of the second undoes the first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zcube.atomic_names import exchange_names
from zcube.errors import Fault, InputError, OutputError
from zcube.json_text import json_value
from zcube.outputs import to_json
from zcube.workplace import digest, digests, give_up, no_place, no_way, workplace

RUN_FILE = "run.json"
#: Version of the record's form.
RECORD_VERSION = 1
#: Key of the record that lists the folder's other files, and that of those that may grow, with the bytes that are listed.
FILES_KEY, GROWS_KEY = "files", "grows"
#: What lines begin with that a file may grow by; the last one may be torn.
GROWN_LINE = b'{"key": "'
#: Largest record read, and entries named in a fault.
MOST_RECORD_BYTES, MOST_NAMED = 1 << 26, 10
#: Names tried beside a target that something else has taken meanwhile.
MOST_SIBLINGS = 10_000


@dataclass(frozen=True)
class OutFolder:
    """A folder that may be written, and what it held when that was found.

    Attributes
    ----------
    path : Path
        The folder; it may not exist.
    held : mapping of str to str, optional
        Digest of every file, the record among them; empty for an empty folder, None where there is none.
    """

    path: Path
    held: Mapping[str, str] | None = field(default=None)

    def write(self, fill: Callable[[Path], Any], record: dict[str, Any], grows: Sequence[str] = ()) -> Path:
        """Write the folder and return where it stands.

        That is ``path``, unless something else was put there since it was looked at: then it is a free name beside it
        (``NAME-2``), and what was put there stays.

        Parameters
        ----------
        fill : callable
            Called with an empty folder to put files into.
        record : dict
            JSON-ready run record; the list of files is added.
        grows : sequence of str
            Names of files that may be added to once the folder stands.

        Raises
        ------
        ValueError
            If the record is no JSON.
        """
        to_json(record)
        with _parents(self.path), workplace(self.path, self.held) as temporary:
            fill(temporary)
            listed: dict[str, Any] = {FILES_KEY: digests(temporary)}
            if grows:
                listed[GROWS_KEY] = {name: (temporary / name).stat().st_size for name in grows}
            (temporary / RUN_FILE).write_text(to_json({**record, **listed}), encoding="utf-8")
            temporary.chmod(0o755)
            return self._take_name(temporary)

    def _take_name(self, temporary: Path) -> Path:
        if self.held is None:
            try:
                # Fails if the name has been taken by anything but an empty folder.
                temporary.rename(self.path)
            except OSError:
                if not os.path.lexists(self.path):
                    raise
                return _beside(temporary, self.path)
            return self.path
        if _held_now(self.path) != self.held:
            return _beside(temporary, self.path)
        exchange_names(temporary, self.path)
        if _held_now(temporary) == self.held:
            give_up(temporary)
        else:
            # Another run came between the look and the exchange: what it wrote is kept.
            _beside(temporary, self.path)
        return self.path


def out_folder(path: Path) -> OutFolder:
    """Return a folder that may be written.

    Raises
    ------
    InputError
        If the path is a link, a mount point, the present folder or one above it, or leads through a file; if the folder holds
        anything that its record does not list, or lists with another content; or if its parent cannot be written.
    """
    faults = _place_faults(path)
    if not faults and path.is_dir() and any(path.iterdir()):
        faults = _content_faults(path)
    if faults:
        raise InputError(faults)
    return OutFolder(path, _held_now(path))


def new_folder(path: Path, fill: Callable[[Path], Any]) -> None:
    """Write a folder that must not exist, as a whole.

    Raises
    ------
    InputError
        If something has the name, or its parent cannot be written.
    """
    faults = _place_faults(path)
    if os.path.lexists(path):
        faults = [Fault(str(path), "something there already", "a name that is free")]
    if faults:
        raise InputError(faults)
    with _parents(path), workplace(path) as temporary:
        fill(temporary)
        temporary.chmod(0o755)
        temporary.rename(path)


def is_recorded(path: Path) -> bool:
    """Return whether a file is, or by its name would be, a run record or one of the files that the record beside it lists."""
    return path.name == RUN_FILE or path.name in (_listed(path.parent / RUN_FILE) or {})


def recorded_files(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the run record of a folder of results, and the digests of the files that it lists.

    Raises
    ------
    InputError
        If it is no folder, or one without such a record.
    """
    expected = "a folder of results"
    if folder.is_symlink() or not folder.is_dir():
        found = "a link" if folder.is_symlink() else "a file" if folder.exists() else "no such folder"
        raise InputError(Fault(str(folder), found, expected))
    listed = _listed(folder / RUN_FILE)
    if listed is None:
        raise InputError(Fault(str(folder), f"no {RUN_FILE} that lists its files", expected))
    return _read(folder / RUN_FILE), listed


def _place_faults(path: Path) -> list[Fault]:
    """Return what is wrong with a path before its content is looked at."""
    where, expected = str(path), "a folder to write, or a new name"
    if why := no_way(path):
        return [Fault(where, why, expected)]
    if path.is_symlink():
        return [Fault(where, "a link", expected)]
    if path.exists() and not path.is_dir():
        return [Fault(where, "a file", expected)]
    here = Path.cwd()
    if path.resolve() in (here, *here.parents):
        return [Fault(where, "the present folder, or one above it", "a folder below or beside it")]
    if path.is_dir() and path.is_mount():
        return [Fault(where, "a mount point", "a folder below it")]
    above = next(folder for folder in (path.resolve().parent, *path.resolve().parents) if os.path.lexists(folder))
    if not above.is_dir():
        return [Fault(where, f"{above} above it, which is a file", "a path through folders")]
    if why := no_place(above):
        return [Fault(where, f"{above}, which {why}", "a folder that may be written")]
    return []


def _content_faults(folder: Path) -> list[Fault]:
    listed, grows = _listed(folder / RUN_FILE), _growing(folder / RUN_FILE)
    if listed is None:
        held = _named(sorted(path.name for path in folder.iterdir()))
        found = f"a folder that holds {held} and no {RUN_FILE} of a run that lists them"
        return [Fault(str(folder), found, "an empty or new folder, or an earlier run's")]
    foreign, changed = [], []
    for path in sorted(folder.iterdir()):
        if path.name == RUN_FILE:
            continue
        if path.name not in listed or path.is_symlink() or not path.is_file():
            foreign.append(path.name)
        elif digest(path, grows.get(path.name)) != listed[path.name] or not _has_grown(path, grows.get(path.name)):
            changed.append(path.name)
    expected = "only what its run record lists; move it away, or choose another folder"
    ways = ((foreign, "not of the run that wrote the folder"), (changed, "changed since the run that wrote it"))
    return [Fault(str(folder), f"{_named(names)}, {why}", expected) for names, why in ways if names]


def _listed(record: Path) -> dict[str, str] | None:
    """Return the files that a run record of this program lists, None where there is no such record."""
    files = _read(record).get(FILES_KEY)
    whole = isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())
    return files if whole else None


def _growing(record: Path) -> dict[str, int]:
    """Return of each file that may have grown how many bytes a run record lists."""
    found = _read(record).get(GROWS_KEY)
    return {name: size for name, size in found.items() if type(size) is int and size >= 0} if isinstance(found, dict) else {}


def _has_grown(path: Path, from_bytes: int | None) -> bool:
    """Return whether a file holds, beyond what is listed of it, nothing but lines that this program adds."""
    if from_bytes is None:
        return True
    with path.open("rb") as handle:
        handle.seek(from_bytes)
        return all(line.startswith(GROWN_LINE) or (GROWN_LINE.startswith(line[:9]) and line[-1:] != b"\n") for line in handle)


def _read(record: Path) -> dict[str, Any]:
    """Return a run record of this program, nothing where there is none."""
    if record.is_symlink() or not record.is_file() or record.stat().st_size > MOST_RECORD_BYTES:
        return {}
    try:
        data = json_value(record.read_bytes().decode())
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) and {"record_version", "zcube_version"} <= set(data) else {}


def _held_now(folder: Path) -> dict[str, str] | None:
    """Return what a folder of files holds, None where there is no folder; a link or a subfolder stands under its name alone."""
    return None if folder.is_symlink() or not folder.is_dir() else digests(folder)


def _beside(temporary: Path, path: Path) -> Path:
    """Give a folder the first free name of NAME-2, NAME-3 and so on, and return it."""
    for number in range(2, MOST_SIBLINGS):
        free = path.with_name(f"{path.name}-{number}")
        if os.path.lexists(free):
            continue
        try:
            # Fails if the name has been taken meanwhile by anything but an empty folder.
            temporary.rename(free)
        except OSError:
            if not os.path.lexists(free):
                raise
            continue
        return free
    raise InputError(Fault(str(path), f"{MOST_SIBLINGS} folders of that name and a number", "a free name"))


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above a target, which go again if nothing comes of it."""
    made = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        raise


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else shown
