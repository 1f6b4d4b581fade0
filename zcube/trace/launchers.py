"""What launchers and collectors of logs put before a line, and where NCCL's own line begins behind it.

Told by their documentation and output: srun ``--label`` (``3: ``), mpirun ``--tag-output`` of Open MPI 4 and 5
(``[1,3]<stdout>:``, ``[prterun-host-17@1,3]<stdout>:``), torchrun (``[default3]:``), Ray (``(RayTrainWorker pid=615,
ip=10.0.0.6) ``, in colours), kubectl ``--prefix`` and ``--timestamps`` (``[pod/job-0/main] ``,
``2025-06-01T10:00:00.123456789Z ``), stern (``job-0 main ``), Docker Compose (``worker-1  | ``), pdsh, clush and DeepSpeed
(``node1: ``) and journald (``Jun 01 10:00:00 node1 job[123]: ``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LAUNCHER = re.compile(
    r"""^(?:
        \[(?:[^\]\s]{1,200}@)?\d{1,9},\d{1,9}\]<std\w{1,8}>:\s?
      | \s{0,6}\d{1,7}:\s(?!\s*\d{1,2}:)
      | \[default\d{1,7}\]:\s?
      | \([\w.:<>-]{1,200}\s+pid=\d{1,10}(?:,\s*ip=[0-9a-fA-F.:]{1,60})?\)\s
      | \[pod/[^\]\s]{1,300}\]\s
      | \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)\s
      | [\w.-]{1,200}\s+\|\s
      | [A-Z][a-z]{2}\s[ \d]\d\s\d\d:\d\d:\d\d\s[\w.-]{1,200}\s[\w.-]{1,200}(?:\[\d{1,9}\])?:\s
      | [A-Za-z][\w.\[\]-]{0,200}:\s
      | [a-z][\w.-]{0,200}\s[a-z][\w.-]{0,200}\s(?=\#|\s{2,}\d)
    )""",
    re.VERBOSE | re.ASCII,
)
_MOST_LAUNCHERS = 4
#: Colours of a terminal (ECMA-48, select graphic rendition), as Ray puts them around its prefix.
_COLOUR = re.compile(r"\x1b\[[\d;]{0,20}m")
_NCCL = re.compile(
    r"(?:\[(?P<stamp>\d{2,4}[-/:.][^\]]{1,60})\] )?"
    r"(?P<host>[^:\s\[\]()<>|]{1,255}):(?P<pid>\d{1,10}):\d{1,10} \[(?P<device>\d{1,4})\] NCCL INFO ",
    re.ASCII,
)
_STAMP = re.compile(r"[0-9TZ:.,+ -]{8,}")
#: Ray prints a line that several workers have in common once, with this behind it.
RAY_REPEATED = re.compile(r" ?\[repeated \d+x across cluster\].*$")


@dataclass(frozen=True, slots=True)
class NcclMessage:
    """One message of NCCL's log.

    Attributes
    ----------
    writer : str
        What stands before it in the line, times left out: tells processes in one file apart that name themselves alike.
    stamp : str or None
        NCCL's own time.
    host, pid, device : str
        As the line begins.
    text : str
        What NCCL says.
    """

    writer: str
    stamp: str | None
    host: str
    pid: str
    device: str
    text: str


def without_launcher(line: str) -> str:
    """Return a line without what launchers put before it."""
    line = _COLOUR.sub("", line)
    for _ in range(_MOST_LAUNCHERS):
        shorter = _LAUNCHER.sub("", line, count=1)
        if shorter == line:
            break
        line = shorter
    return line


def nccl_messages(line: str) -> Iterator[NcclMessage]:
    """Yield the messages of NCCL in a line: one, or several where writers ran into each other."""
    line = _COLOUR.sub("", line)
    found = list(_NCCL.finditer(line))
    for place, match in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(line)
        writer = _STAMP.sub("", line[: match.start()])[:200] if place == 0 else ""
        yield NcclMessage(writer, match["stamp"], match["host"], match["pid"], match["device"], line[match.end() : end])
