"""Runs of AMD's rccl-tests and Huawei's hccl_test as measurements: what they print is what is read, faults are named."""

from __future__ import annotations

import random

import pytest

from zcube.calibrate.fitting import fit
from zcube.calibrate.readers import ReadOptions, read_measured
from zcube.cli.app import command
from zcube.errors import InputError

#: As in Huawei's manual of the tool, but for the spelling of the second column, which is the program's.
SIZES = [8192 << step for step in range(14)]
TIMES_US = (
    764.55, 858.80, 901.10, 900.00, 928.50, 1573.45, 1831.25, 1778.30, 1763.30, 1801.75, 1767.65, 1940.90, 1714.85, 2630.20
)  # fmt: skip
RATES = (
    0.00998, 0.01777, 0.03387, 0.06782, 0.13147, 0.15516, 0.26664, 0.54916, 1.10765, 2.16803, 4.41971, 8.05039, 18.22317,
    23.76245,
)  # fmt: skip
COMMAND = "# mpirun -n 8 ./bin/all_reduce_test -b 8K -e 64M -f 2 -d fp32 -o sum -p 8\n"
SETTINGS = "the minbytes is 8192, maxbytes is 67108864, iters is 20, warmup_iters is 5\n"
HEADER = "data_size(Bytes): | aveg_time(us): | alg_bandwidth(GB/s): | check_result:\n"
LINES = [f"{size:<18}| {time:>10.2f}    | {rate:>14.5f}       | success\n" for size, time, rate in zip(SIZES, TIMES_US, RATES)]
HCCL = COMMAND + SETTINGS + HEADER + "".join(LINES)
#: As rccl-tests prints it on eight MI300X.
RCCL_HEAD = """# nThread 1 nGpus 8 minBytes 8388608 maxBytes 16777216 step: 2(factor) warmup iters: 5 iters: 20 validation: 1
#
rccl-tests: Version develop:83d38d9
# Using devices
"""
DEVICE = "#  Rank {0:2} Group  0 Pid  37300 on   g100n126 device {0:2} [0000:{0:02x}:00] AMD Instinct MI300X\n"
RCCL_TABLE = """#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
     8388608       2097152     float     sum      -1    91.10   92.08  161.14      0    94.94   88.36  154.63      0
    16777216       4194304     float     sum      -1   140.20  119.67  209.42      0   141.30  118.73  207.78      0
# Errors with asterisks indicate errors that have exceeded the maximum threshold.
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 183.2
#
"""
RCCL = RCCL_HEAD + "".join(DEVICE.format(rank) for rank in range(8)) + RCCL_TABLE


