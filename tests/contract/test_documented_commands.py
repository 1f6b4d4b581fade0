"""Every command of README and docs is one of the program, up to the work that it would do; cheap ones are run."""

from __future__ import annotations

import importlib
import os
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from documented_commands import Command, blocks_of, inline_of, pages, parsed, reader_folder, script_faults, verb_faults

from zcube.cli import main
from zcube.samples.catalog import SAMPLES, write_samples

#: What a verb's work begins with: the call is made up to there, so that all that it names has been read and checked.
WORK = {
    "compare": ("zcube.searches:Searches.compared",),
    "matrix": ("zcube.matrix.loads:carried_load", "zcube.matrix.loads:served_load"),
    "sweep": ("zcube.sweep.sweep:run_sweep",),
    "replay": ("zcube.replays.banded:replay_with_band",),
    "plan": ("zcube.plan.plan:plan", "zcube.plan.standing:fabric_plan", "zcube.plan.search.search:search"),
    "fabric check": ("zcube.routing.claims:check_fabric",),
    "fabric adversary": ("zcube.network.adversary.report:adversarial_report",),
    "fabric degrade": ("zcube.network.degradation:degradations",),
    "fabric show": ("zcube.routing.shape:fabric_shape",),
    "warm": ("zcube.warm:warm",),
    "calibrate run": ("zcube.calibrate.measure.run:measure", "zcube.calibrate.measure.tiles.run:measure_tiles"),
}
#: Verbs that are run.
CHEAP = {
    "demo", "new", "cost", "transport list", "transport show", "transport copy", "fabric export", "fabric import",
    "fabric verify", "fabric draw", "trace generate", "trace show", "trace check", "trace import", "trace export",
    "calibrate read", "calibrate fit", "calibrate check",
}  # fmt: skip
#: Parameters of files that a call writes.
WRITTEN = {"picture", "tree", "chrome", "corrected", "topology"}


class Reached(BaseException):
    """The call got as far as its work."""


@pytest.fixture
def up_to_work(monkeypatch):
    """Stop every long verb where its work begins; nothing is compiled, no process started."""

    def stop(*args, **kwargs):
        raise Reached

    for places in WORK.values():
        for place in places:
            module, _, name = place.partition(":")
            holder = importlib.import_module(module)
            *outer, last = name.split(".")
            for part in outer:
                holder = getattr(holder, part)
            monkeypatch.setattr(holder, last, stop)
    monkeypatch.setattr("zcube.warm.missing_groups", lambda groups: [])
    monkeypatch.setattr("zcube.run_time.jobs_for", lambda *args: 1)
    monkeypatch.setattr("zcube.side_by_side.jobs_for", lambda *args: 1)


class Session:
    """The commands of a page one after the other, in a folder that holds the samples."""

    def __init__(self):
        #: Names that calls not made to their end would have written.
        self.promised: set[str] = set()

    def faults(self, command: Command, is_run: bool = True) -> list[str]:
        """Return what is wrong with a command; one that is not run is only parsed."""
        if command.words[0] == "cd":
            if not Path(command.words[1]).is_dir():
                return [f"{command.place}: no folder {command.words[1]}"]
            os.chdir(command.words[1])
            return []
        if not command.is_ours:
            return script_faults(command)
        words = [command.words[0], *(name for word in command.words[1:] for name in expanded(word))]
        try:
            verb, given = parsed(words)
        except Exception as error:
            return [f"{command.place}: {type(error).__name__}: {getattr(error, 'message', error)}"]
        if not is_run or (verb not in WORK and verb not in CHEAP):
            return []
        reads_promised = any(Path(name).parts[0] in self.promised for name in read(given) if Path(name).parts)
        faults = [] if reads_promised else self._run(command, words)
        if verb not in CHEAP or reads_promised:
            self.promised |= {Path(name).parts[0] for name in written(given)}
        return faults

    def _run(self, command: Command, words: list[str]) -> list[str]:
        try:
            main(words[1:])
        except Reached:
            return []
        except SystemExit as end:
            return [] if end.code in command.statuses else [f"{command.place}: exit status {end.code}"]
        return [f"{command.place}: did not end"]


def expanded(word: str) -> list[str]:
    """Return what a shell makes of a word: names of files, where it has a star that some have."""
    return sorted(str(path) for path in Path().glob(word)) or [word] if "*" in word and not Path(word).is_absolute() else [word]


def read(given: dict) -> list[str]:
    """Return what may name files among a call's parameters, those that it writes left out."""
    values = [value for name, value in given.items() if name not in WRITTEN and name != "out" and not name.endswith("_out")]
    words = [str(word) for value in values for word in (value if isinstance(value, list | tuple) else [value])]
    return [part for word in words for part in re.split("[,=]", word)]


