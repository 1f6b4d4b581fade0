"""Kernels after an upgrade by pip are those of the sources installed; needs a package index; a minute or two."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).resolve().parents[1]
FLOWS = "src,dst,bytes,start_s\n" + "".join(f"{gpu},{255 - gpu},1000000,0\n" for gpu in range(100))


def test_an_upgrade_that_changes_a_constant_gives_a_fresh_install_s_results(tmp_path):
    source, home = tmp_path / "source", tmp_path / "home"
    home.mkdir()
    for part in ("zcube", "topologies", "scenarios"):
        shutil.copytree(CHECKOUT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / part, source)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_", "PYTHON"))}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home)}

    def installed(name: str) -> Path:
        place = tmp_path / name
        if not place.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
            (packages,) = place.glob("lib/python*/site-packages")
            (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
        python = place / "bin" / "python"
        install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--upgrade", "--no-deps", source]
        subprocess.run(install, check=True, capture_output=True)
        return python

    def replayed(python: Path) -> tuple[dict, str]:
        (home / "flows.csv").write_text(FLOWS)
        command = [python, "-m", "zcube", "replay", "flows.csv", "--fabric", "roft-256", "--out", "out.csv", "--json"]
        ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
        return json.loads(ended.stdout), (home / "out.csv").read_text()

    def edit(path: str, before: str, after: str) -> None:
        text = (source / path).read_text()
        assert before in text
        (source / path).write_text(text.replace(before, after))

    python = installed("user")
    before = replayed(python)
    edit("zcube/routing/hashing.py", "0xBF58476D1CE4E5B9", "0xBF58476D1CE4E5BB")
    edit("pyproject.toml", 'version = "', 'version = "1')
    upgraded = replayed(installed("user"))
    assert upgraded != before
    assert upgraded == replayed(installed("fresh"))
    assert replayed(python) == upgraded
