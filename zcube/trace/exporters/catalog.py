"""The formats that a trace can be written in, by the ending of a file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.trace.comm_trace import CommTrace
from zcube.trace.exporters.goal_files import write_goal, write_goal_binary
from zcube.trace.exporters.ns3_flows import write_flows

#: Ending -> what is written.
FORMATS: dict[str, Callable[[CommTrace, Path], None]] = {".goal": write_goal, ".bin": write_goal_binary, ".txt": write_flows}


def export_trace(trace: CommTrace, path: Path) -> None:
    """Write a trace in the format of a name's ending.

    Raises
    ------
    InputError
        If no format has that ending, or the trace has too much for it.
    """
    write = FORMATS.get(path.suffix)
    if write is None:
        raise InputError(Fault(str(path), f"the ending {path.suffix!r}", " or ".join(FORMATS)))
    write(trace, path)
