"""No reader of JSON lets a key that stands twice in an object win silently: it is refused with both places."""

from __future__ import annotations

import ast
import io
import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import zcube
from zcube.errors import InputError
from zcube.fabric.wiring.graphml import read_graphml
from zcube.fabric.wiring.infragraph import read_infragraph
from zcube.fuzz.kinds import kinds
from zcube.fuzz.sound import fabric_in
from zcube.inputs import json_document
from zcube.json_text import RepeatedKeyError, json_record, json_row, json_value
from zcube.scenario import read_run
from zcube.workload.readers.fields import json_object
from zcube.yaml_text import yaml_document

#: Modules that read what this program's own processes, or recognisers before a reader, look at with ``json.loads``.
OWN = {
    "calibrate/measure/hardware.py", "calibrate/measure/tiles/run.py",
    "calibrate/measure/worker.py",
    "fabric/measured.py", "json_text.py", "trace/files.py", "workplace.py",
}  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.integers(0, 3))
def test_what_has_no_key_twice_is_read_as_the_standard_library_reads_it(value, indent):
    text = json.dumps(value, indent=indent or None)
    assert json_value(text) == value
    assert json_record(text + " ", 0) == (value, len(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "the key 'a' twice, at column 2 and at column 10"),
        ('[{"b": {"a": "}", "c": [1], \n "a": 2}}]', "the key 'a' twice, at line 1 column 9 and at line 2 column 2"),
        ('{"a": {"a": 1}, "b": "a", "\\u0061" : 3}', "the key 'a' twice, at column 2 and at column 27"),
        ('{"x": "\\"a\\": {", "a": [], "a": {}}', "the key 'a' twice, at column 19 and at column 28"),
    ],
)
def test_a_key_that_stands_twice_is_told_with_both_places(text, said):
    with pytest.raises(RepeatedKeyError) as told:
        json_value(text)
    assert str(told.value) == said
    with pytest.raises(RepeatedKeyError):
        json_record("xx" + text, 2)


numbers = st.integers() | st.floats() | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
keys = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:"', '""', '"\\ud83d"'])
plain = st.sampled_from(
    ["null", "true", '"x:y"', '"\\ud83d\\ude00"', "[]", "[1, 2]", "{}", '{"a": 1}', "NaN", "nul", '"\t"', "-0"]
)
rows = st.lists(st.tuples(keys, st.sampled_from([":", " : ", ""]), plain | numbers.map(str)), max_size=4)


@given(rows, st.sampled_from(["", " ", "x", "}", "\ufeff"]), st.booleans())
def test_a_row_is_read_as_a_document_is(pairs, around, before):
    text = "{" + ", ".join(key + colon + value for key, colon, value in pairs) + "}"
    text = around + text if before else text + around

    def of(read):
        try:
            return repr(read(text))
        except ValueError as error:
            return type(error), str(error)

    assert of(json_row) == of(json_value)


def test_documents_lines_and_runs_are_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"scenario": {}, "seed": 1,\n "seed": 2}')
    with pytest.raises(
        InputError, match="the key 'seed' twice, at line 1 column 18 and at line 2 column 2; expected each key once"
    ):
        read_run(path)
    with pytest.raises(InputError, match="twice"):
        json_document(path, '{"nested": [{"a": 1, "a": 2}]}')
    assert json_object('{"input_length": 1, "input_length": 2}') == "the key 'input_length' twice, at column 2 and at column 21"