@pytest.fixture
def read(tmp_path):
    def read(text, name="run.txt", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_measured(path, ReadOptions(**options))

    return read


@pytest.mark.parametrize("spelling", ["aveg_time", "avg_time"])
@pytest.mark.parametrize("prefix", ["", "[1,0]<stdout>:", "0: ", "bench-1  | "])
def test_hccl_test_as_the_manual_shows_it(read, spelling, prefix):
    text = HCCL.replace("aveg_time", spelling)
    found = read("".join(prefix + line + "\n" for line in text.splitlines()), path="nvlink")
    assert found.size_bytes.tolist() == SIZES
    assert found.time_s * 1e6 == pytest.approx(TIMES_US)
    assert (set(found.operation), set(found.ranks), set(found.hosts)) == ({"all-reduce"}, {8}, {1})
    assert (set(found.correct), set(found.repetitions), set(found.dtype)) == ({1}, {20}, {"fp32"})
    assert (found.metadata.backend, found.metadata.how) == ("hccl", "hccl_test")
    assert fit(found).curves


def test_hccl_tests_bandwidth_is_in_binary_units():
    for size, time_us, rate in zip(SIZES, TIMES_US, RATES):
        assert rate == pytest.approx(size / (time_us * 1e-6) / 2**30, rel=2e-3)


def test_hccl_test_without_its_command_line_needs_operation_and_ranks(read):
    bare = SETTINGS + HEADER + "".join(LINES)
    with pytest.raises(InputError, match="does not name the operation; expected the command line above it, or --operation"):
        read(bare)
    with pytest.raises(InputError, match="does not name the ranks"):
        read(bare, operation="all_reduce")
    found = read(bare, operation="all_reduce", ranks=16)
    assert (set(found.operation), set(found.ranks), set(found.hosts)) == ({"all-reduce"}, {16}, {0})
    assert set(read(bare, name="all_gather_test.txt", ranks=4).operation) == {"all-gather"}


def test_several_runs_of_hccl_test_over_hosts(read):
    two = HCCL.replace("-n 8 ", "-n 16 ").replace("all_reduce_test", "alltoall_test")
    found = read(HCCL + two, path=None)
    assert [*dict.fromkeys(zip(found.operation, found.ranks, found.hosts))] == [("all-reduce", 8, 1), ("all-to-all", 16, 2)]
    assert set(found.path[found.hosts == 2]) == {"across"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HCCL.replace("success", "failed", 1), "check_result 'failed'"),
        (HCCL.replace("764.55", "764.55e3"), "off by a factor of 1e\\+03"),
        (HCCL.replace("764.55", "nan"), "time_s"),
        (HCCL.replace("764.55", "-1"), "time_s"),
        (HCCL.replace("764.55", "abc"), "could not convert"),
        (HCCL.replace("8192   ", "8192x  "), "invalid literal"),
        (HCCL.replace("8192              |", "0                 |"), "a size of 0"),
        (HCCL.replace(LINES[0], LINES[0].rpartition("|")[0] + "\n"), "3 columns"),
        (COMMAND + SETTINGS + HEADER, "a header and no table"),
        (COMMAND + SETTINGS + HEADER + "".join(LINES[:7]), "maxbytes, 67108864: was it killed"),
        (HCCL.replace("-n 8 ", "-n 9999999 "), "does not name the ranks"),
        (HCCL.replace("-n 8 ", "-n 1 "), "runs of one rank"),
        (HCCL + "8" * 5000 + "\n", "5000 characters"),
    ],
)
def test_faults_of_hccl_test(read, text, told):
    with pytest.raises(InputError, match=told):
        read(text)


def test_unchecked_results_are_told_as_such(read):
    assert set(read(HCCL.replace("success", "NULL")).correct) == {-1}


def test_rccl_tests(read):
    found = read(RCCL, operation="all_reduce", path="nvlink")
    assert found.size_bytes[~found.in_place].tolist() == [8388608, 16777216]
    assert found.time_s[found.in_place] * 1e6 == pytest.approx([94.94, 141.30])
    assert (set(found.operation), set(found.ranks)) == ({"all-reduce"}, {8})
    assert (found.metadata.backend, found.metadata.how) == ("rccl", "rccl-tests")
    assert found.metadata.hardware == "8x AMD Instinct MI300X"
    assert read("RCCL version : 2.26.6-HEAD:1234\n" + RCCL, operation="all_reduce").metadata.nccl_version == "2.26.6"
    with pytest.raises(InputError, match="does not name the operation"):
        read(RCCL)
    with pytest.raises(InputError, match="footer"):
        read(RCCL.partition("# Errors")[0], operation="all_reduce")


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("text", [HCCL, RCCL])
def test_mutated_files_are_read_or_refused_by_name(read, text, seed):
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(text))
        text = (
            text[:at]
            + draw.choice(["", "|", "\x00", "9" * 30, "-", "é", "\n", text[at : at + 200]])
            + text[at + draw.randint(0, 4) :]
        )
    try:
        read(text, operation="all_reduce", ranks=8)
    except InputError as error:
        assert all(fault.where and fault.expected for fault in error.faults)


def test_ranks_of_the_verb(tmp_path, capsys):
    file, out = tmp_path / "run.txt", tmp_path / "runs.json"
    file.write_text(SETTINGS + HEADER + "".join(LINES))
    told = ["calibrate", "read", str(file), "--operation", "all-reduce", "--ranks", "8", "--path", "nvlink", "--out", str(out)]
    command().main(told, standalone_mode=False)
    assert "all-reduce" in capsys.readouterr().out
    with pytest.raises(InputError, match="ranks"):
        ReadOptions(ranks=0)
