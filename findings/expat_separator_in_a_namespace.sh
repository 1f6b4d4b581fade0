#!/usr/bin/env bash
# expat 2.5.0 (pyexpat) beside networkx 3.6.1: a well-formed GraphML file that networkx reads is a "syntax error: line 1, column 0" to
# a parser made with `namespace_separator=" "`, the separator of the examples in Python's documentation.
#
# Any namespace name that holds the separator is refused by expat since 2.4.5, with the code for broken syntax and no word of
# the name. ElementTree, on which networkx stands, parts names by "}", and so accepts a file
# whose namespace has a space, or a tab or line break that attribute values turn into one. Who reads a file once with networkx and
# once with expat (to have line numbers, or to find what stands twice, of which networkx keeps the last) needs the same separator:
# with "}" both agree on these files. One would expect names to be parted wrongly at worst, or an error that names the namespace.
#
# Seen: networkx 3.6.1 reads 1 edge; expat_2.5.0: separator " ": syntax error: line 1, column 0; separator "}": 7 elements
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check networkx==3.6.1
"$work/venv/bin/python" - <<'PYTHON'
import io
from xml.parsers import expat

import networkx

TEXT = b"""<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:site="urn:our data hall">
<key id="g" for="edge" attr.name="gbps" attr.type="double"/>
<graph edgedefault="undirected"><node id="leaf0"/><node id="spine0"/>
<edge source="leaf0" target="spine0"><data key="g">400</data></edge>
</graph></graphml>
"""


def elements(separator: str) -> str:
    seen: list[str] = []
    parser = expat.ParserCreate(namespace_separator=separator)
    parser.StartElementHandler = lambda name, attributes: seen.append(name)
    try:
        parser.Parse(TEXT, True)
    except expat.ExpatError as error:
        return str(error)
    return f"{len(seen)} elements"


graph = networkx.read_graphml(io.BytesIO(TEXT))
space, brace = elements(" "), elements("}")
read = f"networkx {networkx.__version__} reads {graph.number_of_edges()} edge"
print(f'{read}; {expat.EXPAT_VERSION}: separator " ": {space}; separator "}}": {brace}')
assert graph.number_of_edges() == 1
assert space == "syntax error: line 1, column 0"
assert brace == "7 elements"
PYTHON
