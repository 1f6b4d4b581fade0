"""What launchers and collectors put before a line: NCCL's messages and nccl-tests' tables are found behind it."""

import pytest
from measured_outputs import text
from recorded_formats import nccl_call, nccl_init

from zcube.calibrate.fitting import fit
from zcube.calibrate.readers import read_measured
from zcube.trace.importers.catalog import import_trace

PREFIXES = {
    "srun": "0: ",
    "Open MPI": "[1,0]<stdout>: ",
    "torchrun": "[default0]:",
    "Ray in colours": "\x1b[36m(RayWorker pid=6, ip=10.0.0.1)\x1b[0m ",
    "kubectl": "[pod/job-0/main] 2025-06-01T10:00:00.123456789Z ",
    "stern": "job-0 main ",
    "Compose": "worker-1  | ",
    "pdsh": "node1: ",
    "clush": "node[1-2]: ",
    "journald": "Jun 01 10:00:00 node1 job[123]: ",
}


def prefixed(prefix, content):
    return "".join(prefix + line + "\n" for line in content.splitlines())


@pytest.mark.parametrize("name", PREFIXES)
def test_a_table_of_nccl_tests_is_found_behind_a_prefix(tmp_path, name):
    path = tmp_path / "alltoall.txt"
    path.write_text(text(), encoding="utf-8")
    plain = fit(read_measured(path), draws=0)
    path.write_text(prefixed(PREFIXES[name], text()), encoding="utf-8")
    assert fit(read_measured(path), draws=0).curves == plain.curves


@pytest.mark.parametrize("name", PREFIXES)
def test_a_call_of_nccl_is_found_behind_a_prefix(tmp_path, name):
    content = "".join(
        nccl_init(rank, 2, host=f"h{rank}", pid=7 + rank) + nccl_call("AllReduce", 1000, 7, host=f"h{rank}", pid=7 + rank)
        for rank in range(2)
    )
    path = tmp_path / "nccl.log"
    path.write_text(prefixed(PREFIXES[name], content), encoding="utf-8")
    trace = import_trace([path]).trace
    assert (trace.groups, trace.size_bytes.tolist(), trace.ranks_per_node) == (((0, 1),), [4000], 1)
