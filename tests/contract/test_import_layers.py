"""Imports run one way: fabric -> routing -> network -> serving -> compare -> report."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import lint_imports

PROJECT = Path(__file__).resolve().parents[2]


def test_import_contracts_hold(monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    status = lint_imports(config_filename=str(PROJECT / "pyproject.toml"))
    assert status == 0, capsys.readouterr().out
