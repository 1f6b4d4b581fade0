"""The documentation site builds without a warning, and a link to nowhere stops it. .ci/run builds it as well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of ``folder/docs``."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going", folder / "docs", folder / "site"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=PROJECT, check=False)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_not_with_a_link_to_nowhere(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="pip install '.[docs]'")
    shutil.copytree(PROJECT / "docs", tmp_path / "docs")
    done = built(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "searchindex.js").stat().st_size > 100_000
    page = tmp_path / "docs" / "start.md"
    page.write_text(page.read_text() + "\n[nowhere](nowhere.md)\n")
    broken = built(tmp_path)
    assert broken.returncode != 0 and "nowhere.md" in broken.stderr
