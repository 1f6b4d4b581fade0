"""The ``topology.dot`` of the Prescriptive Topology Manager: one undirected graph of physical ports for all switches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from zcube.fabric.model import Fabric
from zcube.fabric.wiring.cabling import Wiring, build_wiring
from zcube.fabric.wiring.reading import Faults, read_text

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<comment>//[^\n]*|\#[^\n]*|/\*.*?\*/)
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<edge>--|->)
    | (?P<word>[\w.]+(?:[-/][\w.]+)*)
    | (?P<mark>[{}\[\]:;=,])""",
    re.VERBOSE | re.DOTALL,
)
_EXPECTED = '"device":"port" -- "device":"port";'


class _Token(NamedTuple):
    line: int
    kind: str
    text: str


def ptm_text(fabric: Fabric) -> str:
    """Return the planned wiring as a PTM topology."""
    cables = (f'    "{a.device}":"{a.port}" -- "{z.device}":"{z.port}";' for a, z in Wiring.of(fabric).cables)
    return "\n".join(["graph G {", *cables, "}"]) + "\n"


def looks_like_dot(text: str) -> bool:
    """Return whether the text opens like a Graphviz file."""
    # A piece is enough: it may cut a token in two, but not the opening word.
    first = next(_tokens(text[:65536], Faults("")), None)
    return first is not None and first.text.lower() in ("strict", "graph", "digraph")


def read_ptm(path: Path) -> Wiring:
    """Read a PTM topology: comments, attributes, default settings and unquoted names are allowed.

    Raises
    ------
    InputError
        With every statement that is no cable, and its line.
    """
    faults = Faults(str(path))
    return build_wiring(_edges(_tokens(read_text(path), faults), faults), faults)


def _tokens(text: str, faults: Faults) -> Iterator[_Token]:
    line, place = 1, 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            # What follows an open quote or comment cannot be told apart, so that reading ends here.
            faults.add(line, repr(text[place : place + 20]), "DOT, its quotes and comments closed")
            return
        kind = match.lastgroup or ""
        if kind == "quoted":
            yield _Token(line, "name", re.sub(r"\\(.)", r"\1", match["quoted"]))
        elif kind == "word":
            yield _Token(line, "name", match["word"])
        elif kind not in ("space", "comment"):
            yield _Token(line, match[0], match[0])
        line += match[0].count("\n")
        place = match.end()


def _edges(tokens: Iterator[_Token], faults: Faults) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the cables; statements that are none are passed over (settings) or noted (anything else)."""
    opening = list(islice(takewhile(lambda token: token.kind != "{", tokens), 4))
    words = [token.text.lower() for token in opening]
    if "graph" not in words[:2] or len(opening) == 4:
        faults.add(opening[0].line if opening else 1, " ".join(words) or "nothing", "graph NAME {")
        return
    statement: list[_Token] = []
    line, depth, closed = 1, 0, False
    for token in tokens:
        line = token.line
        if closed:
            faults.add(line, token.text, "nothing after the closing brace")
            return
        depth += (token.kind == "[") - (token.kind == "]")
        if depth or token.kind == "]":
            continue
        # Semicolons are optional in DOT: a name straight after a name begins the next statement.
        new = token.kind == "name" and bool(statement) and statement[-1].kind == "name"
        if token.kind in (";", "}") or new:
            yield from _cable(statement, faults)
            statement = []
        closed = token.kind == "}"
        # Two tokens more than a cable has are enough to tell that it is none.
        if token.kind not in (";", "}") and len(statement) < 9:
            statement.append(token)
    if not closed:
        faults.add(line, "the end of the file", "a closing brace")


def _cable(statement: list[_Token], faults: Faults) -> Iterator[tuple[int, tuple[str, ...]]]:
    kinds = [token.kind for token in statement]
    if kinds == ["name", ":", "name", "--", "name", ":", "name"]:
        yield statement[0].line, tuple(token.text for token in statement if token.kind == "name")
    elif kinds not in ([], ["name"], ["name", "=", "name"]):
        faults.add(statement[0].line, " ".join(token.text for token in statement), _EXPECTED)
