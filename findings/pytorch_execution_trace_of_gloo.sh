#!/usr/bin/env bash
# PyTorch 2.11.0: the execution trace of a job on gloo says of no collective how many bytes it moved, in which group, with whom.
#
# On NCCL every collective is a node `record_param_comms` with its tensors, process group, split sizes and a rank, which is the
# caller's except for broadcast, reduce, gather and scatter: there it is the root's (seen in a job on four GPUs, and by design
# of ProcessGroupNCCL). A job that is tried on CPUs first has none of these nodes: its collectives are `c10d::broadcast_` and
# `gloo:broadcast`, and the process groups are described all the same, so that the file looks whole. Whoever feeds such a trace
# to a simulator gets computations without communication.
#
# Seen: torch 2.11.0, two processes, five collectives: 0 nodes record_param_comms, 5 nodes gloo:..., schema 1.1.1-chakra.0.0.4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# The wheel of the package index is linked with CUDA's libraries, several GB; none of them is used.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0
cat > "$work/look.py" <<'PY'
import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch.profiler import ExecutionTraceObserver


def rank_of(rank, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    data, parts = torch.ones(8), [torch.ones(8) for _ in range(2)]
    observer = ExecutionTraceObserver().register_callback(f"{folder}/et{rank}.json")
    observer.start()
    dist.broadcast(data, src=1)
    dist.reduce(data, dst=1)
    dist.gather(data, parts if rank == 1 else None, dst=1)
    dist.scatter(data, parts if rank == 1 else None, src=1)
    dist.all_reduce(data)
    observer.stop()
    observer.unregister_callback()
    dist.destroy_process_group()


if __name__ == "__main__":
    processes.spawn(rank_of, args=(sys.argv[1],), nprocs=2)
    for rank in range(2):
        with open(f"{sys.argv[1]}/et{rank}.json") as file:
            trace = json.load(file)
        names = [node["name"] for node in trace["nodes"]]
        found = (names.count("record_param_comms"), sum(name.startswith("gloo:") for name in names))
        groups = names.count("## process_group:init ##")
        print(f"torch {torch.__version__}, rank {rank}: {found[0]} record_param_comms, {found[1]} gloo:..., {groups} descriptions")
        assert found == (0, 5) and groups == 1
PY
"$work/venv/bin/python" "$work/look.py" "$work" 2> "$work/warnings" || { cat "$work/warnings"; exit 1; }
