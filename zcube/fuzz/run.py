"""Many inputs, one process after another: counts by kind, and what was found."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from zcube.fuzz.kinds import Kind
from zcube.fuzz.trial import MOST_TIME_S, Finding, content, limited, tried

#: Inputs after which a process is replaced, so that what libraries keep does not add up.
_INPUTS_A_PROCESS = 50_000
_TELL_EVERY_S = 0.5
#: Time by the clock after which an input counts as hung whatever it took of a processor, as one that waits.
_MOST_WAIT_S = 20 * MOST_TIME_S


@dataclass
class Counts:
    """What came of a kind's inputs: how many were tried and refused, the seconds of a processor and the memory they took."""

    tried: int = 0
    refused: int = 0
    cpu_s: float = 0.0
    longest_s: float = 0.0
    most_bytes: int = 0


@dataclass
class Fuzzed:
    """What came of a run.

    Attributes
    ----------
    counts : dict
        By kind.
    findings : dict
        The first input of each kind and place that was found, and how many there were.
    next_number : int
        Of the inputs that come after the last.
    wall_s, cpu_s : float
        Time that it took.
    """

    counts: dict[str, Counts]
    findings: dict[tuple[str, ...], tuple[Finding, int]] = field(default_factory=dict)
    next_number: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def tried(self) -> int:
        """Inputs of all kinds."""
        return sum(one.tried for one in self.counts.values())

    def note(self, finding: Finding) -> bool:
        """Count a finding; return whether it is the first of its kind and place."""
        key = (finding.kind, finding.what, finding.place, finding.told.partition(":")[0])
        first, count = self.findings.get(key, (finding, 0))
        self.findings[key] = first, count + 1
        return count == 0


def fuzz(
    kinds: Sequence[Kind],
    *,
    seed: int = 0,
    first: int = 0,
    seconds: float = float("inf"),
    inputs: int | None = None,
    tell: Callable[[str], None] = print,
    keep: Path | None = None,
) -> Fuzzed:
    """Read changed copies of sound files, each under limits of time and memory.

    Round after round every kind gets an input; those of a round are a function of seed and number alone.

    Parameters
    ----------
    kinds : sequence of Kind
        Whose readers are tried.
    seed : int
        Of the changes.
    first : int
        Round to begin with; 0 is that of the sound files.
    seconds, inputs : float, int
        When to end, whichever comes first.
    tell : callable
        Given a line for each finding.
    keep : Path, optional
        Folder that inputs of findings are written into.
    """
    sound = {kind.name: kind.sound() for kind in kinds}
    fuzzed = Fuzzed({kind.name: Counts() for kind in kinds}, next_number=first)
    began, cpu = time.monotonic(), _cpu_s()
    at = (first, 0)
    with tempfile.TemporaryDirectory(prefix="zcube-fuzz-") as folder:
        while at is not None and time.monotonic() - began < seconds and (inputs is None or fuzzed.tried < inputs):
            worker = _Worker(kinds, sound, seed, at, Path(folder))
            rest = None if inputs is None else inputs - fuzzed.tried
            for found in worker.run(fuzzed, began + seconds, rest):
                # A process that has ended has not counted its last input.
                fuzzed.counts[found.kind].tried += found.what in ("hang", "death")
                if fuzzed.note(found):
                    tell(f"{found.what} {found.kind} {found.number}: {found.told} ({found.place})")
                if keep is not None and found.number:
                    kind = next(kind for kind in kinds if kind.name == found.kind)
                    keep.mkdir(parents=True, exist_ok=True)
                    name = f"{found.kind.replace(' ', '-').replace('/', '-')}-{found.number}-{kind.file}"
                    (keep / name).write_bytes(content(kind, sound[kind.name], seed, found.number))
            at = worker.at
    fuzzed.next_number, fuzzed.wall_s, fuzzed.cpu_s = at[0], time.monotonic() - began, _cpu_s() - cpu
    return fuzzed


