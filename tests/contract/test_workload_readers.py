"""The trace readers take what is published and name what is broken."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.workload.readers import lines, mooncake, read_requests

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GOOD = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}


def jsonl(*records):
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "trace.any"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_requests(path, **options)

    return read


@pytest.fixture
def faults(read):
    def faults(content, **options):
        with pytest.raises(InputError) as caught:
            read(content, **options)
        return [str(fault) for fault in caught.value.faults]

    return faults


def test_mooncake_lines_are_sorted_stably_rebased_and_spread(read):
    requests = read(
        jsonl(
            {"timestamp": 6000, "input_length": 513, "output_length": 1, "hash_ids": [7, 8]},
            {"timestamp": 3000, "input_length": 1, "output_length": 2, "hash_ids": [9]},
            {"timestamp": 3000, "input_length": 2, "output_length": 3, "hash_ids": [4]},
        )
    )
    assert requests.arrival_s.tolist() == [0.0, 1.5, 3.0]
    assert requests.output_tokens.tolist() == [2, 3, 1]
    assert [requests.blocks(i).tolist() for i in range(3)] == [[9], [4], [7, 8]]
    assert requests.session.tolist() == [-1, -1, -1]


def test_mooncake_without_hash_ids_has_no_prefix_information(read):
    requests = read(jsonl({"timestamp": 1.5, "input_length": 600, "output_length": 5}))
    assert (requests.block_tokens, requests.block_id.size) == (0, 0)


def test_the_partial_last_block_may_be_left_out(read):
    assert read(jsonl({**GOOD, "hash_ids": [0]})).blocks(0).tolist() == [0]


def test_azure_2023_and_2024_times(read):
    requests = read(
        HEADER.replace("\n", "\r\n")
        + "2023-11-16 18:15:46.6805900,374,44\r\n"
        + "2023-11-16 18:15:46.6805901,1,1\r\n"
        + "2023-11-16T19:15:47+01:00,2,2\r\n"
        + "2023-11-16 18:15:48.680590+00:00,3,3"
    )
    assert requests.arrival_s == pytest.approx([0, 1e-7, 0.31941, 2], abs=1e-12)
    assert requests.input_tokens.tolist() == [374, 1, 2, 3]


def test_azure_columns_may_stand_in_any_order_with_others_and_lines_in_any_order(read):
    requests = read(
        "\ufeffid,GeneratedTokens,TIMESTAMP,ContextTokens\na,1,2024-05-10 00:00:02,10\n\nb,2,2024-05-10 00:00:01,20\n"
    )
    assert requests.input_tokens.tolist() == [20, 10]
    assert requests.output_tokens.tolist() == [2, 1]
    assert requests.arrival_s.tolist() == [0.0, 1.0]


def test_a_pause_is_no_tick_to_spread_over(read):
    # Ticks are 1 s apart at the median; the two requests before the pause of an hour stay within a second of each other.
    ticks = [0, 1000, 2000, 3000, 4000, 4000, 3_604_000]
    requests = read(jsonl(*({**GOOD, "timestamp": tick} for tick in ticks)))
    assert requests.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 4.5, 3604.0]


def test_only_so_many_requests_are_read_and_the_rest_is_not_checked(read):
    assert len(read(jsonl(GOOD, GOOD, "{broken"), max_requests=2)) == 2
    assert len(read(HEADER + "2024-05-10 00:00:02,10,1\nbroken", max_requests=1)) == 1


def test_the_seed_changes_nothing(read):
    one, other = (read(jsonl(GOOD, GOOD, {**GOOD, "timestamp": 9}), seed=seed) for seed in (0, 1))
    assert np.array_equal(one.arrival_s, other.arrival_s)


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ('{"timestamp": 0, ', "broken JSON", "JSON object"),
        ("[1, 2]", "[1, 2]", "JSON object"),
        ({**GOOD, "input_length": 0}, "input_length 0", "1 to"),
        ({**GOOD, "output_length": 0}, "output_length 0", "1 to"),
        ({**GOOD, "output_length": -3}, "output_length -3", "1 to"),
        ({**GOOD, "input_length": 600.5}, "input_length 600.5", "whole number"),
        ({**GOOD, "input_length": True}, "input_length True", "whole number"),
        ({**GOOD, "input_length": "600"}, "input_length '600'", "whole number"),
        ({**GOOD, "input_length": None}, "input_length None", "whole number"),
        ({**GOOD, "input_length": 10**7 + 1}, "input_length 10000001", "to 10000000"),
        ({**GOOD, "input_length": 10**400}, "a huge number", "whole number"),
        ({**GOOD, "timestamp": -1}, "timestamp -1", "milliseconds"),
        ({**GOOD, "timestamp": 10**400}, "a huge number", "milliseconds"),
        ({**GOOD, "timestamp": "0"}, "timestamp '0'", "milliseconds"),
        ('{"timestamp": NaN, "input_length": 1, "output_length": 1, "hash_ids": [1]}', "NaN", "JSON object"),
        ('{"timestamp": 1e999, "input_length": 1, "output_length": 1, "hash_ids": [1]}', "inf", "milliseconds"),
        ({**GOOD, "hash_ids": [0, 1, 2]}, "3 hash_ids", "so 2, or one less"),
        ({**GOOD, "hash_ids": []}, "0 hash_ids", "so 2, or one less"),
        ({**GOOD, "hash_ids": [0, -1]}, "hash_ids [0, -1]", "2^63"),
        ({**GOOD, "hash_ids": [0, 2**63]}, "hash_ids", "2^63"),
        ({**GOOD, "hash_ids": [0, 1.0]}, "hash_ids [0, 1.0]", "whole numbers"),
        ({**GOOD, "hash_ids": {"0": 1}}, "hash_ids", "list"),
        ({key: GOOD[key] for key in ("timestamp", "input_length", "output_length")}, "no hash_ids", "on every line"),
        ({key: GOOD[key] for key in ("input_length", "output_length", "hash_ids")}, "no timestamp", "timestamp"),
        ('{"a":' * 100_000, "", "JSON object"),
        ("9" * 5000, "", "JSON object"),
    ],
)
def test_a_broken_mooncake_line_is_named(faults, line, found, expected):
    (fault,) = faults(jsonl(GOOD, GOOD, line, GOOD))
    assert "trace.any: line 3: found" in fault
    assert found in fault.split("; expected")[0]
    assert expected in fault.split("; expected")[1]


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ("2024-05-10 00:00:02,10", "2 columns", "3"),
        ("2024-05-10 00:00:02,,1", "ContextTokens ''", "whole number"),
        ("2024-05-10 00:00:02,1.5,1", "ContextTokens '1.5'", "whole number"),
        ("2024-05-10 00:00:02,nan,1", "ContextTokens 'nan'", "whole number"),
        ("2024-05-10 00:00:02,-7,1", "ContextTokens -7", "1 to"),
        ("2024-05-10 00:00:02,0,1", "ContextTokens 0", "1 to"),
        ("2024-05-10 00:00:02,1,0", "GeneratedTokens 0", "1 to"),
        ("2024-05-10 00:00:02,1," + "9" * 500, "GeneratedTokens", "whole number"),
        ("2024-05-10 00:00:02,1,²", "GeneratedTokens", "whole number"),
        ("2024-13-10 00:00:02,1,1", "TIMESTAMP '2024-13-10", "2023-11-16"),
        ("9999-12-31 23:59:59-12:00,1,1", "TIMESTAMP", "1970 to 2199"),
        ("1700000000,1,1", "TIMESTAMP", "2023-11-16"),
        (",1,1", "TIMESTAMP ''", "2023-11-16"),
    ],
)
def test_a_broken_azure_line_is_named(faults, line, found, expected):
    (fault,) = faults(HEADER + "2024-05-10 00:00:01,10,1\n" + line + "\n2024-05-10 00:00:03,10,1\n")
    assert "trace.any: line 3: found" in fault
    assert found in fault.split("; expected")[0]
    assert expected in fault.split("; expected")[1]


def test_every_fault_of_a_line_is_named(faults):
    assert len(faults(HEADER + "yesterday,0,many\n")) == 3
    assert len(faults(jsonl({"timestamp": -1, "input_length": 0, "output_length": 0, "hash_ids": []}))) == 3
    assert len(faults(jsonl({}))) == 3


def test_a_long_list_of_faults_ends_with_their_number(faults):
    named = faults(HEADER + "broken\n" * 57)
    assert len(named) == 21
    assert "line 21" in named[19]
    assert "37 more" in named[20]


def test_missing_columns_are_named(faults):
    named = faults("TIMESTAMP,Tokens\n2024-05-10 00:00:02,1\n")
    assert ["ContextTokens" in named[0], "GeneratedTokens" in named[1]] == [True, True]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\n \n", "blank lines only"),
        (HEADER.encode(), "no requests"),
        (b"hello world\n", "hello world"),
        (b"[]\n", "[]"),
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (bytes(range(256)) * 4, "binary"),
        (b"\xff\xfe\xfa\n", "not UTF-8"),
        (HEADER.encode() + b"\xff\n", "not UTF-8"),
        (HEADER.encode() + b"a\0b\n", "binary"),
        (b"{" + b" " * (1 << 20) + b"}\n", "a longer line"),
    ],
)
def test_what_is_no_trace_is_named(faults, content, found):
    (fault,) = faults(content)
    assert found in fault


def test_missing_files_and_folders_are_named(tmp_path):
    for path, found in ((tmp_path / "none", "no such file"), (tmp_path, "not a file")):
        with pytest.raises(InputError, match=found):
            read_requests(path)


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_absurd_limits_are_refused(read, count):
    with pytest.raises(InputError, match="max_requests"):
        read(jsonl(GOOD), max_requests=count)


def test_bounds_on_size_requests_and_blocks(faults, monkeypatch):
    monkeypatch.setattr(mooncake, "MAX_BLOCKS", 3)
    assert "prefix blocks" in faults(jsonl(GOOD, GOOD))[0]
    monkeypatch.setattr(lines, "MAX_REQUESTS", 1)
    assert "more requests" in faults(HEADER + "2024-05-10 00:00:02,10,1\n" * 2)[0]
    monkeypatch.setattr(lines, "MAX_FILE_BYTES", 10)
    assert "bytes" in faults(jsonl(GOOD))[0]


@settings(max_examples=60)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: ("{" + text).encode())))
def test_garbage_ends_in_a_named_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(content)
    with pytest.raises(InputError, match="garbage"):
        read_requests(path)


def test_cut_anywhere_the_real_trace_still_reads_or_names_its_last_line(shared_data, tmp_path):
    whole = (shared_data / "mooncake" / "conversation_trace.jsonl").read_bytes()[:5_000]
    path = tmp_path / "cut.jsonl"
    path.write_bytes(whole)
    last = len(whole.splitlines())
    with pytest.raises(InputError, match=f"line {last}: "):
        read_requests(path)
