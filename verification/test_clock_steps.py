"""A study under a clock that is set years forward and back between its calls."""

from __future__ import annotations

from datetime import datetime as real_datetime
from datetime import timedelta

import pytest
import writing_verbs

from zcube.cli import main, record

pytestmark = pytest.mark.slow


def test_a_study_goes_on_and_ends_alike_when_the_clock_is_set_back(tmp_path, monkeypatch):
    (tmp_path / "study.toml").write_text(writing_verbs.SWEEP)
    texts = []
    for step in (timedelta(days=3650), timedelta(days=-3650), timedelta()):

        class Stepped(real_datetime):
            shift = step

            @classmethod
            def now(cls, zone=None):
                return real_datetime.now(zone) + cls.shift

        monkeypatch.setattr(record, "datetime", Stepped)
        with pytest.raises(SystemExit) as ended:
            main(["sweep", str(tmp_path / "study.toml"), "--jobs", "1", "--out", str(tmp_path / "out")])
        assert not ended.value.code
        texts.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "run.json"})
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) > 2