def test_every_module_reads_json_by_the_one_reader():
    package = Path(zcube.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "json" in text else ():
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.loads", "json.load", "json.JSONDecoder"):
                found.add(str(path.relative_to(package)))
    # What makes hostile files reads its own good ones.
    assert {name for name in found if not name.startswith("fuzz/")} == OWN


YAML = """infrastructure:
  devices: [{name: a, components: []}]
  links: []
  instances: []
  edges: []
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (YAML + "  links: []\n", "the key 'links' twice, at line 3 column 3 and at line 6 column 3"),
        (YAML.replace("name: a,", "name: a, 'name': b,"), "the key 'name' twice, at line 2 column 14 and at line 2 column 23"),
        (YAML + "  7: a\n  0x7: b\n", "the key '0x7' twice, at line 6 column 3 and at line 7 column 3"),
        (YAML + "  a: &a [*a]\n", "a value that holds itself at line 6 column 6"),
        (YAML + '  a: "\\ud800"\n', "escape code"),
        (YAML + "  a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        (YAML + "  a: " + "[" * 200 + "]" * 200, "nested too deeply"),
        (YAML + "  a: " + "[" * 5000, "nest"),
        (YAML + "  a: 2026-02-31\n", "day"),
        (YAML + "  a: 1" + ":1" * 200_000 + "\n", "a number of 400001 characters at line 6 column 6"),
        (YAML + "  ? 1" + ":1" * 200_000 + "\n", "a number of 400001 characters"),
        (YAML + "  a: !!int ''\n", "YAML of plain values"),
        (YAML + "  a: !!bool perhaps\n", "YAML of plain values"),
        (YAML + "  a: !!timestamp never\n", "YAML of plain values"),
        # Ten lists of ten aliases of the one before: 10^10 values in 400 bytes.
        (YAML + "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}' if n else '1'] * 10)}]\n" for n in range(10)), "values"),
        ("devices: []\nedges: []\ninstances: [\n" + "1," * (3 << 20), "at most"),
    ],
)  # fmt: skip
def test_yaml_says_nothing_twice_and_stays_small(tmp_path, text, said):
    pytest.importorskip("yaml")
    path = tmp_path / "w.yaml"
    path.write_text(text)
    begun_s = time.process_time()
    with pytest.raises(InputError) as told:
        read_infragraph(path)
    assert said in str(told.value)
    assert str(path) in str(told.value) and time.process_time() - begun_s < 2


def test_yaml_of_aliases_and_merges_is_read(tmp_path):
    pytest.importorskip("yaml")
    text = "a: &a {x: 1, y: 2}\nb: [*a, *a]\nc: {<<: *a, y: 3}\n"
    assert yaml_document(tmp_path, text, "") == {
        "a": {"x": 1, "y": 2}, "b": [{"x": 1, "y": 2}] * 2, "c": {"x": 1, "y": 3},
    }  # fmt: skip
    assert yaml_document(tmp_path, "", "") is None


@pytest.mark.parametrize("what", ["devices", "links", "instances", "components"])
def test_infragraph_of_two_things_of_one_name(tmp_path, what):
    document = json.loads(fabric_in("infragraph"))
    of = document if what in document else document["devices"][0]
    of[what].append(of[what][0])
    path = tmp_path / "w.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"entry {len(of[what])}: found the name .* twice; expected each name once"):
        read_infragraph(path)


GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="g" for="edge" attr.name="gbps" attr.type="double"/>
<key id="l" for="edge" attr.name="latency_s" attr.type="double"/>
<graph edgedefault="undirected"><node id="s0g0"/><node id="leaf"/><node id="s1g0"/>
<edge id="1" source="s0g0" target="leaf"><data key="g">400</data><data key="l">1e-6</data></edge>
<edge id="2" source="s1g0" target="leaf"><data key="g">400</data><data key="l">1e-6</data></edge>
</graph></graphml>
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('id="2" source="s1g0"', 'id="1" source="s0g0"', "line 6: found a second edge 1"),
        ('<node id="s1g0"/>', '<node id="s1g0"/><node id="leaf"/>', "line 4: found a second node leaf"),
        ('<data key="g">400', '<data key="g">100</data><data key="g">400', "line 5: found a second data g"),
        ('<key id="l"', '<key id="g" for="edge" attr.name="x" attr.type="double"/><key id="l"', "line 3: found a second key g"),
        ("</graph></graphml>", '</graph><graph edgedefault="directed"/></graphml>', "line 7: found a second graph;"),
    ],
)
def test_graphml_says_nothing_twice(tmp_path, before, after, said):
    path = tmp_path / "w.graphml"
    path.write_text(GRAPHML)
    assert len(read_graphml(path).a) == 2
    path.write_text(GRAPHML.replace(before, after))
    with pytest.raises(InputError) as told:
        read_graphml(path)
    assert said in str(told.value)


@pytest.mark.parametrize("space", ["http://www.w3.org/2001/XMLSchema instance", "\ttp://www.w3.org", "a b c", "urn:x#|"])
def test_graphml_may_name_any_namespace(tmp_path, space):
    path = tmp_path / "w.graphml"
    named = GRAPHML.replace("<graphml ", f'<graphml xmlns:more="{space}" ')
    path.write_text(named)
    assert len(read_graphml(path).a) == 2
    path.write_text(named.replace('"s1g0"/>', '"s1g0"/><node id="leaf"/>'))
    with pytest.raises(InputError, match="a second node leaf"):
        read_graphml(path)
    path.write_text(named.replace(space, space + "}"))
    with pytest.raises(InputError, match=r"w\.graphml: found .*; expected GraphML"):
        read_graphml(path)


def twice(content: bytes, column: str) -> bytes:
    """Return a CSV of which a column stands once more, at the end."""
    head, *rows = content.decode().strip().splitlines()
    at = [name.strip() for name in head.split(",")].index(column)
    return "\n".join([f"{head},{column}", *(f"{row},{row.split(',')[at]}" for row in rows)]).encode()


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("flows CSV", "bytes"), ("requests Azure", "GeneratedTokens"), ("requests BurstGPT", "Request tokens"),
        ("requests gateway log", "prompt_tokens"), ("measured nccl-table.csv", "latency"), ("measured table", "batch_size"),
        ("recorded goal-csv", "bytes"), ("wiring links", "gbps"), ("wiring lldp", "local_port"),
        ("wiring netbox", "side_a_name"),
    ],
)  # fmt: skip
def test_no_column_of_csv_is_meant_twice(tmp_path, name, column):
    (kind,) = (kind for kind in kinds() if kind.name == name)
    path = tmp_path / kind.file
    path.write_bytes(kind.sound())
    kind.read(path)
    path.write_bytes(twice(kind.sound(), column))
    with pytest.raises(InputError, match=f"2 columns {column}; expected one"):
        kind.read(path)


@pytest.mark.parametrize("name", ["flows Parquet", "trace Parquet"])
def test_no_column_of_parquet_is_meant_twice(tmp_path, name):
    (kind,) = (kind for kind in kinds() if kind.name == name)
    table = parquet.read_table(io.BytesIO(kind.sound()))
    doubled = pa.Table.from_arrays([*table.columns, table.columns[0]], [*table.column_names, table.column_names[0]])
    doubled = doubled.replace_schema_metadata(table.schema.metadata)
    path = tmp_path / kind.file
    parquet.write_table(doubled, path)
    with pytest.raises(InputError, match=f"columns? {table.column_names[0]}"):
        kind.read(path)
