"""Declared files, tables and lists of links by a hostile hand end in a named fault, whichever reader takes them."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
from measured_outputs import document, text
from pyarrow import parquet

from zcube import input_files
from zcube.calibrate.calibration import read_calibration
from zcube.calibrate.readers import read_measured
from zcube.errors import MOST_FAULTS, Fault, FaultList, InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.custom import links_beside, write_topology
from zcube.fabric.wiring.formats import fabric_text, read_links
from zcube.fabric.wiring.link_list import read_links_csv
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fuzz.kinds import kinds
from zcube.input_files import MAX_COLUMNS
from zcube.inputs import assigned, bundled_folder, json_document, read_toml
from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import load_node
from zcube.llm.devices import load_device
from zcube.llm.tables.read import GLM_5, read_attention
from zcube.llm.tables.source import CsvSource
from zcube.network.transports import load_transport
from zcube.pricing.price_book import load_price_book
from zcube.scenario import load_scenario
from zcube.trace.files import read_trace
from zcube.trace.importers.catalog import import_trace
from zcube.trace.importers.group_file import read_groups
from zcube.trace.importers.numbers import span_us, time_us
from zcube.variations import swept
from zcube.workload.flow_lists import flows_of_frame, read_flows
from zcube.workload.readers import read_requests

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


NO_RATES = ["100_000", "\u0664\u0660\u0660", "4\u0660\u0660", "0x190", "infinity", "nan", "1e9999", "-400", "0", "1e-300", " "]


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


def test_tables_in_tables_are_as_deep_as_documents_are(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("a = " + "[" * 101 + "]" * 101)
    assert "nested too deeply" in only_fault(read_toml, path).found
    path.write_text(".".join("a" * 90) + " = 1\n")
    assert read_toml(path)["a"]


def test_numbers_that_nobody_can_write_are_refused_wherever_they_stand(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f"\nfamily = [[{'0x' + 'f' * 4000}]]\n")
    assert "(at line 2)" in only_fault(load_fabric, str(path)).found


def test_a_list_of_fifty_thousand_faults_is_told_soon_and_shortly(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'kind = "control"\nsources = [{"0, " * 50_000}0]\n')
    with pytest.raises(InputError) as error:
        load_transport(str(path))
    assert len(error.value.faults) == MOST_FAULTS + 1 and "more faults" in error.value.faults[-1].found
    assert pickle.loads(pickle.dumps(error.value)).faults == error.value.faults


def test_many_faults_gathered_are_told_each_once():
    faults = FaultList()
    for _ in range(2):
        with faults:
            raise InputError(Fault("a", str(number), "b") for number in range(20_000))
    assert len(faults.faults) == MOST_FAULTS + 1


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\x1b" * 1_000_000])
def test_what_was_found_is_shown_shortly_however_long(text):
    assert len(str(Fault(text, text, text))) < 5_000


@pytest.mark.parametrize("column", ["batch_size", "step", "latency"])
def test_a_table_of_times_with_words_for_numbers(tmp_path, column):
    path = tmp_path / "h200_sxm_glm5_dsa_generation.csv"
    cells = {"model": GLM_5, "kv_cache_dtype": "fp8", "num_heads": 8, "batch_size": 1, "isl": 1, "step": 0, "latency": 0.1}
    path.write_text(",".join(cells) + "\n" + ",".join(map(str, (cells | {column: "many"}).values())) + "\n")
    fault = only_fault(read_attention, CsvSource(tmp_path), "generation", "h200", "fp8")
    assert fault.where == f"{path}: {column}"


@pytest.mark.parametrize("algbw", ["9" * 300, "inf", "1e300"])
def test_rates_beyond_all_numbers_in_a_table_of_nccl_tests(tmp_path, algbw):
    path = tmp_path / "alltoall.txt"
    lines = text().splitlines()
    row = next(number for number, line in enumerate(lines) if line.lstrip().startswith("8192"))
    cells = lines[row].split()
    cells[6] = algbw
    lines[row] = "  ".join(cells)
    path.write_text("\n".join(lines))
    assert f"line {row + 1}" in only_fault(read_measured, path).where


def device(path):
    return Path("/dev/zero")


def folder(path):
    return path


def gone(path):
    return path / "none.any"


def long_name(path):
    return path / ("x" * 300)


def with_nul(path):
    return path / "a\0b"


READERS = [read_toml, read_links_csv, read_trace, read_calibration, read_requests, read_measured, read_groups]


@pytest.mark.parametrize("read", [*READERS, lambda path: read_flows(path, numbers), lambda path: import_trace([path])])
@pytest.mark.parametrize("place", [device, folder, gone, long_name, with_nul], ids=lambda place: place.__name__)
def test_what_is_no_file_is_named_by_every_reader(tmp_path, read, place):
    assert only_fault(read, place(tmp_path)).where == str(place(tmp_path))


LONG = 300 * "n" + ".toml"
VLLM_LINE = b"INFO 01-02 03:04:01 [x.py:1] KV Transfer metrics: "


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "--jobs", "1", "--fabric", LONG),
        ("matrix", LONG, "--fabrics", "roft-32", "--transports", "roce-2023"),
        ("plan", "--from", LONG + "@spine0", "--to-gpus", "64"),
        ("sweep", "sweep.toml"),
        ("compare", "scenario.toml"),
    ],
    ids=" ".join,
)
def test_a_name_too_long_for_a_file_is_no_file(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    Path("sweep.toml").write_text(f'scenarios = ["{LONG}"]\n[[points]]\nload.concurrency = 2\n')
    scenario = (bundled_folder("scenarios") / "nic-cap-32.toml").read_text()
    Path("scenario.toml").write_text(re.sub(r"(?m)^fabrics = .*", f'fabrics = ["{LONG}", "roft-32"]', scenario))
    status, _, err = run(*words)
    assert status == 2 and "Traceback" not in err and "nnnn" in err


@pytest.mark.parametrize("value", ["1e-300", "5e-324", "0"])
@pytest.mark.parametrize(
    ("fabric", "key"),
    [("zcube-n16", "nic_gbps"), ("zcube-n16", "port_gbps"), ("zcube-n16", "nvlink_gbps"), ("hpn-1024", "uplink_gbps")],
)
def test_rates_that_no_part_of_a_port_can_be_counted_by(tmp_path, fabric, key, value):
    path = tmp_path / "f.toml"
    base = (bundled_folder("topologies") / f"{fabric}.toml").read_text()
    found = re.subn(rf"(?m)^{key} = .*", f"{key} = {value}", base)
    path.write_text(found[0] if found[1] else f"{key} = {value}\n{base}")
    with pytest.raises(InputError, match=key):
        load_fabric(str(path))


def test_a_small_file_of_many_cables_is_refused_before_any_is_laid(tmp_path):
    path = tmp_path / "f.toml"
    base = (bundled_folder("topologies") / "dragonfly-1056.toml").read_text()
    path.write_text(re.sub(r"(?m)^gpus_per_switch = .*", "gpus_per_switch = 40", base))
    begun = time.process_time()
    with pytest.raises(InputError, match="cables"):
        load_fabric(str(path))
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    "content", [gzip.compress(bytes(20 << 20)), 400 * (VLLM_LINE + 2000 * b"x" + b"\n")], ids=["zeros", "words"]
)
def test_recordings_of_nothing_end_soon(tmp_path, content):
    path = tmp_path / ("t.json.gz" if content[:1] == b"\x1f" else "t.log")
    path.write_bytes(content)
    begun = time.process_time()
    with pytest.raises(InputError):
        import_trace([path])
    assert time.process_time() - begun < 5.0


def test_a_nic_of_more_digits_than_a_rate_can_have(run, tmp_path):
    path = tmp_path / "demand.toml"
    path.write_text(f'gpus = 64\nswitch = ["25.6T"]\nnic = {"9" * 400}\n')
    status, _, err = run("plan", path)
    assert status == 2 and "nic: found" in err and "Traceback" not in err


def test_a_parquet_table_that_says_it_has_more_than_it_may(tmp_path):
    path = tmp_path / "flows.parquet"
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({f"c{number}": [0] for number in range(MAX_COLUMNS + 1)}), path)
    assert f"{MAX_COLUMNS + 1} columns" in only_fault(read_flows, path, numbers).found


def test_keys_of_many_parts_take_no_time(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(("[x]\n" + ".".join("a" * 100_000) + " = 1\n") * 4)
    began = time.process_time()
    assert "nested too deeply" in only_fault(read_toml, path).found
    assert "nested too deeply" in only_fault(assigned, ["a={" + ".".join("b" * 50_000) + "=1}"]).found
    assert time.process_time() - began < 2


def test_texts_with_many_dots_are_no_keys_of_many_parts(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'a = "{". " * 500}{"x" * 100_000}"\nb = [{"1.5, " * 500}]\n')
    assert len(read_toml(path)["b"]) == 500


@pytest.mark.parametrize("kind", [[], {}, 1, None])
def test_events_of_a_kind_that_is_no_name(tmp_path, kind):
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"schema": "dynamo.request.trace.v1", "event_type": kind}) + "\n")
    assert only_fault(read_requests, path).where == f"{path}: line 1"


@pytest.mark.parametrize(
    "load", [load_fabric, load_scenario, load_price_book, load_card, load_device, load_node, load_transport]
)
def test_an_empty_name_has_a_place(load):
    assert only_fault(load, "").where


#: Modules that open a file themselves, and why it is none that a user gives, or none that is taken into memory.
OWN_DOORS = {
    "input_files.py": "the door",
    "workload/flow_files.py": "Arrow's CSV reader, on a file that came through the door",
    "llm/tables/source.py": "Arrow's filter on a table that came through the door",
    "run_inputs.py": "hashes of files, block by block",
    "workplace.py": "its own marks; hashes",
    "out_folder.py": "its own record, of a bounded size",
    "kept_runs.py": "its own store, which was read through the door",
    "samples/catalog.py": "its own samples, of their size",
    "report/page.py": "its own templates",
    "report/picture.py": "its own pictures",
    "report/folder.py": "its own pictures",
    "cli/transport.py": "bundled files",
    "scenario.py": "bundled files",
    "memory.py": "the kernel's files",
    "compile_cache.py": "its own sources",
    "kernel_files.py": "its own compiled kernels",
    "calibrate/measure": "what its own processes wrote; the kernel's files",
    "fuzz": "its own files",
}


def test_every_reader_comes_through_one_door():
    package = Path(input_files.__file__).parent
    opens = re.compile(r"""\.open\((?:"rb?"|encoding)|\.read_text\(|\.read_bytes\(|(?<!def )(?<![\w.])open\(\w+(?:\)|,)|"""
                       r"(?:parquet|pq)\.(?:ParquetFile|read_\w+)\(|read_csv\(|json\.load\(|tomllib\.load\(")  # fmt: skip
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if opens.search(path.read_text(encoding="utf-8"))}
    assert {name for name in found if not name.startswith(tuple(OWN_DOORS))} == set()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"scenario": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"scenario": {"a": "\\ud800"}}']
)
def test_a_record_of_brackets_or_of_half_a_surrogate_pair(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    fault = only_fault(load_scenario, str(path))
    assert fault.where.startswith(str(path)) and fault.found


def test_nccl_tests_of_a_device_with_half_a_surrogate_pair(tmp_path):
    path = tmp_path / "nccl.json"
    path.write_text(json.dumps(document()).replace("NVIDIA H200", "NVIDIA \\ud800 H200"))
    assert "surrogate" in only_fault(read_measured, path).found


@pytest.mark.parametrize("stamp", [10**400, -(10**400), float("1e300")])
def test_times_beyond_all_numbers_are_no_times(stamp):
    assert time_us(stamp) is None and span_us(stamp) is None and time_us(float("nan")) is None and time_us(10**16) == 10**16


def test_rates_of_hundreds_of_digits_in_graphml(tmp_path):
    path = tmp_path / "w.graphml"
    path.write_text(fabric_text(load_fabric("roft-32"), "graphml", RackLayout()))
    whole = path.read_text().replace('attr.type="double"', 'attr.type="long"')
    path.write_text(re.sub(r">\d+\.\d+<", ">" + "9" * 400 + "<", re.sub(r">[\d.]+e-\d+<", ">1<", whole)))
    with pytest.raises(InputError):
        read_links(path)


@pytest.mark.parametrize(("said", "version"), [(22805, "2.28.5"), (2**31, ""), (10**200, ""), (0, "")])
def test_a_version_of_nccl_is_a_number_of_31_bits(tmp_path, said, version):
    path = tmp_path / "alltoall.txt"
    path.write_text(text().replace("nccl-library=22805", f"nccl-library={said}"))
    assert read_measured(path).metadata.nccl_version == version


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("search state", b'"switch_down": 0.0003', b'"switch_down": ""'),
        ("result of ranks", b'"launch_hidden": 1.0', b'"launch_hidden": ' + b"9" * 400),
    ],
)
def test_values_of_any_kind_where_a_program_kept_its_own(tmp_path, name, before, after):
    (kind,) = (kind for kind in kinds() if kind.name == name)
    assert before in kind.sound()
    path = tmp_path / kind.file
    path.write_bytes(kind.sound().replace(before, after))
    try:
        kind.read(path)
    except InputError as error:
        assert all(fault.where and fault.found and fault.expected for fault in error.faults)


@pytest.mark.parametrize("name", ["flows Parquet", "trace Parquet"])
def test_a_parquet_table_whose_statistics_contradict_its_schema(tmp_path, name):
    """A column that may be empty by its statistics and may not by the schema: no exception of C++ ends the process."""
    (kind,) = (kind for kind in kinds() if kind.name == name)
    (tmp_path / kind.file).write_bytes(kind.sound())
    table = parquet.read_table(tmp_path / kind.file)
    column = next(one.name for one in table.schema if one.nullable)
    # Of the schema's entry in compact Thrift: its third field, the repetition, then the fourth, the name.
    entry = bytes([0x25, 0x02, 0x18, len(column)]) + column.encode()
    (tmp_path / kind.file).write_bytes(kind.sound().replace(entry, b"\x25\x00" + entry[2:]))
    assert entry in kind.sound()

    def read():
        try:
            kind.read(tmp_path / kind.file)
        except InputError:
            os._exit(3)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(20)
    assert process.exitcode in (0, 3)
