"""Faults and signals at the writing system calls of every verb: what stands afterwards is the old result or the new one, whole.

``python tests/write_faults.py --faults 500 --kills 2000 --seed 0`` makes them and prints a summary as JSON; exit 1 if anything
was lost, half-written, left behind or not told. One process loads the program once, and every case is a copy of it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any
from unittest.mock import patch

import writing_verbs
from system_calls import TAKES_ROOM, Call, Ended, missing, watch

from zcube.cli import main
from zcube.errors import InputError, RunError
from zcube.out_folder import out_folder
from zcube.workplace import clear_leftovers, digests

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS)
#: Errors of calls that name two paths, beside these.
OF_RENAMES = (errno.EXDEV, errno.EPERM)
#: What may stand afterwards.
STATES = ("old", "begun", "new")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RECORD = {"record_version": 1, "zcube_version": "0"}
#: Options and arguments whose target must not exist.
NEW_ONLY = {("new", "folder"), ("transport copy", "file")}
OLD = b"old\n"
#: Calls of a case that are met, drawn where it makes more.
MOST_CALLS = 60
#: Status by signal, for cases in which it came before the end.
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143}, signal.SIGINT: {130}}


@dataclass
class Case:
    """A verb with one path that it writes, into a place with or without an old result."""

    verb: str
    name: str
    is_old: bool
    files: Path
    calls: list[Call] = field(default_factory=list)
    new: Mapping[str, str] = field(default_factory=dict)
    cpu_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.verb} {self.name}{' over an old result' * self.is_old}"

    def target(self, place: Path) -> Path:
        """Return what is written in a place."""
        return place / f"out{writing_verbs.WRITTEN[self.verb, self.name][1].strip('/')}"

    def own(self, place: Path) -> list[Path]:
        """Return all that is written in a place: the target, and what is written beside it unasked."""
        target = self.target(place)
        return [target, *([target.with_suffix(".links.csv")] if self.verb == "fabric import" else [])]

    def prepare(self, place: Path) -> None:
        """Make the place: the user's files, and the old result."""
        (place / "tmp").mkdir(parents=True)
        (place / "thesis.tex").write_text("mine")
        (place / ".out.d").mkdir()
        (place / ".out.d" / "notes.txt").write_text("mine")
        if not self.is_old:
            return
        target, *beside = self.own(place)
        if target.suffix:
            page = (self.files / "run" / "report.html").read_bytes() if self.verb == "report" else b""
            target.write_bytes(page + OLD)
            for links in beside:
                links.write_bytes(OLD)
                target.write_text(f'family = "custom"\nlinks = "{links.name}"\n')
        else:
            out_folder(target).write(lambda folder: (folder / "old.csv").write_bytes(OLD), RECORD)

    def work(self, place: Path) -> Callable[[], int]:
        """Return what does the verb's work in a place."""
        arguments, _ = writing_verbs.written_by(self.verb, self.name, self.files)

        def call() -> int:
            with (
                patch.object(tempfile, "tempdir", str(place / "tmp")),
                measured_by_a_fake(self.files) if self.verb == "calibrate run" else contextlib.nullcontext(),
            ):
                try:
                    main([*arguments, str(self.target(place))])
                except SystemExit as done:
                    return int(done.code or 0)
            return 0

        return call

    def state(self, place: Path, before: Mapping[str, str]) -> str:
        """Return "old", "new" or what is wrong with what stands in a place."""
        found = contents(self.own(place))
        if found == {name: digest for name, digest in before.items() if name in names(self.own(place))}:
            return "old"
        if self.verb in ("sweep", "matrix") and set(found) < set(self.new) and self.target(place).is_dir():
            # Runs are kept one by one in a folder of their own, which the whole result then replaces.
            try:
                return "begun" if set(names([self.target(place)])) and out_folder(self.target(place)) else "empty"
            except InputError as error:
                return f"not what its record says: {error}"
        if set(found) != set(self.new):
            return f"half of a result: {sorted(set(found) ^ set(self.new))}"
        different = [name for name, digest in self.new.items() if digest and found[name] != digest]
        if different:
            return f"other content: {different}"
        target = self.target(place)
        if target.is_dir() and (target / "run.json").is_file():
            try:
                out_folder(target)
            except InputError as error:
                return f"not what its record says: {error}"
        return "new"


def names(paths: list[Path]) -> set[str]:
    return {name for path in paths for name in contents([path])}


def contents(paths: list[Path]) -> dict[str, str]:
    """Return the digest of every file of some files and folders, by the name from the target on."""
    found = {}
    for path in paths:
        if path.is_dir():
            found |= {f"{path.name}/{name}": digest for name, digest in digests(path).items()} or {f"{path.name}/": ""}
        elif path.is_file():
            found[path.name] = digests(path.parent)[path.name]
    return found


#: Said where the program that stands in for nccl-tests could not write its own file.
FAILED_PROGRAM = "nccl-tests ended with exit status 1"


