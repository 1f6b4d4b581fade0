"""Processes that share an empty compile cache all end well and agree; a later one is quick."""

from __future__ import annotations

import os
import subprocess
import sys


def test_four_processes_on_an_empty_cache(tmp_path):
    (tmp_path / "flows.csv").write_text("src,dst,bytes,start_s\n0,100,1000000,0\n8,101,2000000,0\n")
    command = [sys.executable, "-m", "zcube", "replay", "flows.csv", "--fabric", "roft-256", "--json"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * 4, [err for _, err in ended]
    assert len({out for out, _ in ended}) == 1
    cached = {path.name for path in (tmp_path / "cache").rglob("*.nbc")}
    assert cached
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == ended[0][0]
    assert {path.name for path in (tmp_path / "cache").rglob("*.nbc")} == cached
