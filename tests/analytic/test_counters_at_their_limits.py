"""Clocks of integer picoseconds and counters of bytes at the limits that they state: exact up to them, refused beyond."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, PS, flows, star

from zcube.network.packet.model import LATEST_START_S, MOST_PACKETS
from zcube.network.packet.state import NEVER, picoseconds


def finish_ps(start_s: float, settings: dict[str, object]) -> list[int]:
    """Return when four transfers end that share a link, as the clock has it."""
    model = star(5).model(**settings)
    model.send(flows(*((host, 4, 40_960, start_s) for host in range(4))))
    model.advance(float("inf"))
    return [int(at) for at in model._tables["flows"]["finish_ps"][:4]]


@pytest.mark.parametrize("control", ["none", "dcqcn"])
def test_the_latest_transfers_take_to_the_picosecond_what_the_first_take(control: str) -> None:
    settings = {"congestion_control": control}
    late_ps = picoseconds(LATEST_START_S)
    assert [at - late_ps for at in finish_ps(LATEST_START_S, settings)] == finish_ps(0.0, settings)
    # As much time again is left for the run, far below the time that is never reached.
    assert late_ps < 2 * late_ps < NEVER < np.iinfo(np.int64).max


def test_a_simulated_day_is_the_days_of_its_seconds() -> None:
    model = star(2).model()
    model.send(flows(*((0, 1, 4096, hour * 3600.0) for hour in range(25))))
    model.advance(float("inf"))
    ends = [int(at) for at in model._tables["flows"]["finish_ps"][:25]]
    assert [end - hour * 3600 * PS for hour, end in enumerate(ends)] == [ends[0]] * 25 and ends[0] >= 2 * FULL_PS


def test_later_starts_are_refused() -> None:
    with pytest.raises(ValueError, match="within 25 days"):
        star(2).model().send(flows((0, 1, 1000, np.nextafter(LATEST_START_S, np.inf))))


def test_the_largest_transfer_is_counted_whole_and_a_larger_one_refused() -> None:
    most_bytes = MOST_PACKETS * 4096
    model = star(2).model()
    model.send(flows((0, 1, most_bytes)))
    model.advance(1e-5)
    assert np.isnan(model.completions().finish_s).all()
    with pytest.raises(ValueError, match=f"{MOST_PACKETS} packets"):
        star(2).model().send(flows((0, 1, most_bytes + 1)))
    # All that fifty days carry at 1.6 Tb/s is a whole number of 64 bits.
    assert np.iinfo(np.int64).max > 50 * 86400 * 1.6e12 / 8
