"""No reader of JSON lets a key that stands twice in an object win silently: it is refused with both places."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zcube
from zcube.errors import InputError
from zcube.inputs import json_document
from zcube.json_text import RepeatedKeyError, json_record, json_value
from zcube.scenario import read_run
from zcube.workload.readers.fields import json_object

#: Modules that read what this program's own processes, or recognisers before a reader, look at with ``json.loads``.
OWN = {
    "calibrate/measure/hardware.py", "calibrate/measure/run.py", "calibrate/measure/tiles/run.py",
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
