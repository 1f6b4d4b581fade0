"""How files are read, and what all readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zcube.calibrate.measurements import Measurements
from zcube.calibrate.operations import NIC_PATHS, PATHS
from zcube.calibrate.points import MAX_RANKS, Metadata, Row, capped, row_faults
from zcube.errors import Fault, InputError


@dataclass(frozen=True)
class ReadOptions:
    """How files are read.

    Attributes
    ----------
    path : str, optional
        Path class of all points, one of :data:`~zcube.calibrate.operations.PATHS`, in place of what the file says.
    operation : str, optional
        Operation of files that do not name it.
    ranks : int, optional
        Ranks of files that do not name them.
    lenient : bool
        Leave out what is broken and say so, instead of refusing.
    """

    path: str | None = None
    operation: str | None = None
    lenient: bool = False
    ranks: int | None = None

    def __post_init__(self) -> None:
        if self.ranks is not None and not 1 <= self.ranks <= MAX_RANKS:
            raise InputError(Fault("ranks", str(self.ranks), f"1 to {MAX_RANKS}"))
        if self.path is not None and self.path not in PATHS:
            raise InputError(Fault("path", repr(self.path)[:60], f"one of {', '.join(PATHS)}"))


class Gathering:
    """Rows on their way from one file, with what is wrong with it."""

    def __init__(self, source: str, options: ReadOptions):
        self.source, self.options = source, options
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self._faults: list[Fault] = []
        self._alone = False

    def add(self, row: Row, where: str) -> None:
        """Take a row, or note why it cannot be true."""
        faults = row_faults(row, f"{self.source}: {where}")
        self._faults += faults
        if not faults:
            self.rows.append(row)

    def path(self, hosts: int, inside: str = "unspecified") -> str:
        """Return the path class of a run over some hosts: what the reader was told, else what follows from the hosts."""
        if self.options.path is not None:
            return self.options.path
        if hosts > 1:
            self.note(f"runs over several hosts are taken as {NIC_PATHS[0]}")
            return NIC_PATHS[0]
        return inside

    def alone(self) -> None:
        """Note runs of one rank, which move nothing between GPUs."""
        self._alone = True

    def broken(self, where: str, found: str, expected: str) -> None:
        """Note what is wrong with the file."""
        self._faults.append(Fault(f"{self.source}: {where}" if where else self.source, found, expected))

    def note(self, text: str) -> None:
        """Say what was left out or taken for granted."""
        if text not in self.notes:
            self.notes.append(text)

    def measurements(self, metadata: Metadata) -> Measurements:
        """Return what was gathered.

        Raises
        ------
        InputError
            With every fault, unless lenient; always if there is no usable point.
        """
        if self._faults and not self.options.lenient:
            raise InputError(capped(self._faults, self.source))
        if self._alone and not self.rows:
            raise InputError(
                Fault(
                    self.source,
                    "runs of one rank each: nothing crosses a link in them",
                    "runs of several ranks: nccl-tests built with MPI=1 and started by mpirun or srun, or one process with"
                    " -g GPUS",
                )
            )
        if self._alone:
            self.note("runs of one rank are left out: nothing crosses a link in them")
        if not self.rows:
            raise InputError(capped([*self._faults, Fault(self.source, "no measured point", "at least one")], self.source))
        told: Sequence[str] = [f"left out: {fault.where}: {fault.found}" for fault in capped(self._faults, self.source)]
        return Measurements.of(self.rows, metadata, notes=[*self.notes, *told])
