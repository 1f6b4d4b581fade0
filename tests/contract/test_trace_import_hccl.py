"""HCCL's run log: what its words come to; lines as Huawei's HCCL user guide and CANN's sources have them."""

import numpy as np
import pytest
from recorded_formats import HCCL_ID, hccl_call, hccl_init, hccl_line, rows

from zcube.trace.importers.catalog import import_trace

#: Two lines of the guide (docs/zh/user_guide/fault_diagnosis of gitcode.com/cann/hccl), the second call on another stream.
GUIDE = (
    "[INFO] HCCL(3015875,python):2025-03-07-11:43:32.305.623 [hccl_opbase_atrace_info.cc:56][3017221]Entry-HcclAllReduce: "
    "tag[AllReduce_127.10.0.1%eth_60000_0_1741318944927847], sendBuf[0x1241d3dcdc00], recvBuf[0x124702f40200], "
    "count[10746295], dataType[float32], op[sum], localRank[0], streamId[7],comm[0xfffe380078d0], deviceLogicId[0]\n"
    "[INFO] HCCL(3015875,python):2025-03-07-11:43:32.306.413 [hccl_opbase_atrace_info.cc:56][3017183]Entry-HcclAllReduce: "
    "tag[AllReduce_127.10.0.1%eth_60000_0_1741318944927847], sendBuf[0x1244bfffe000], recvBuf[0x1244bfffb400], count[1024], "
    "dataType[float32], op[sum], localRank[0], streamId[2],comm[0xfffe380078d0], deviceLogicId[0]\n"
)
INIT = (
    "[INFO] HCCL(3015875,python):2025-03-07-11:43:30.724.374 [op_base.cc:1292] [3015875]Entry-HcclCommInitRootInfoInner:"
    "ranks[4], rank[2], rootinfo: host ip[127.10.0.1] port[60000] nicDeploy[1] "
    "identifier[127.10.0.1%eth_60000_0_1741318944927847], deviceLogicId[2]\n"
)


def test_the_guides_own_lines(load):
    imported = load(INIT + GUIDE, name="plog-{}.log")
    assert (imported.report.format, imported.report.used) == ("hccl-log", 2)
    assert imported.trace.size_bytes.tolist() == [4 * 10746295, 4 * 1024]
    assert imported.trace.groups == ((0, 1, 2, 3),)
    assert np.diff(imported.trace.start_s).tolist() == pytest.approx([790e-6])


def test_lines_found_by_grep_count_where_they_begin(load):
    text = "".join(f"run/plog/plog-3015875_1.log:{line}\n" for line in (INIT + GUIDE).splitlines())
    assert load(text, name="plog-{}.log").report.used == 2


@pytest.mark.parametrize(
    ("call", "key", "datatype", "name", "size"),
    [
        ("AllReduce", "count", "bfloat16", "all-reduce", 2000),
        ("AllReduceInner", "count", "float16", "all-reduce", 2000),
        ("AllReduceV2", "count", "int64", "all-reduce", 8000),
        ("AllGather", "sendCount", "float32", "all-gather", 4000),
        ("ReduceScatter", "recvCount", "int8", "reduce-scatter", 4000),
    ],
)
def test_counts_become_the_bytes_one_rank_puts_in(load, call, key, datatype, name, size):
    parts = [
        hccl_init(rank, 4, pid=100 + rank) + hccl_call(call, 1000, datatype, rank, 100 + rank, key=key) for rank in range(4)
    ]
    imported = load(parts, name="plog-{}.log")
    assert rows(imported)[0][0] == name
    assert imported.trace.size_bytes.tolist() == [size]
    assert imported.trace.groups == ((0, 1, 2, 3),)


def test_all_to_all_broadcast_and_pairs(load):
    parts = []
    for rank in range(2):
        pid = 100 + rank
        pair = (
            f"{'Send' if rank == 0 else 'Recv'}:tag[worldCommSendRecv_0_1_{HCCL_ID}], {'send' if rank == 0 else 'recv'}Buf[0x1]"
        )
        parts.append(
            hccl_init(rank, 2, pid)
            + hccl_line(f"AlltoAll:tag[AlltoAll_{HCCL_ID}], sendCount[10], recvCount[10], sendType[float32],recvType[float32], "
                        "streamId[3],deviceLogicId[0]", pid)
            + hccl_line(f"Broadcast:tag[Broadcast_{HCCL_ID}], buf[0x1], count[5], dataType[uint8], root[1], streamId[3]", pid)
            + hccl_line(f"{pair}, count[7], dataType[float64], streamId[3], deviceLogicId[0]", pid)
            + hccl_line(f"AlltoAllV:tag[AlltoAllV_{HCCL_ID}], sendType[float32],recvType[float32], streamId[3]", pid)
            + hccl_line("CommDestroy: op_base comm destroy begin", pid)
        )  # fmt: skip
    imported = load(parts, name="plog-{}.log")
    assert sorted(zip((row[0] for row in rows(imported)), imported.trace.size_bytes.tolist(), strict=True)) == [
        ("all-to-all", 80), ("broadcast", 5), ("send-receive", 56),
    ]  # fmt: skip
    (pair,) = np.flatnonzero(imported.trace.size_bytes == 56)
    assert (imported.trace.source[pair], imported.trace.target[pair]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (hccl_call("AllReduce", 5), "without its set-up line"),
        (hccl_init(0, 2) + hccl_call("AllReduce", 5, "float7"), "data type that is not known"),
        (hccl_init(0, 2) + hccl_call("AllReduce", 10**19), "more bytes than any call moves"),
        (hccl_init(0, 2) + hccl_call("Imagine", 5), "unknown name"),
        (hccl_init(0, 2) + hccl_init(1, 3, pid=7) + hccl_call("AllReduce", 5), "contradicts another line"),
        (hccl_init(0, 2) + hccl_line(f"Send:tag[Send_{HCCL_ID}], count[7], dataType[int8], streamId[1]"), "names no ranks"),
        (hccl_init(0, 2) + hccl_line(f"Broadcast:tag[Broadcast_{HCCL_ID}], count[7], dataType[int8], root[9]"), "a root or"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_counted_with_its_reason(tmp_path, text, why):
    path = tmp_path / "plog-1.log"
    path.write_text(text + hccl_init(0, 2, pid=9, name="other") + hccl_call("AllReduce", 5, pid=9, name="other"))
    report = import_trace([path]).report
    assert report.used >= 1
    assert any(why in reason for reason in report.files[0].skipped), report.files[0].skipped