@contextlib.contextmanager
def measured_by_a_fake(files: Path) -> Iterator[None]:
    """Stand in for GPUs: two of them, and nccl-tests that print what was measured once."""
    from zcube.calibrate.measure import run

    fakes = {
        "look": lambda settings: fake_machine(),
        "choose_driver": lambda settings, machine: "nccl-tests",
        "run_call": lambda call, timeout_s, on_line: fake_nccl_tests(call.command),
    }
    with patch.multiple(run, **fakes):
        yield


def fake_nccl_tests(command: tuple[str, ...]) -> None:
    """Write what nccl-tests write, of one size."""
    given = dict(pairwise(command))
    row = {"size": 1024, "count": 512, "type": "bfloat16", "out_of_place": {"time": 10.5, "nwrong": 0}}
    devices = [{"rank": 0, "hostname": "host", "device_info": "a GPU"}]
    config = {"iterations": 20, "nthreads": 1, "ngpus": 2, "devices": devices}
    said = {"version": 2, "start_time": "x", "end_time": "x", "args": list(command), "env": [], "nccl_version": 22809}
    try:
        Path(given["-J"]).write_text(json.dumps({**said, "config": config, "results": [row]}))
    except OSError as error:
        # What another program could not write is told as that program's failure.
        raise RunError(f"{FAILED_PROGRAM}: {error.strerror}") from error


def fake_machine() -> Any:
    from zcube.calibrate.measure.hardware import Machine

    gpu = {"name": "a GPU", "driver": "1"}
    return Machine((gpu, gpu), 900.0, (18, 18), {"GPU0-GPU1": "NV18"}, (), {}, ("alltoall_perf",), False)


class Harness:
    """Makes cases in a folder of its own."""

    def __init__(self, base: Path, only: Sequence[str]):
        self.base, self.number = base, 0
        self.files = base / "files"
        self.files.mkdir(parents=True)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        asked = [call for call in writing_verbs.WRITTEN if any(part in " ".join(call) for part in only)]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            writing_verbs.make_files(self.files, asked)
        self.cases = [
            case
            for verb, name in asked
            for is_old in ((False,) if (verb, name) in NEW_ONLY else (False, True))
            if (case := Case(verb, name, is_old, self.files)) and self.learn(case)
        ]

    def place(self) -> Path:
        self.number += 1
        return self.base / str(self.number)

    def learn(self, case: Case) -> bool:
        """Let a case run to its end, here the first time so that what it loads stays loaded, and keep what it writes."""
        found = []
        for attempt in range(2):
            place = self.place()
            case.prepare(place)
            if attempt == 0 and not case.is_old:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                    status = case.work(place)()
            else:
                ended = watch(case.work(place), place, lambda call: 0)
                case.cpu_s = ended.cpu_s
                status, case.calls, said = ended.status, ended.calls, io.StringIO(ended.stderr)
            if status not in (0, 1) or not contents(case.own(place)):
                self.wrong.append(f"{case}: status {status} without any fault: {said.getvalue()[-500:]}")
                return False
            found.append(contents(case.own(place)))
            shutil.rmtree(place)
        # Where two runs differ, as in the time of a record, any content will do.
        case.new = {name: digest if found[1].get(name) == digest else "" for name, digest in found[0].items()}
        return True

    def meet(self, case: Case, at: int, decision: int, lasting: bool, again: bool) -> str:
        """Meet a call of a case with an error or a signal, and return what stands afterwards; what is wrong is noted."""
        place = self.place()
        case.prepare(place)
        before = everything(place)
        fired: list[Call] = []

        def decide(call: Call) -> int:
            if call.place == at or (lasting and fired and (decision == errno.EROFS or call.name in TAKES_ROOM)):
                fired.append(call)
                return decision
            return 0

        told = f"{case}, {'from ' if lasting else ''}call {at} {'meets' if decision < 0 else 'fails with'} {named(decision)}"
        try:
            ended = watch(case.work(place), place, decide)
        except TimeoutError as error:
            self.wrong.append(f"{told}: {error}")
            return "hung"
        told += f" ({fired[0].name} {' '.join(Path(path).name for path in fired[0].paths)})" if fired else " (not reached)"
        state = case.state(place, before)
        for fault in self.faults(case, place, before, state, ended, decision if fired else 0, lasting):
            self.wrong.append(f"{told}: {fault}")
        self.next_run(case, place, told, again and (case.verb, case.name) not in NEW_ONLY)
        shutil.rmtree(place, ignore_errors=True)
        self.outcomes[f"{state if state in STATES else 'between two files'}, status {ended.status}"] += 1
        return state

    def faults(
        self, case: Case, place: Path, before: Mapping[str, str], state: str, ended: Ended, decision: int, lasting: bool
    ) -> Iterator[str]:
        """Yield what is wrong after a case."""
        # Two files that belong together can not get their names at once: see zcube.outputs.write_files.
        between = (
            case.verb == "fabric import" and (lasting or decision == -signal.SIGKILL) and state.startswith(("other", "half"))
        )
        if state not in STATES and not between:
            yield f"{state}; status {ended.status} {ended.stderr[-300:]}"
        after = everything(place)
        own = tuple(path.name for path in case.own(place))
        if lost := [name for name in before if not name.startswith(own) and after.get(name) != before[name]]:
            yield f"the user's files changed: {lost}"
        if "Traceback" in ended.stderr or "Exception ignored" in ended.stderr:
            yield f"a traceback: {ended.stderr[-600:]}"
        if decision < 0:
            if ended.status not in ENDS[signal.Signals(-decision)] | {0, 1}:
                yield f"status {ended.status}: {ended.stderr[-300:]}"
        elif ended.status not in (0, 1, 2):
            yield f"status {ended.status}: {ended.stderr[-300:]}"
        elif state != "new" and ended.status == 0 and decision:
            yield "status 0 without a result"
        elif state != "new" and decision and str(place) not in ended.stderr and FAILED_PROGRAM not in ended.stderr:
            yield f"the file is not named: {ended.stderr[-300:]}"

    def next_run(self, case: Case, place: Path, told: str, again: bool) -> None:
        """Let the next run into the same place come, or only what it does first."""
        if again:
            state_before = contents(case.own(place))
            ended = watch(case.work(place), place, lambda call: 0)
            if ended.status not in (0, 1) and not (ended.status == 2 and (case.verb, case.name) in NEW_ONLY):
                self.wrong.append(f"{told}: the next run ends with {ended.status}: {ended.stderr[-300:]}")
            elif ended.status in (0, 1) and set(contents(case.own(place))) != set(case.new):
                self.wrong.append(
                    f"{told}: the next run leaves {sorted(contents(case.own(place)))}, before {sorted(state_before)}"
                )
            if ended.status == 2:
                self.clear(case, place)
        else:
            self.clear(case, place)
        if left := leftovers(place):
            self.wrong.append(f"{told}: not cleared by the next run: {left}")

    def clear(self, case: Case, place: Path) -> None:
        for target in case.own(place):
            clear_leftovers(target)


