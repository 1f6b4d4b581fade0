#!/usr/bin/env bash
# distributed 2026.8.0: a task that no worker ever began fails with KilledWorker, because it waited behind one that kills workers.
#
# Two tasks are sent to one worker with one thread and `allowed-failures: 0`: the first ends its process, the second writes a file.
# KilledWorker says of a task that "it" was tried on workers that died while running it, so that one would expect the first to fail
# and the second, which never ran, to be sent to the worker that the nanny starts in its place. The scheduler counts a death
# against every task that was handed to the worker, running or not (`for ts in list(ws.processing)`), and both fail.
#
# Seen: distributed 2026.8.0: first KilledWorker, second KilledWorker, second ever begun: False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check distributed==2026.8.0 dask==2026.8.0
cat > "$work/two.py" <<'PY'
import os
import pathlib
import signal
import sys
import time

import dask
from distributed import Client, LocalCluster


def end():
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGKILL)


def write(path):
    pathlib.Path(path).write_text("begun")


if __name__ == "__main__":
    path = sys.argv[1]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": "inf"}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        both = [client.submit(end, pure=False), client.submit(write, path, pure=False)]
        first, second = (type(one.exception(timeout=60)).__name__ for one in both)
    print(f"first {first}, second {second}, second ever begun: {os.path.exists(path)}")
    assert (first, second) == ("KilledWorker", "KilledWorker") and not os.path.exists(path)
PY
echo -n "distributed 2026.8.0: "
"$work/venv/bin/python" "$work/two.py" "$work/begun" 2> /dev/null
