"""Fixtures shared by every kind of test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zcube.cli import main


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real traces and measured tables (ZCUBE_DATA, else ../shared/data beside the checkout)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ZCUBE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ZCUBE_DATA to the folder that holds mooncake/, azure2023/, ...")
    return folder


@pytest.fixture
def run(capsys):
    """Run the command line in this process; returns status, stdout, stderr."""

    def run_main(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    return run_main