class _Worker:
    """A process that reads inputs from a place on, and is ended where one takes too long."""

    def __init__(self, kinds: Sequence[Kind], sound: dict[str, bytes], seed: int, at: tuple[int, int], folder: Path):
        self._kinds, self.at = kinds, at
        # A fork has all modules and sound files in its memory at once.
        context = multiprocessing.get_context("fork")
        #: Round and place of the input that is being read, and since when, by the clock and in time of its processor.
        self._now = context.Array("d", [*at, time.monotonic(), 0.0])
        self._told, tells = context.Pipe(duplex=False)
        self._stacks = folder / "stacks"
        self._process = context.Process(
            target=_work, args=(kinds, sound, seed, folder, self._now, tells, self._stacks), daemon=True
        )
        self._process.start()
        tells.close()

    def run(self, fuzzed: Fuzzed, until: float, rest: int | None) -> Iterator[Finding]:
        """Add to the counts and yield what is found, until the process has ended or an end is reached."""
        done = 0
        while True:
            try:
                batch = self._told.recv() if self._told.poll(0.2) else None
            except EOFError:
                yield from self._ended()
                return
            if batch is not None:
                counts, findings, self.at = batch
                done += _add(fuzzed.counts, counts)
                yield from findings
            number, place, since, since_cpu = self._now[:]
            waited = time.monotonic() - since
            # The clock is asked first: it is never behind.
            if waited > MOST_TIME_S and (waited > _MOST_WAIT_S or self._cpu_s() - since_cpu > MOST_TIME_S):
                yield Finding(self._kinds[int(place)].name, int(number), "hang", f"more than {MOST_TIME_S:g} s", self._stop())
                self.at = _after(self._kinds, int(number), int(place))
                return
            if time.monotonic() > until or (rest is not None and done >= rest):
                self._stop()
                return

    def _ended(self) -> Iterator[Finding]:
        self._process.join()
        number, place, *_ = self._now[:]
        if self._process.exitcode:
            yield Finding(self._kinds[int(place)].name, int(number), "death", f"exit code {self._process.exitcode}")
            self.at = _after(self._kinds, int(number), int(place))

    def _cpu_s(self) -> float:
        """Return what the process has taken of a processor."""
        try:
            user, system = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            return 0.0
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _stop(self) -> str:
        """End the process; return the line of this package that it was at."""
        pid = self._process.pid
        assert pid is not None
        self._stacks.write_text("")
        os.kill(pid, signal.SIGUSR1)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        self._process.join()
        lines = [line for line in self._stacks.read_text().splitlines() if "/zcube/" in line and "/zcube/fuzz/" not in line]
        return lines[0].strip().rpartition("/zcube/")[2] if lines else ""


def _after(kinds: Sequence[Kind], number: int, place: int) -> tuple[int, int]:
    return (number, place + 1) if place + 1 < len(kinds) else (number + 1, 0)


def _work(
    kinds: Sequence[Kind], sound: dict[str, bytes], seed: int, folder: Path, now: Any, tells: Connection, stacks: Path
) -> None:
    """Read inputs from a place on, and tell of them every now and then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle = stacks.open("w")
    faulthandler.register(signal.SIGUSR1, handle, all_threads=False)
    folders = [folder / str(place) for place in range(len(kinds))]
    for one in folders:
        shutil.rmtree(one, ignore_errors=True)
        one.mkdir()
    number, place = int(now[0]), int(now[1])
    counts: dict[str, Counts] = {}
    findings: list[Finding] = []
    told = time.monotonic()
    with limited():
        for _ in range(_INPUTS_A_PROCESS):
            kind = kinds[place]
            if number % kind.one_in == 0:
                path = folders[place] / kind.file
                path.write_bytes(content(kind, sound[kind.name], seed, number))
                began_s = time.process_time()
                now[:] = [number, place, time.monotonic(), began_s]
                refused, taken, found = tried(kind, path, number)
                took_s = time.process_time() - began_s
                counts.setdefault(kind.name, Counts())
                _add(counts, {kind.name: Counts(1, refused, took_s, took_s, taken)})
                findings += [found] if found else []
            number, place = _after(kinds, number, place)
            now[:] = [number, place, time.monotonic(), time.process_time()]
            if time.monotonic() - told > _TELL_EVERY_S or findings:
                tells.send((counts, findings, (number, place)))
                counts, findings, told = {}, [], time.monotonic()
    tells.send((counts, findings, (number, place)))


def _add(counts: dict[str, Counts], more: dict[str, Counts]) -> int:
    """Add counts to those of the same kinds; return how many inputs they are of."""
    for name, new in more.items():
        old = counts[name]
        old.tried, old.refused, old.cpu_s = old.tried + new.tried, old.refused + new.refused, old.cpu_s + new.cpu_s
        old.longest_s, old.most_bytes = max(old.longest_s, new.longest_s), max(old.most_bytes, new.most_bytes)
    return sum(one.tried for one in more.values())


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
