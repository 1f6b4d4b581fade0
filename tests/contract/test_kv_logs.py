"""Transfers of KV caches in the logs of SGLang and NIXL, as their sources print them, and what is no log of transfers."""

import json
import struct

import pytest
from measured_outputs import text
from recorded_formats import nccl_call, nccl_init

from zcube.errors import InputError

#: python/sglang/srt/observability/req_time_stats.py, convert_to_duration and log_time_stats; the prefix of each rank's logger.
PREFILL = (
    "[2025-06-01 10:00:{:02d} DP0 TP{}] Req Time Stats(rid=a1, bootstrap_room=77, input len=4096, output len=1, type=prefill): "
    "bootstrap_duration=1.20ms, alloc_wait_duration=0.10ms, queue_duration=2.00ms, forward_duration=95.00ms, "
    "entry_time=10:00:00.123, transfer_speed={} GB/s, transfer_total={} MB, #retries=0\n"
)
DECODE = (
    "[2025-06-01 10:00:03 TP0] Req Time Stats(rid=a1, bootstrap_room=77, input len=4096, output len=9, type=decode): "
    "prealloc_duration=1.00ms, transfer_duration=9.00ms, queue_duration=0.10ms, forward_duration=99.00ms, start=1.000\n"
)


def flows(trace):
    return [tuple(row) for row in zip(*(c.tolist() for c in (trace.source, trace.target, trace.size_bytes)), strict=True)]


def test_sglang_lines_are_transfers_of_their_tensor_rank(load):
    text = PREFILL.format(1, 0, "12.50", "250.00") + PREFILL.format(2, 3, "25.00", "128.00") + DECODE
    imported = load(text)
    assert imported.report.format == "sglang-kv"
    assert flows(imported.trace) == [(0, 8, 250 << 20), (3, 11, 128 << 20)]
    # MB / 1024 / (GB/s), in seconds; a line stands at the end of what it tells.
    durations = [250 / 1024 / 12.5, 128 / 1024 / 25]
    assert imported.trace.duration_s.tolist() == pytest.approx(durations)
    assert imported.trace.start_s.tolist() == pytest.approx([0, 1 - durations[1] + durations[0]])
    assert imported.report.skipped["no size: only the prefill side's lines have it"] == 1


def test_tensor_ranks_over_several_nodes_need_receivers_behind_them(load):
    text = "(Worker pid=7, ip=10.0.0.1) " + PREFILL.format(1, 9, "12.50", "250.00") + PREFILL.format(2, 0, "12.50", "1.00")
    imported = load(text)
    assert flows(imported.trace) == [(0, 8, 1 << 20)]
    assert sum(imported.report.skipped.values()) == 1
    assert flows(load(text, target_rank=16).trace) == [(9, 25, 250 << 20), (0, 16, 1 << 20)]


def test_sglang_lines_of_older_versions_have_no_space_before_units(load):
    text = PREFILL.format(1, 0, "12.50", "250.00").replace(" GB/s", "GB/s").replace(" MB", "MB")
    assert flows(load(text).trace) == [(0, 8, 250 << 20)]
    none = "[2025-06-01 10:00:01] Req Time Stats(rid=a, input len=9, output len=1, type=prefill): queue_duration=1.00ms\n"
    assert load(text + none).report.skipped["no transfer_total: an older SGLang"] == 1


def test_ends_and_megabytes_of_sglang_can_be_given(load):
    imported = load(PREFILL.format(1, 2, "10.00", "5.00"), source_rank=4, target_rank=12, megabyte_bytes=1_000_000)
    assert flows(imported.trace) == [(6, 14, 5_000_000)]


def events(*pairs):
    """What examples/python/telemetry_reader.py prints of each event."""
    stamp = "2025-06-01 10:00:01 - INFO - "
    return "".join(
        f"{stamp}\n=== NIXL Telemetry Event ===\n{stamp}Event: {name}\n{stamp}Value: {value}\n{stamp}{'=' * 27}\n"
        for name, value in pairs
    )


def test_nixl_events_of_one_transfer_are_one_transfer(load):
    """addXferStats hands on post time, transfer time, bytes and requests, in this order."""
    text = events(
        ("agent_memory_registered", 1 << 30),
        ("agent_xfer_post_time", 5), ("agent_xfer_time", 1200), ("agent_tx_bytes", 7_000_000), ("agent_tx_requests_num", 1),
        ("agent_xfer_post_time", 5), ("agent_xfer_time", 800), ("agent_rx_bytes", 3_000_000), ("agent_rx_requests_num", 1),
        ("agent_tx_bytes", 0), ("agent_tx_bytes", 9), ("agent_telemetry_events_dropped", 4),
    )  # fmt: skip
    imported = load(text, target_rank=8)
    trace = imported.trace
    assert imported.report.format == "nixl-kv"
    assert flows(trace) == [(0, 8, 7_000_000), (0, 8, 3_000_000), (0, 8, 9)]
    assert trace.duration_s.tolist() == pytest.approx([1.2e-3, 0.8e-3, float("nan")], nan_ok=True)
    assert [trace.waits_for(row).tolist() for row in range(3)] == [[], [0], [1]]
    assert (imported.report.skipped["no bytes"], imported.report.skipped["events that NIXL dropped"]) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([1.5, [["BlockStored", [1, 2], None, [7, 8], 16, None]], 0]),
        b"\x93\xcb\x3f\xf8\x91\x96\xabBlockStored\x92\x01\x02",
        json.dumps(
            {"timestamp": 1, "event": {"event_id": 0, "data": {"stored": {"blocks": [{"block_hash": 1, "tokens_hash": 2}]}}}}
        ),
    ],
)
def test_cache_events_are_no_transfers_and_say_what_is(load, content):
    with pytest.raises(InputError, match=r"KV cache events.*expected a log of transfers: SGLang"):
        load(content)


def test_tables_of_nccl_tests_are_for_calibrations_unless_nccl_logs_beside_them(load):
    with pytest.raises(InputError, match="zcube calibrate read"):
        load(text())
    logged = text() + nccl_init(0, 1) + nccl_init(0, 2) + nccl_call("AllReduce", 5, 7)
    assert load(logged.replace("rank 0 nranks 1 ", "x ")).report.format == "nccl-log"


def test_the_telemetry_buffer_itself_is_named(load):
    ring = struct.pack("<QQIIQQ", 5, 2, 4, 4, 8, 7) + bytes(8 * 16)
    with pytest.raises(InputError, match="expected what its telemetry_reader prints"):
        load(ring)
