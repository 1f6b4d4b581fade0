"""A cut or corrupt file: everything before the break is kept, and the record that broke is named."""

import gzip
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_formats import samples

from zcube.errors import InputError
from zcube.trace.importers.catalog import format_names, import_trace

SAMPLES = {sample.format: sample for sample in samples()}
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(tmp_path, sample, content, format="auto"):
    path = tmp_path / sample.name
    path.write_bytes(content)
    return import_trace([path], format)


def ends(sample):
    """Where each record ends, the line break or comma behind it not counted."""
    place, found = len(sample.prefix), []
    for record in sample.records:
        found.append(place + len(record.rstrip(b",\n") if sample.format != "chakra-et" else record))
        place += len(record)
    return found


def check_counts(report):
    for file in report.files:
        assert file.read == file.used + sum(file.skipped.values())


def test_there_is_a_sample_of_every_format():
    # A transfer of NIXL's telemetry is several lines, of which a cut may leave some: test_kv_logs.py.
    assert sorted([*SAMPLES, "nixl-kv"]) == sorted(format_names())


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_whole_file_is_told_by_content_and_gives_its_bytes(tmp_path, name, packed):
    sample = SAMPLES[name]
    content = gzip.compress(sample.content) if packed else sample.content
    imported = load(tmp_path, sample, content)
    assert imported.report.format == name
    assert imported.broken is None
    assert sorted(imported.trace.size_bytes.tolist()) == sorted(sample.sizes)
    assert imported.report.used == len(sample.records)
    check_counts(imported.report)
    imported.trace.check()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_anywhere_keeps_what_stands_before_the_cut(tmp_path, name):
    """Every cut within three bytes of a boundary of records, besides what Hypothesis finds."""
    sample = SAMPLES[name]
    near = {end + shift for end in [len(sample.prefix), *ends(sample)] for shift in range(-3, 4)}

    def cut_is_named(cut):
        whole = sum(end <= cut for end in ends(sample))
        try:
            imported = load(tmp_path, sample, sample.content[:cut], name)
        except InputError as error:
            assert whole == 0
            assert len(error.faults) >= 1
            return
        used = imported.report.used
        assert used in (whole, whole + 1)
        assert imported.trace.size_bytes.tolist()[:whole] == list(sample.sizes[:whole])
        check_counts(imported.report)
        starts = [len(sample.prefix), *(len(sample.prefix) + len(b"".join(sample.records[: i + 1])) for i in range(5))]
        inside = whole < 5 and cut > starts[whole]
        if used == whole and (inside or (sample.closed and cut < len(sample.content))):
            place = re.search(r"(record|line|message) (\d+) \(byte \d+\)", imported.broken.where)
            assert place, imported.broken
            assert int(place[2]) in (sample.before + whole + 1, sample.before + whole)[: 1 if inside else 2]
        elif used == whole and not sample.closed:
            assert imported.broken is None

    for cut in sorted(near):
        if 0 < cut <= len(sample.content):
            cut_is_named(cut)
    quick(given(st.integers(1, len(sample.content)))(cut_is_named))()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_corrupt_file_never_fails_unnamed_and_keeps_what_stands_before(tmp_path, name):
    sample = SAMPLES[name]

    @quick
    @given(st.integers(0, len(sample.content) - 1), st.binary(min_size=1, max_size=6))
    def corrupt(place, junk):
        content = sample.content[:place] + junk + sample.content[place + len(junk) :]
        whole = sum(end < place for end in ends(sample))
        try:
            imported = load(tmp_path, sample, content, name)
        except InputError:
            assert whole == 0
            return
        assert imported.report.used >= whole
        kept = imported.trace.size_bytes.tolist()
        assert all(size in kept for size in sample.sizes[:whole])
        check_counts(imported.report)
        imported.trace.check()

    corrupt()


@pytest.mark.parametrize("name", SAMPLES)
def test_packed_data_cut_short_keep_what_unpacks(tmp_path, name):
    sample = SAMPLES[name]
    packed = gzip.compress(sample.content, compresslevel=0)

    # Without compression the content stands in the file as it is, behind a header of known length.
    start = packed.index(sample.content[:30])

    @quick
    @given(st.integers(start + len(sample.prefix), len(packed) - 1))
    def cut(place):
        whole = sum(end <= place - start for end in ends(sample))
        try:
            imported = load(tmp_path, sample, packed[:place], name)
        except InputError:
            assert whole <= 1
            return
        # The last line may lack its end, which tells it is whole only where the file says so.
        assert imported.report.used >= whole - 1
        assert imported.broken is not None
        assert "gzip" in imported.broken.found

    cut()


@pytest.mark.parametrize("name", SAMPLES)
@given(junk=st.binary(max_size=400))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_is_refused_with_a_fault_or_read(tmp_path, name, junk):
    path = tmp_path / "junk"
    path.write_bytes(junk)
    try:
        check_counts(import_trace([path], name).report)
    except InputError as error:
        assert error.faults


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 40_000,
        b'{"a":' * 40_000,
        b'{"traceEvents": [' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"]}",
        b'{"traceEvents": [{"ts": 1e999, "name": "record_param_comms", "args": {"Collective name": "allreduce", '
        b'"In msg nelems": ' + b"9" * 5000 + b"}}]}",
        b'{"traceEvents": [{"name": "record_param_comms", "args": {"Collective name": "allreduce", "dtype": "Float", '
        b'"Process Group Ranks": "[0, 1]", "In msg nelems": NaN}}]}',
        b'{"workload_graph": [{"Id": 1, "NodeType": 7, "comm_type": 0, "comm_size": -5}]}',
        b'{"workload_graph": [{"Id": 1, "NodeType": 7, "comm_type": 0, "comm_size": 1e40}], "ngpus": 1e300}',
    ],
)
def test_hostile_json_is_refused_quickly(tmp_path, content):
    path = tmp_path / "hostile.json"
    path.write_bytes(content)
    for name in ("kineto", "chakra-json", "nccl-inspector", "pytorch-et", "nccl-chrome"):
        with pytest.raises(InputError):
            import_trace([path], name)