def everything(place: Path) -> dict[str, str]:
    return contents([path for path in place.iterdir() if path.name != "tmp"])


def leftovers(place: Path) -> list[str]:
    return [path.name for path in place.iterdir() if path.name.startswith(".") and path.name != ".out.d"]


def named(decision: int) -> str:
    return signal.Signals(-decision).name if decision < 0 else errno.errorcode[decision]


def plan(cases: list[Case], faults: int, kills: int, seed: int) -> Iterator[tuple[Case, int, int, bool]]:
    """Yield what meets which call of which case: every call of every case in turn, cheap cases more often."""
    draw = random.Random(seed)
    for count, is_kill in ((faults, False), (kills, True)):
        every = [(case, call) for case in cases for call in draw.sample(case.calls, min(len(case.calls), MOST_CALLS))]
        draw.shuffle(every)
        # One of each case first, then by what they cost.
        every.sort(key=lambda one: one[0].cpu_s > 1.0)
        first = {id(case): (case, call) for case, call in reversed(every)}
        order = [*first.values(), *every]
        for turn in range(count):
            case, call = order[turn % len(order)]
            if is_kill:
                yield case, call.place, -draw.choice(SIGNALS), False
            else:
                several = OF_RENAMES if call.name.startswith(("rename", "link")) else ()
                error = draw.choice((*ERRORS, *several))
                yield case, call.place, error, error in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) and draw.random() < 0.5


def run(
    faults: int, kills: int, seed: int, only: Sequence[str] = ("",), again: float = 0.1, seconds: float = inf
) -> dict[str, Any]:
    """Make faults and kills, at most for so long, and return a summary."""
    draw, done = random.Random(seed + 1), Counter()
    with tempfile.TemporaryDirectory(prefix="zcube-faults-") as folder:
        harness = Harness(Path(folder).resolve(), only)
        told = 0
        calls = sum(len(case.calls) for case in harness.cases)
        begun_s = time.monotonic()
        for case, at, decision, lasting in plan(harness.cases, faults, kills, seed):
            if time.monotonic() - begun_s > seconds:
                break
            harness.meet(case, at, decision, lasting, draw.random() < again * (case.cpu_s < 1.0))
            done["kills" if decision < 0 else "faults"] += 1
            for wrong in harness.wrong[told:]:
                print(dict(done), wrong, file=sys.stderr, flush=True)
            told = len(harness.wrong)
    verbs = sorted({case.verb for case in harness.cases})
    outcomes = dict(sorted(harness.outcomes.items()))
    return {"verbs": verbs, "calls": calls, **done, "outcomes": outcomes, "wrong": harness.wrong}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of verbs and their arguments' names")
    parser.add_argument("--again", type=float, default=0.1, help="share of cases after which the verb is run again")
    parser.add_argument("--seconds", type=float, default=inf, help="after which no further case begins")
    asked = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    summary = run(asked.faults, asked.kills, asked.seed, asked.only, asked.again, asked.seconds)
    print(json.dumps(summary, indent=1))
    sys.exit(bool(summary["wrong"]))
