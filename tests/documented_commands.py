"""The commands that README and docs show, read from their fenced ``sh`` blocks, and what is wrong with one.

A block that cannot be run here says why in a comment right before it, ``<!-- not run: REASON -->``, with a reason of
:data:`REASONS`; it is parsed all the same. A command may end with a status that its own comment names (``exit status 1``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PROGRAM = "zcube"
#: Why a block is not run, and what its commands must then have.
REASONS: Mapping[str, Callable[[Block], bool]] = {
    "needs GPUs": lambda block: any(command.words[:3] == ["zcube", "calibrate", "run"] for command in block.commands),
    "needs a cluster": lambda block: any("tcp://" in word for command in block.commands for word in command.words),
    "another program": lambda block: any(command.words[0] not in (PROGRAM, "cd") for command in block.commands),
    "takes hours": lambda block: any(command.words[0] == PROGRAM for command in block.commands),
    "needs a package of yours": lambda block: True,
}
_FENCE = re.compile(r"(?:^<!-- not run: (?P<mark>.*?) -->\n)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#(?P<said>\s.*)$")
_STATUS = re.compile(r"\bexit status (\d)")
_INLINE = re.compile(r"(?<!`)`((?:zcube|python benchmarks/)[^`]*)`(?!`)")


@dataclass(frozen=True)
class Command:
    """One command: where it stands, its words without comment and redirection, statuses that it may end with."""

    place: str
    words: tuple[str, ...] | list[str]
    statuses: frozenset[int] = frozenset({0})

    @property
    def is_ours(self) -> bool:
        """Whether it is a call of this program."""
        return self.words[0] == PROGRAM


@dataclass(frozen=True)
class Block:
    """One fenced block: its page and line, its text as a shell takes it, its commands, why it is not run."""

    page: str
    line: int
    text: str
    commands: tuple[Command, ...]
    mark: str | None

    def lines(self) -> list[tuple[str, frozenset[int]]]:
        """Return the block's lines as a shell takes them, continued ones whole, each with the statuses that it may end with."""
        found = []
        for _, whole in _whole_lines(self.line, self.text):
            comment = _COMMENT.search(whole)
            if shown := (whole[: comment.start()] if comment else whole).strip():
                found.append((shown, _statuses(comment)))
        return found

    def faults(self) -> list[str]:
        """Return what is wrong with the block itself."""
        place = f"{self.page}:{self.line}"
        if self.mark is not None:
            known = [reason for reason in REASONS if self.mark.startswith(reason)]
            if not known:
                return [f"{place}: the mark {self.mark!r} is none of {list(REASONS)}"]
            return [] if REASONS[known[0]](self) else [f"{place}: nothing here is {self.mark!r}"]
        others = [command for command in self.commands if not command.is_ours and command.words[0] != "cd"]
        return [f"{command.place}: {command.words[0]} is another program; mark the block" for command in others]


def reader_folder(folder: Path, samples: Callable[[Path], object] | None) -> Path:
    """Return a folder that holds what a reader's commands may name: samples, where asked for, and the project's own files.

    Parameters
    ----------
    folder : Path
        Where it is made.
    samples : callable or None
        Writes the samples into a folder; None where the page's commands do that themselves.
    """
    here = folder / "reader"
    if samples is None:
        here.mkdir()
    else:
        samples(here)
    for name in ("docs", "calibrations", "benchmarks"):
        (here / name).symlink_to(PROJECT / name)
    return here


def pages() -> list[Path]:
    """Return README and every page of the documentation."""
    return [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """Return the ``sh`` blocks of a page."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(PROJECT)) if page.is_relative_to(PROJECT) else page.name
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(name, line, match["text"], tuple(_commands(name, line, match["text"])), match["mark"]))
    return found


def inline_of(page: Path) -> list[Command]:
    """Return the calls in running text, with placeholders in them."""
    text = re.sub(
        r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    found = []
    for match in _INLINE.finditer(text):
        place = f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}"
        words = [word.strip("[]") for word in match[1].replace("\\|", "|").split()]
        found.append(Command(place, [word for word in words if word]))
    return found


def _whole_lines(first: int, text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line, joined with those that continue it."""
    lines = enumerate(text.splitlines(), start=first)
    for number, whole in lines:
        while whole.endswith("\\"):
            whole = f"{whole[:-1]} {next(lines)[1]}"
        yield number, whole


def _statuses(comment: re.Match[str] | None) -> frozenset[int]:
    return frozenset({0, *map(int, _STATUS.findall(comment["said"] if comment else ""))})


def _commands(page: str, line: int, text: str) -> Iterator[Command]:
    for number, whole in _whole_lines(line, text):
        comment = _COMMENT.search(whole)
        for words in _simple(whole[: comment.start()] if comment else whole):
            yield Command(f"{page}:{number}", words, _statuses(comment))


def _simple(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line, without assignments before them and redirections behind."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if skip:
            skip = False
        elif token in (">", "<", ">>"):
            skip = True
        elif set(token) <= set("&|;"):
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(token)


def script_faults(command: Command) -> list[str]:
    """Return what is wrong with a call of one of the project's own scripts: no such script, or no such option in it."""
    if command.words[0] not in ("python", "python3") or len(command.words) < 2 or not command.words[1].endswith(".py"):
        return []
    script = PROJECT / command.words[1]
    if not script.is_file():
        return [f"{command.place}: no script {command.words[1]}"]
    known, options = script.read_text(encoding="utf-8"), [word.split("=")[0] for word in command.words if word.startswith("--")]
    return [f"{command.place}: {script.name} has no option {option}" for option in options if f'"{option}"' not in known]


def verb_faults(command: Command) -> list[str]:
    """Return what is wrong with a call that has placeholders: a verb or an option that does not exist."""
    if not command.is_ours:
        return script_faults(command)
    from zcube.cli.app import command as root

    found: Any = root()
    for number, word in enumerate(command.words[1:], start=1):
        if hasattr(found, "commands") and not word.startswith("-"):
            if word.isupper():
                return []
            if word not in found.commands:
                return [f"{command.place}: no verb {' '.join(command.words[: number + 1])}"]
            found = found.commands[word]
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "--debug", "--version", "--install-completion", "--show-completion"}
    given = [word.split("=")[0] for word in command.words if word.startswith("--")]
    return [
        f"{command.place}: {' '.join(command.words[:3])} has no option {option}" for option in given if option not in options
    ]


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the verb that a call names and what its parameters are, as the command line itself reads them.

    Raises
    ------
    Exception
        The command line's own, for a verb, an option or a value that it does not take.
    """
    tree, found = _recording_tree()
    found.clear()
    tree.main(args=list(words[1:]), prog_name=PROGRAM, standalone_mode=False)
    ((verb, given),) = found.items()
    return verb, given


@cache
def _recording_tree() -> tuple[Any, dict[str, dict[str, Any]]]:
    """Return the tree of commands, each of which only notes its parameters under its verb, and where it notes them."""
    from zcube.cli.app import command as root

    tree, found = root.__wrapped__(), {}

    def replace(command: Any, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                replace(inner, f"{path} {name}".strip())
        else:
            command.callback = lambda **given: found.update({path: given})

    replace(tree, "")
    return tree, found
