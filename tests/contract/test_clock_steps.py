"""A clock that is set back or forward between two writes or runs loses nothing, and results are the same."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import zcube
from zcube.outputs import write_file
from zcube.progress import TimeLeft
from zcube.workplace import MARK, clear_leftovers, workplace

#: What asks for the time of day, and what files' times are.
ASKS = re.compile(
    r"\b(?:time\.(?:time|time_ns|localtime|gmtime|ctime|strftime)|(?:datetime|date)\.(?:now|utcnow|today))(?=\()"
    r"|\.st_[mca]time\w*|get[mc]time"
)
#: The date of a record; the age of kernels' folders, and of what was being written there; whether a file was read before.
ALLOWED = {
    "cli/record.py": {"datetime.now"}, "compile_cache.py": {"time.time", ".st_mtime"}, "kernel_files.py": {".st_mtime"},
    "run_inputs.py": {".st_mtime_ns"},
}  # fmt: skip


def test_the_time_of_day_is_asked_for_in_few_places():
    package = Path(zcube.__file__).parent
    asked = {str(path.relative_to(package)): set(ASKS.findall(path.read_text())) for path in package.rglob("*.py")}
    assert {name: found for name, found in asked.items() if found} == ALLOWED


@pytest.mark.parametrize("year_s", [315_532_800, 4_102_444_800], ids=["1980", "2100"])
def test_what_a_dead_run_left_goes_and_what_lives_stays_whatever_their_times(tmp_path, year_s):
    path = tmp_path / "out.csv"
    dead = path.with_name(f".{path.name}.zcube-abcd1234")
    (dead / "content").mkdir(parents=True)
    (dead / MARK).write_text(json.dumps({"content": (dead / "content").stat().st_ino, "replaces": None}))
    with workplace(path) as living:
        for place in (dead, dead / "content", dead / MARK, living, living.parent, living.parent / MARK):
            if place.exists():
                os.utime(place, (year_s, year_s))
        clear_leftovers(path)
        assert living.exists()
    assert not dead.exists()
    write_file(path, lambda temporary: temporary.write_text("new"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_the_time_left_is_by_a_clock_that_nobody_sets():
    left = TimeLeft()
    left.note(0, 10, "runs")
    assert left._clock.__name__ == "monotonic"
