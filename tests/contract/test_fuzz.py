"""The harness for hostile files: sound files are read, inputs repeat, and whatever a reader does wrong is found."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.errors import Fault, InputError
from zcube.fuzz import run, trial
from zcube.fuzz.kinds import Kind, kinds
from zcube.fuzz.mutations import MOST_BYTES, changed
from zcube.fuzz.strategies import changed_files, files_of
from zcube.fuzz.trial import content

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are set and seen as Linux does")

#: Those that need a comparison to be run first; sweeps take long. All are tried by verification/fuzz.py.
_OF_RESULTS = ("page of", "stored", "run.json")
KINDS = {kind.name: kind for kind in kinds() if not kind.name.startswith((*_OF_RESULTS, "sweep"))}


@pytest.mark.parametrize("name", KINDS)
def test_sound_files_are_read(tmp_path, name):
    kind = KINDS[name]
    path = tmp_path / kind.file
    path.write_bytes(kind.sound())
    kind.read(path)


def test_inputs_are_a_function_of_seed_and_number():
    for kind in list(KINDS.values())[::5]:
        sound = kind.sound()
        first = [content(kind, sound, seed, number) for seed in (0, 1) for number in range(1, 9)]
        assert first == [content(kind, sound, seed, number) for seed in (0, 1) for number in range(1, 9)]
        assert len(set(first)) > 8 and max(map(len, first)) <= MOST_BYTES


@settings(max_examples=20)
@given(changed_files(b'{"a": [1, 2, {"b": "c"}]}', "json"), st.randoms(use_true_random=False))
def test_changes_take_whatever_changes_left(raw, draws):
    for form in ("json", "json lines", "toml", "csv", "xml", "text", "binary", "gzip", "parquet"):
        assert isinstance(changed(raw, form, draws), bytes)


@settings(max_examples=10)
@given(files_of("requests Azure"))
def test_strategies_are_of_a_kind(tmp_path_factory, raw):
    kind = KINDS["requests Azure"]
    path = tmp_path_factory.mktemp("hostile") / kind.file
    path.write_bytes(raw)
    try:
        kind.read(path)
    except InputError as error:
        assert error.faults


def _sleeps(path):
    if path.read_bytes() != b"sound":
        end = time.process_time() + 60
        while time.process_time() < end:
            pass


def _dies(path):
    if path.read_bytes() != b"sound":
        os._exit(3)


def _grows(path):
    np.ones(10_000_000 if path.read_bytes() != b"sound" else 1)


def _raises(path):
    if path.read_bytes() != b"sound":
        raise KeyError("x")


def _says_little(path):
    raise InputError(Fault("", "y", "z"))


def _refuses(path):
    raise InputError(Fault(str(path), "y", "z"))


@pytest.mark.parametrize(
    ("read", "what"),
    [(_sleeps, "hang"), (_dies, "death"), (_grows, "memory"), (_raises, "error"), (_says_little, "fault"), (_refuses, None)],
)
def test_what_a_reader_does_wrong_is_found(monkeypatch, read, what):
    monkeypatch.setattr(run, "MOST_TIME_S", 0.3)
    monkeypatch.setattr(trial, "MOST_MEMORY_BYTES", 50_000_000)
    kind = Kind("mine", "x", "binary", lambda: b"sound", read)
    found = run.fuzz([kind], inputs=2, tell=lambda line: None)
    assert {finding.what for finding, _ in found.findings.values()} == ({what} if what else set())
    assert found.next_number >= 1
