"""Some faults and signals of tests/write_faults.py; the many are in verification/test_many_write_faults.py."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest
import write_faults
from system_calls import missing, watch

needs_calls = pytest.mark.skipif(bool(missing()), reason=missing())


@needs_calls
def test_a_result_is_old_or_new_and_nothing_is_left_whatever_call_meets_what() -> None:
    done = write_faults.run(faults=8, kills=6, seed=7, only=("transport copy", "fabric import"), again=0.2)
    assert done["wrong"] == []
    assert sum(done["outcomes"].values()) == 14 and done["calls"] > 20


@needs_calls
def test_a_fault_and_a_signal_are_met_where_they_are_sent(tmp_path: Path) -> None:
    """The harness itself: the call fails in the middle of a native library's work too, and the process hears the signal."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"a": list(range(1000))})

    def work() -> int:
        try:
            parquet.write_table(table, tmp_path / "table.parquet")
        except OSError as error:
            return 10 + (os.strerror(errno.ENOSPC) in str(error))
        return 0

    whole = watch(work, tmp_path, lambda call: 0)
    assert whole.status == 0 and {"openat", "write"} <= {call.name for call in whole.calls}
    assert watch(work, tmp_path, lambda call: errno.ENOSPC if call.name == "write" else 0).status == 11
    killed = watch(work, tmp_path, lambda call: -signal.SIGKILL if call.place == 1 else 0)
    assert killed.status == -signal.SIGKILL and len(killed.calls) == 2


def test_every_verb_that_writes_is_in_it() -> None:
    import writing_verbs

    verbs = {verb for verb, _ in writing_verbs.WRITTEN}
    assert {"compare", "matrix", "sweep", "plan", "report", "replay", "fabric import", "calibrate run", "demo", "new"} <= verbs
