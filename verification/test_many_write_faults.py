"""Every writing call of every verb meets faults and signals: 500 faults, 2,000 signals; half an hour of one processor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).resolve().parent.parent / "tests" / "write_faults.py"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_nothing_is_lost_half_written_or_left(seed: int) -> None:
    call = [sys.executable, str(HARNESS), "--faults", "500", "--kills", "2000", "--seed", str(seed)]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=False)
    summary = json.loads(done.stdout)
    assert summary["wrong"] == []
    assert (summary["faults"], summary["kills"]) == (500, 2000)
