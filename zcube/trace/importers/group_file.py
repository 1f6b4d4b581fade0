"""The file that names the ranks of process groups: ASTRA-sim's ``comm_group.json``, ``{"0": [0, 1], "1": [2, 3]}``."""

from __future__ import annotations

from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import json_document
from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import MAX_MEMBERS

MAX_FILE_BYTES = 64 << 20


def read_groups(path: Path) -> dict[str, list[int]]:
    """Return the ranks of each group by its name.

    Raises
    ------
    InputError
        With every group that is no list of different ranks.
    """
    document = json_document(path, read_bounded(path, MAX_FILE_BYTES))
    if not isinstance(document, dict) or not document:
        raise InputError(Fault(str(path), "no object of groups", 'an object such as {"0": [0, 1], "1": [2, 3]}'))
    if sum(len(ranks) for ranks in document.values() if isinstance(ranks, list)) > MAX_MEMBERS:
        raise InputError(Fault(str(path), "more ranks in all groups", f"at most {MAX_MEMBERS}"))
    faults = [
        Fault(f"{path}: {str(name)[:60]}", repr(ranks)[:60], f"a list of different ranks of 0 to {MAX_RANKS - 1}")
        for name, ranks in document.items()
        if not isinstance(ranks, list)
        or not ranks
        or any(type(rank) is not int or not 0 <= rank < MAX_RANKS for rank in ranks)
        or len(set(ranks)) != len(ranks)
    ]
    if faults:
        raise InputError(faults[:20])
    return document
