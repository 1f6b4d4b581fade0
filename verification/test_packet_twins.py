"""The packet model against its twins over four times the cases that the tests draw by default; some four minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent / "tests" / "equivalence"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_packet_twin.py", "test_balance_twin.py"])
def test_twins_agree_over_more_cases(name: str) -> None:
    call = [sys.executable, "-m", "pytest", "-n", "0", "-m", "", "-q", str(TESTS / name)]
    done = subprocess.run(call, env=os.environ | {"ZCUBE_TIMES_SEEDS": "4"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
