"""Declared files, tables and lists of links by a hostile hand end in a named fault, whichever reader takes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zcube.errors import Fault, InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.custom import links_beside, write_topology
from zcube.fabric.wiring.link_list import read_links_csv
from zcube.inputs import assigned, json_document, read_toml
from zcube.pricing.price_book import load_price_book
from zcube.scenario import load_scenario
from zcube.trace.importers.catalog import import_trace
from zcube.variations import swept
from zcube.workload.flow_lists import flows_of_frame, read_flows

DEEP = "a = " + "[" * 2000 + "]" * 2000 + "\n"
LONG = 'family = "spine-leaf"\n\ngpus = ' + "9" * 5000 + "\n"


def only_fault(refused, *arguments):
    with pytest.raises(InputError) as error:
        refused(*arguments)
    (fault,) = error.value.faults
    return fault


@pytest.mark.parametrize("read", [load_fabric, load_scenario, load_price_book], ids=lambda read: read.__name__)
@pytest.mark.parametrize(("text", "found"), [(DEEP, "nested too deeply"), (LONG, "thousands of digits (at line 3)")])
def test_toml_that_python_cannot_read(tmp_path, read, text, found):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    fault = only_fault(read, str(path))
    assert fault.where.startswith(str(path)) and found in fault.found


def test_numbers_of_digits_that_python_reads_are_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("a = " + "9" * 4300 + "\n")
    assert read_toml(path) == {"a": int("9" * 4300)}


@pytest.mark.parametrize("value", ["[" * 3000, "9" * 5000, "[[1, " + "8" * 4400 + "]]"])
def test_assignments_and_sweeps_that_python_cannot_read(value):
    assert only_fault(assigned, [f"load.concurrency={value}"]).where == "--set"
    assert only_fault(swept, load_scenario("zai-2026"), f"load.concurrency={value}").where == "--sweep"


@pytest.mark.parametrize("seed", ["0x" + "f" * 5000, "0b" + "1" * 20_000])
def test_whole_numbers_that_python_reads_and_cannot_write(tmp_path, seed):
    path = tmp_path / "mine.toml"
    path.write_text(f"seed = {seed}\n")
    with pytest.raises(InputError) as error:
        load_scenario(str(path))
    assert "thousands of digits" in str(error.value)


def test_control_characters_are_shown_as_escapes():
    shown = str(Fault("a\x1b[31m", "b\u202e", "c\nd"))
    assert shown == "a\\x1b[31m: found b\\u202e; expected c\nd"


def test_a_sweep_is_one_line():
    assert only_fault(swept, load_scenario("zai-2026"), "load.concurrency=100]\nx=[2").where == "--sweep"


@pytest.mark.parametrize("text", ['{"device": "NVIDIA \\ud800 H100"}', '{"\\uDFFF": 1}', '["\\ud83d \\ude00"]'])
def test_json_with_half_a_surrogate_pair(tmp_path, text):
    assert "surrogate" in only_fault(json_document, tmp_path / "mine.json", text).found


def test_json_with_whole_surrogate_pairs_is_read(tmp_path):
    text = json.dumps({"name": "\U0001f600"})
    assert "\\ud83d" in text and json_document(tmp_path / "mine.json", text) == {"name": "\U0001f600"}


def numbers(names):
    return np.array([int(name) for name in names])


def table(path, names, *columns):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table([pyarrow.array(column) for column in columns], names=names), path)
    return path


def test_a_table_with_a_column_twice(tmp_path):
    path = table(tmp_path / "flows.parquet", ["src", "dst", "bytes", "start_s", "src"], [0], [1], [1e6], [0.0], [2])
    assert "2 columns src" in only_fault(read_flows, path, numbers).found


def test_a_frame_with_a_column_twice():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[0, 1, 1e6, 0.0, 2]], columns=["src", "dst", "bytes", "start_s", "src"])
    assert "2 columns src" in only_fault(flows_of_frame, frame, numbers).found


def test_gpus_and_sizes_as_halves_are_those_numbers(tmp_path):
    half = np.array([3, 5], dtype=np.float16)
    path = table(tmp_path / "flows.parquet", ["src", "dst", "bytes", "start_s"], half, [1, 2], half, [0.0, 0.0])
    flows = read_flows(path, numbers)
    assert flows.source.tolist() == [3, 5] and flows.size_bytes.tolist() == [3.0, 5.0]


HEADER = "a,a_port,b,b_port,gbps,latency_s\n"


NO_RATES = ["100_000", "\u0664\u0660\u0660", "4\u0660\u0660", "0x190", "infinity", "nan", "1e9999", "-400", "0", " "]


@pytest.mark.parametrize("gbps", NO_RATES)
def test_rates_of_links_are_numbers_as_every_program_reads_them(tmp_path, gbps):
    path = tmp_path / "links.csv"
    path.write_text(f"{HEADER}s0g0,,sw0,,{gbps},1e-6\ns0g1,,sw0,,400,1e-6\n", encoding="utf-8")
    assert only_fault(read_links_csv, path).where == f"{path}: line 2"


@pytest.mark.parametrize("gbps", ["400", "4e2", "+400.", "400.0", ".4E3"])
def test_rates_of_links_in_any_plain_spelling(tmp_path, gbps):
    path = tmp_path / "links.csv"
    path.write_text(f"{HEADER}s0g0,,sw0,,{gbps},1e-6\n")
    assert read_links_csv(path).gbps.tolist() == [400.0]


@pytest.mark.parametrize(
    "links", ["s0g0,,s0g1,,400,1e-6\n", "s0g0,,sw0,,400,1e-6\ns0g2,,sw0,,400,1e-6\n", "sw0,,sw1,,400,1e-6\n"],
    ids=["GPU to GPU", "a gap", "no GPU"],
)  # fmt: skip
def test_an_import_writes_nothing_that_it_would_then_refuse(tmp_path, links):
    source, topology = tmp_path / "found.csv", tmp_path / "mine.toml"
    source.write_text(HEADER + links)
    fault = only_fault(write_topology, source, topology)
    assert fault.where == str(source) and not topology.exists() and not links_beside(topology).exists()


@pytest.mark.parametrize("bought", [{"switch_ports": 2}, {"switch_port_gbps": 123.456}])
def test_an_import_for_switches_without_the_ports_writes_nothing(tmp_path, bought):
    source, topology = tmp_path / "found.csv", tmp_path / "mine.toml"
    source.write_text(HEADER + "".join(f"s0g{gpu},,sw0,,400,1e-6\n" for gpu in range(4)))
    with pytest.raises(InputError):
        write_topology(source, topology, **bought)
    assert not topology.exists() and not links_beside(topology).exists()


def test_all_ranks_of_a_table_are_those_of_its_groups_too(tmp_path):
    path = tmp_path / "calls.csv"
    path.write_text("rank,op,bytes,group\n0,all-reduce,1000,0;5\n0,all-reduce,1000,\n")
    trace = import_trace([path]).trace
    assert sorted(map(len, trace.groups)) == [2, 6]
