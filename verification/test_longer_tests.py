"""Tests under ``tests/`` that are marked slow: what they show is shown more briefly by others there; some two minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent / "tests"


LONGER = (
    "analytic/test_node_sizes.py",
    "contract/test_compare_microscope.py",
    "contract/test_compile_cache.py",
    "contract/test_plan_search.py",
    "contract/test_plan_wiring.py",
    "contract/test_side_by_side.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_the_longer_ones_pass(name: str) -> None:
    call = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "slow", str(TESTS / name)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
