"""Which rank a file is of, where the format keeps one file a rank: by its name, and that no two are of one."""

from __future__ import annotations

import re
from collections import defaultdict

from zcube.errors import Fault, InputError
from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.numbers import whole
from zcube.trace.importers.source import Source

_SUFFIX = r"(?:\.pt\.trace)?\.(?:json|et)(?:\.gz)?$"
_RANK = re.compile(r"rank[_.-]?(\d{1,7})(?!\d)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"[._-](\d{1,7})" + _SUFFIX)
_WORKER = re.compile(r"(?:worker|gpu)[_-]?(\d{1,7})(?!\d)", re.IGNORECASE)
#: MLCommons Chakra's feeders open NAME.RANK.et.
_CHAKRA = re.compile(r"\.(\d{1,7})\.(?:et|json)(?:\.gz)?$")


def rank_in_name(source: Source, chakra: bool = False) -> int | None:
    """Return the rank that a file's name tells, None if it tells none.

    It is the number after ``rank``, else the one before the suffix, else the one after ``worker`` or ``gpu``; of a Chakra trace
    first of all that of ``NAME.RANK.et``.
    """
    name = source.path.name
    found = _CHAKRA.search(name) if chakra else None
    if found is None:
        ranks = list(_RANK.finditer(name))
        found = ranks[-1] if ranks else _LAST_NUMBER.search(name) or _WORKER.search(name)
    return whole(found[1], MAX_RANKS - 1) if found else None


class FileRanks:
    """The ranks that files are of."""

    def __init__(self) -> None:
        self._files: dict[int, list[str]] = defaultdict(list)

    def claim(self, source: Source, rank: int) -> None:
        """Note that a file is of a rank."""
        self._files[rank].append(str(source.path))

    def check(self) -> None:
        """Refuse several files of one rank.

        Raises
        ------
        InputError
            With every rank of several files.
        """
        faults = [
            Fault(
                paths[0], f"rank {rank}, as of {', '.join(paths[1:4])}", "one file a rank; names that tell it, as job.RANK.json"
            )
            for rank, paths in sorted(self._files.items())
            if len(paths) > 1
        ]
        if faults:
            raise InputError(faults[:20])
