"""The command line in a shell: completion by bash itself, an example in every help text, colour only where it is wanted."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documented_commands import parsed

from zcube.cli.app import command, command_for, verb_of
from zcube.inputs import bundled_stems
from zcube.llm.cards import card_names
from zcube.plan.objectives import OBJECTIVES

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Return an environment in which ``zcube`` is the program under test."""
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "zcube"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m zcube "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}


def bash(script, environment):
    return subprocess.run([BASH, "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def completed(programs):
    """Return what bash offers for several lines that a user has typed, each up to where TAB is pressed."""
    if BASH is None:
        pytest.skip("no bash on this machine")

    def complete(*lines):
        script = ['eval "$(zcube --show-completion)"']
        for line in lines:
            words = line.split(" ")
            quoted = " ".join(map(shlex.quote, words))
            script.append(f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()")
            # What bash would call; it names the function where completion is asked for.
            script.append('"$(complete -p zcube | sed -E "s/.* -F ([^ ]+) .*/\\1/")" zcube')
            script.append('printf "%s " "${COMPREPLY[@]}"; echo')
        return [line.split() for line in bash("\n".join(script), programs).splitlines()]

    return complete


#: What is offered for lines that a user has typed, each up to where TAB is pressed.
OFFERED = {
    "zcube fab": ["fabric"],
    "zcube fabric deg": ["degrade"],
    "zcube compare --microscope-w": ["--microscope-window-s"],
    "zcube compare glm51-pd-1": [name for name in bundled_stems("scenarios") if name.startswith("glm51-pd-1")],
    "zcube compare --fabric zcube-": [name for name in bundled_stems("topologies") if name.startswith("zcube-")],
    "zcube fabric show slim": ["slim-fly-1024"],
    "zcube matrix kv-funnel --fabrics roft-256,mpft-1": ["roft-256,mpft-1024", "roft-256,mpft-16384"],
    "zcube matrix kv-funnel --transports ecmp+dcqcn,spray+sw": ["ecmp+dcqcn,spray+swift"],
    "zcube sweep queue": ["queue-pairs-and-rails"],
    "zcube transport show spec": ["spectrum-x-2025"],
    "zcube trace generate --model ": card_names(),
    "zcube plan --objectives capital_usd,": [f"capital_usd,{name}" for name in OBJECTIVES],
    "zcube replay flows.csv --fabric roft-32 --fidelity lo": ["lossless"],
    # A file's name is bash's own to complete.
    "zcube replay flo": [],
}
#: Lines that bash itself completes, of every kind one.
BY_BASH = (
    "zcube fabric deg",
    "zcube compare --microscope-w",
    "zcube matrix kv-funnel --fabrics roft-256,mpft-1",
    "zcube replay flo",
)


@pytest.mark.parametrize("line", OFFERED)
def test_verbs_options_and_names_are_completed_by_value(run, monkeypatch, line):
    """As bash's function asks the program."""
    monkeypatch.setenv("_ZCUBE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert sorted(run()[1].split()) == sorted(OFFERED[line])


def test_bash_completes_as_it_is_offered(completed):
    offered = dict(zip(BY_BASH, map(sorted, completed(*BY_BASH)), strict=True))
    assert offered == {line: sorted(OFFERED[line]) for line in BY_BASH}


def test_completion_is_installed_for_the_shell_that_asks(programs):
    if BASH is None:
        pytest.skip("no bash on this machine")
    bash("zcube --install-completion; true", programs)
    offered = bash('source "$HOME/.bashrc"; complete -p zcube', programs)
    assert "-F" in offered


def verbs(found, path=()):
    """Yield path and command of the root, every group and every verb."""
    yield path, found
    for name, inner in getattr(found, "commands", {}).items():
        yield from verbs(inner, (*path, name))


VERBS = dict(verbs(command()))


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_help_text_has_an_example_that_the_command_line_takes(run, path):
    status, text, _ = run(*path, "--help")
    assert status == 0
    (example,) = re.findall(r"^  Example: (.*)$", text, flags=re.MULTILINE)
    verb, _ = parsed(shlex.split(example))
    assert f"{verb} ".startswith(" ".join([*path, ""]))


@pytest.mark.parametrize("path", [path for path, found in VERBS.items() if not hasattr(found, "commands")], ids=" ".join)
def test_a_verb_is_made_without_the_others(path):
    assert verb_of([*path, "--option", "value"]) == path
    made = dict(verbs(command(*path)))
    assert list(made) == [path[:words] for words in range(len(path) + 1)]
    assert [one.name for one in made[path].params] == [one.name for one in VERBS[path].params]


@pytest.mark.parametrize("path", [path for path, found in VERBS.items() if hasattr(found, "commands")], ids=" ".join)
def test_verbs_are_listed_without_their_options_as_with_them(run, path, capsys):
    listed = command_for([*path, "--help"])
    assert not [option for words, one in verbs(listed) if not hasattr(one, "commands") for option in one.params]
    said = run(*path, "--help")
    command().main([*path, "--help"], prog_name="zcube", standalone_mode=False)
    assert said == (0, capsys.readouterr().out, "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--help", "compare"], ["fabric"], ["fabric", "shw"], ["shw", "show"]])
def test_every_verb_is_made_where_none_is_named(arguments):
    assert verb_of(arguments) == ()


def seen_on_a_terminal(arguments, **environment):
    """Return what a run writes to a terminal."""
    ours, theirs = pty.openpty()
    call = [sys.executable, "-P", "-m", "zcube", *arguments]
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    with subprocess.Popen(call, env=settings, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert process.returncode == 0, seen
    return seen.decode()


COLOURED = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)  # fmt: skip
def test_colour_is_for_terminals_that_nobody_forbids_it(environment, coloured):
    """An empty NO_COLOR forbids nothing: https://no-color.org."""
    assert bool(COLOURED.search(seen_on_a_terminal(["cost", "roft-32", "zcube-32"], **environment))) is coloured


def test_progress_on_a_terminal_has_no_colour_either_where_it_is_forbidden(tmp_path):
    call = ["fabric", "check", "zcube-32"]
    assert not COLOURED.search(seen_on_a_terminal(call, NO_COLOR="1"))


def test_a_pipe_gets_no_escape_whatever_the_terminal_can():
    call = [sys.executable, "-P", "-m", "zcube", "cost", "roft-32", "zcube-32"]
    forced = {**os.environ, "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}
    assert "\x1b" not in subprocess.run(call, env=forced, capture_output=True, text=True, check=True).stdout


def test_a_reader_of_the_pipe_has_a_line_as_soon_as_it_is_there(tmp_path):
    """The verb ends only once its first line has been read."""
    (tmp_path / "verb.py").write_text(
        "import select, sys\n"
        "import zcube.cli.app\n"
        "from types import SimpleNamespace\n"
        "from zcube.cli import main\n"
        "def verb(**given):\n"
        "    print('a result')\n"
        "    assert select.select([sys.stdin], [], [], 30)[0]\n"
        "zcube.cli.app.command = lambda: SimpleNamespace(main=verb)\n"
        "main([])\n"
    )
    with subprocess.Popen(
        [sys.executable, tmp_path / "verb.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "a result\n"
        process.communicate("read\n")
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [("cost", "roft-32"), ("--help",)])
def test_a_full_disk_under_standard_output_is_named(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zcube", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: standard output cannot be written: No space left on device\n")