def written(given: dict) -> list[str]:
    """Return the files and folders that a call's parameters name for writing; a default's folder is of all comparisons."""
    named = [value for name, value in given.items() if name == "out" or name.endswith("_out") or name in WRITTEN]
    return ["zcube-out", *(str(value) for value in named if value is not None)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_of_a_page_get_as_far_as_their_work(page, tmp_path, monkeypatch, up_to_work, capsys):
    blocks = blocks_of(page)
    if not blocks:
        pytest.skip("no commands on the page")
    # README makes the samples itself.
    monkeypatch.chdir(reader_folder(tmp_path, None if page.name == "README.md" else write_samples))
    session = Session()
    faults = []
    for block in blocks:
        faults += block.faults()
        for command in block.commands:
            # What needs a package of the reader's is run where that package is made: test_worked_examples.py.
            told = session.faults(command, is_run=block.mark is None)
            said = capsys.readouterr().err
            faults += [f"{fault}\n{said}" for fault in told]
    assert not faults, "\n".join(faults)


def test_a_page_whose_commands_name_samples_says_where_they_come_from():
    for page in pages():
        commands = [command for block in blocks_of(page) if block.mark is None for command in block.commands]
        words = {word for command in commands for word in command.words}
        named = {name for sample in SAMPLES for name in sample.makers if any(fnmatch(name, word) for word in words)}
        assert not named or "zcube demo" in page.read_text(encoding="utf-8"), (page.name, named)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_calls_in_running_text_have_verbs_and_options_that_exist(page):
    faults = [fault for command in inline_of(page) for fault in verb_faults(command)]
    assert not faults, "\n".join(faults)


def page_of(tmp_path, *lines, mark="", language="sh"):
    page = tmp_path / "page.md"
    head = f"<!-- not run: {mark} -->\n" if mark else ""
    page.write_text(f"# A page\n\n{head}```{language}\n" + "\n".join(lines) + "\n```\n")
    return page


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("zcube plot zcube-1024", "plot"),
        ("zcube fabric paint zcube-1024", "paint"),
        ("zcube cost zcube-1024 --currency eur", "--currency"),
        ("zcube cost zcube-77                   # a comment", "exit status 2"),
        ("zcube compare --set load.rat=3", "exit status 2"),
        ("zcube compare --microscope many", "BadParameter"),
        ("zcube compare --seeds 5 && zcube cost zcube-77", "exit status 2"),
        ("zcube matrix kv-funnel --transports roce-2024", "exit status 2"),
        ("zcube replay flows.csv --fabric zcube-n16 \\\n  --fidelity packets", "exit status 2"),
        ("zcube replay other.csv --fabric zcube-n16", "exit status 2"),
        ("zcube trace check nccl.*.txt", "exit status 2"),
        ("zcube plan --gpus 1024 --switch 26T", "exit status 2"),
        ("zcube fabric verify zcube-32 found.dot", "exit status 1"),
        ("zcube calibrate run --out runs.txt", "exit status 2"),
        ("cd nowhere", "nowhere"),
        ("python benchmarks/bench_nothing.py", "bench_nothing"),
        ("python benchmarks/bench_flows.py --nothing", "--nothing"),
    ],
)
def test_a_command_that_is_none_is_found(tmp_path, monkeypatch, up_to_work, line, word):
    (block,) = blocks_of(page_of(tmp_path, line))
    monkeypatch.chdir(write_samples(tmp_path / "demo").folder)
    session = Session()
    faults = [fault for command in block.commands for fault in session.faults(command)]
    assert len(faults) == 1
    assert word in faults[0] and faults[0].startswith("page.md:4")


def test_files_that_earlier_lines_write_may_be_named_by_later_ones(tmp_path, monkeypatch, up_to_work):
    lines = ["zcube compare glm51-pd-256 --trace-out run.parquet", "zcube replay run.parquet --fabric roft-256"]
    monkeypatch.chdir(tmp_path)
    for shown, faults in ((lines, 0), (lines[1:], 1)):
        session = Session()
        (block,) = blocks_of(page_of(tmp_path, *shown))
        assert sum(len(session.faults(command)) for command in block.commands) == faults


def test_comments_continuations_and_statuses_are_read_as_a_shell_and_a_reader_do(tmp_path):
    (block,) = blocks_of(
        page_of(
            tmp_path,
            "A=b zcube fabric check 'a#0' --fail link:A0-B5#0 \\",
            "           --json > out.json         # exit status 1 if one fails",
            "zcube cost x && cd y",
        )
    )
    words = [command.words for command in block.commands]
    assert words == [
        ["zcube", "fabric", "check", "a#0", "--fail", "link:A0-B5#0", "--json"], ["zcube", "cost", "x"], ["cd", "y"],
    ]  # fmt: skip
    assert [command.statuses for command in block.commands] == [{0, 1}, {0}, {0}]


@pytest.mark.parametrize(
    ("lines", "mark", "faults"),
    [
        (["zcube cost a"], "", 0),
        (["pip install . && zcube compare"], "", 1),
        (["pip install . && zcube compare"], "another program", 0),
        (["zcube cost a"], "another program", 1),
        (["zcube cost a"], "no time", 1),
        (["zcube calibrate run --out a.json"], "needs GPUs", 0),
        (["zcube cost a"], "needs GPUs", 1),
    ],
)
def test_a_block_that_is_not_run_says_why_and_the_reason_holds(tmp_path, lines, mark, faults):
    (block,) = blocks_of(page_of(tmp_path, *lines, mark=mark))
    assert block.mark == (mark or None)
    assert len(block.faults()) == faults


def test_calls_in_running_text_are_held_against_the_program(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`zcube cost FABRIC... [--json]` and `zcube sail`, `zcube fabric\nshow --fast`\n```sh\n`zcube no`\n```\n")
    faults = [fault for command in inline_of(page) for fault in verb_faults(command)]
    assert [fault.split(":")[1] for fault in faults] == ["1", "1"] and "sail" in faults[0] and "--fast" in faults[1]
