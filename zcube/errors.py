"""Errors that name what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

#: Faults that an error lists; the rest is counted.
MOST_FAULTS = 1000
#: Characters of a fault's place, of what was found and of what is expected that are shown.
MOST_SHOWN = 1500


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input.

    Attributes
    ----------
    where : str
        The file and key or line, or the command-line option, e.g. ``"my.toml: serving.chunk_tokens"``.
    found : str
        What stands there.
    expected : str
        What should stand there, so that the reader can mend it.
    """

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{_shown(self.where)}: found {_shown(self.found)}; expected {_shown(self.expected)}"


def _shown(text: str) -> str:
    """Return the beginning of a text, whose keys and cells may have any length, such that it does not steer a terminal."""
    if not text.isprintable():
        text = (
            "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text[:MOST_SHOWN])
            + text[MOST_SHOWN : MOST_SHOWN + 1]
        )
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


class ZcubeError(Exception):
    """Base of every error this package raises on purpose."""

    exit_status = 1


class InputError(ZcubeError):
    """The input cannot be used; carries every fault found, not only the first.

    Parameters
    ----------
    faults : iterable of Fault
        At least one fault.
    """

    exit_status = 2

    def __init__(self, faults: Iterable[Fault] | Fault):
        found = (faults,) if isinstance(faults, Fault) else tuple(dict.fromkeys(faults))
        # One that was listed so before has one more, which says so.
        if len(found) > MOST_FAULTS + 1:
            rest = Fault(
                found[MOST_FAULTS].where, f"{len(found) - MOST_FAULTS} more faults", "none; the first ones are listed above"
            )
            found = (*found[:MOST_FAULTS], rest)
        self.faults: tuple[Fault, ...] = found
        # The faults are the argument, so that the error survives being pickled and raised again.
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


@dataclass(frozen=True)
class FaultList:
    """Gathers the faults of checks that do not need each other, so that they are told at once.

    Each check stands in a ``with`` block of its own; :meth:`check` raises what all of them found.
    """

    faults: list[Fault] = field(default_factory=list)

    def __enter__(self) -> None:
        """Begin a check."""

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Keep the faults of a check that found some; any other error goes on."""
        if not isinstance(error, InputError):
            return False
        self.faults[:] = dict.fromkeys([*self.faults, *error.faults])
        return True

    def check(self) -> None:
        """Raise what was found, if anything was.

        Raises
        ------
        InputError
            With the faults of every check, each once.
        """
        if self.faults:
            raise InputError(self.faults)


class RunError(ZcubeError):
    """A run on valid input failed."""

    exit_status = 1


class OutputError(RunError, OSError):
    """A file or folder that was asked for cannot be written; the message names it."""

    exit_status = 1


class NetworkStoppedError(RunError):
    """A network cannot go on: a transfer has no path, or ports wait for each other."""
