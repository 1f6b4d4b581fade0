"""One input: made from a seed, its kind and its number, and read under limits of memory; time is watched from outside."""

from __future__ import annotations

import resource
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from zcube.errors import InputError
from zcube.fuzz.kinds import Kind
from zcube.fuzz.mutations import changed

#: What reading an input of at most 1 MB may take, of a processor's time and of memory; a machine may be busy with other things.
MOST_TIME_S, MOST_MEMORY_BYTES = 10.0, 1_000_000_000
#: Longest fault that a terminal should show, characters.
MOST_FAULT = 5_000
#: Where memory ends for good, beyond what is mapped at the start: libraries reserve more than they use.
_MOST_MAPPED_BYTES = 4 << 30


@dataclass(frozen=True)
class Finding:
    """An input that a reader neither reads nor refuses as it should.

    Attributes
    ----------
    kind : str
        Of the file.
    number : int
        Of the input.
    what : str
        ``error``, ``fault``, ``memory``, ``hang`` or ``death``.
    told : str
        What happened, one line.
    place : str
        The last line of this package that ran.
    """

    kind: str
    number: int
    what: str
    told: str
    place: str = ""


def content(kind: Kind, sound: bytes, seed: int, number: int) -> bytes:
    """Return an input; number 0 is the sound file."""
    return sound if number == 0 else changed(sound, kind.form, Random(f"{seed}/{kind.name}/{number}"))


@contextmanager
def limited() -> Iterator[None]:
    """Let memory end before the machine's does, and warnings of this package's arithmetic be errors."""
    mapped = _status("VmSize") + _MOST_MAPPED_BYTES
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped, before[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", category=RuntimeWarning, module=r"zcube\.")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def tried(kind: Kind, path: Path, number: int) -> tuple[bool, int, Finding | None]:
    """Read an input; return whether it was refused, the memory that took, bytes, and what was found, if anything."""
    Path("/proc/self/clear_refs").write_text("5")
    before, refused, found = _status("VmRSS"), False, None
    try:
        kind.read(path)
    except InputError as error:
        refused, found = True, _fault_of(kind, number, error)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        told = f"{type(error).__name__}: {str(error)[:200]}"
        found = Finding(kind.name, number, "memory" if isinstance(error, MemoryError) else "error", ascii(told), _place(error))
    taken = _status("VmHWM") - before
    if found is None and taken > MOST_MEMORY_BYTES:
        found = Finding(kind.name, number, "memory", f"{taken / 1e9:.1f} GB")
    return refused, taken, found


def _fault_of(kind: Kind, number: int, error: InputError) -> Finding | None:
    """Return what is wrong with a refusal."""
    told = ""
    for fault in error.faults:
        if not (fault.where and fault.found and fault.expected):
            told = f"a fault that lacks a part: {fault.where!r:.60}, {fault.found!r:.60}, {fault.expected!r:.60}"
        elif len(str(fault)) > MOST_FAULT:
            told = f"a fault of {len(str(fault))} characters"
    text = str(error)
    if "\x1b" in text or any("\ud800" <= character <= "\udfff" for character in text):
        told = "a fault that steers a terminal, or cannot be written"
    return Finding(kind.name, number, "fault", told, _place(error)) if told else None


def _place(error: BaseException) -> str:
    stack = traceback.extract_tb(error.__traceback__)
    frames = [one for one in stack if "/zcube/" in one.filename and "/zcube/fuzz/" not in one.filename]
    return f"{frames[-1].filename.rpartition('/zcube/')[2]}:{frames[-1].lineno}" if frames else ""


def _status(key: str) -> int:
    """Return a figure of this process's memory, bytes."""
    with Path("/proc/self/status").open() as handle:
        for line in handle:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise KeyError(key)
