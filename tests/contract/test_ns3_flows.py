"""Flow lists of ns-3's RDMA simulators: as HPCC reads them, as it prints what was done, and written for it."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import Kind
from zcube.trace.exporters.catalog import export_trace
from zcube.trace.importers.catalog import import_trace

#: As HPCC's mix/flow.txt: more flows listed than announced.
FLOWS = "2\n2 1 3 100 200000000 2\n3 1 3 100 150000000 2.5\n4 1 3 100 5000000 2\n"


def flows(trace):
    columns = (trace.source, trace.target, trace.size_bytes, trace.start_s)
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_a_flow_list_has_as_many_flows_as_it_says(load):
    imported = load(FLOWS, name="flow.txt")
    assert flows(imported.trace) == [(2, 1, 200_000_000, 0.0), (3, 1, 150_000_000, 0.5)]
    assert imported.trace.metadata["origin_us"] == 2e6
    assert imported.trace.ranks_per_node == 1
    assert imported.report.skipped["a flow beyond the number in the first line, which the simulator does not read"] == 1


def test_hosts_of_a_topology_are_ranks_in_their_order(load):
    imported = load(FLOWS, name="flow.txt", hosts=(1, 2, 3))
    assert flows(imported.trace) == [(1, 0, 200_000_000, 0.0), (2, 0, 150_000_000, 0.5)]
    missing = load(FLOWS, name="flow.txt", hosts=(1, 2))
    assert missing.report.skipped["an address or number of no host"] == 1


def test_a_list_of_fewer_flows_than_announced_breaks_off(load):
    imported = load(FLOWS.replace("2\n", "7\n", 1), name="flow.txt")
    assert len(imported.trace) == 3
    assert (imported.broken.found, imported.broken.expected) == ("the end of the file after 3 flows", "7 flows")


@pytest.mark.parametrize(("node", "address"), [(0, "0b000001"), (2, "0b000201"), (258, "0b010201"), (65_535, "0bffff01")])
def test_completed_flows_have_the_nodes_of_their_addresses(load, node, address):
    """Ipv4Address(0x0b000001 + (id / 256) * 0x10000 + (id % 256) * 0x100)."""
    text = f"{address} 0b000101 10000 100 200000000 2000000123 16001234 16000000\n"
    trace = load(text, name="fct.txt").trace
    assert flows(trace) == [(node, 1, 200_000_000, 0.0)]
    assert trace.duration_s.tolist() == [pytest.approx(0.016001234)]
    assert trace.metadata["origin_us"] == pytest.approx(2000000.123)


def test_an_address_of_no_node_is_left_out(load):
    text = "0b000201 0b000101 1 1 5 0 9 9\n0a000201 0b000101 1 1 5 0 9 9\n"
    assert load(text, name="fct.txt").report.skipped["an address or number of no host"] == 1


def test_a_trace_is_written_with_starts_in_order_and_read_back(tmp_path):
    builder = TraceBuilder(16, 8)
    first = builder.transfer("a", 0, 8, 50_000_000)
    builder.transfer("c", 3, 12, 7, start_s=4e-3)
    builder.transfer("b", 8, 1, 1_000_000, after=[int(first[0])])
    path = tmp_path / "flow.txt"
    export_trace(builder.build({}), path)
    # 50 MB take 1 ms at 400 Gb/s.
    assert path.read_text() == "3\n0 8 3 100 50000000 0.000000000\n8 1 3 100 1000000 0.001000000\n3 12 3 100 7 0.004000000\n"
    back = import_trace([path], ranks_per_node=8).trace
    assert np.array_equal(back.rows(Kind.TRANSFER), [0, 1, 2])
    assert back.start_s.tolist() == pytest.approx([0, 1e-3, 4e-3])


def test_what_32_bits_do_not_hold_is_refused(tmp_path):
    builder = TraceBuilder(2, 1)
    builder.transfer("a", 0, 1, 1 << 32)
    with pytest.raises(InputError, match="1 transfers of more than 4294967295 bytes"):
        export_trace(builder.build({}), tmp_path / "flow.txt")
