"""Named tuples handed to kernels as frames, against the arrays themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.network.frames import arrays_at, frame_of
from zcube.network.kernels import kernel

ROW = np.dtype([("number", "i4"), ("size", "f8")], align=True)


class Several(NamedTuple):
    rows: np.ndarray
    whole: np.ndarray
    real: np.ndarray


several_at = arrays_at(Several, [ROW, np.dtype(np.int64), np.dtype(np.float64)])


@kernel
def double(frame: np.ndarray) -> tuple[int, int, int]:
    several = several_at(frame)
    for at in range(len(several.rows)):
        several.rows[at].number *= 2
        several.rows[at].size *= 2.0
    for at in range(len(several.whole)):
        several.whole[at] *= 2
    for at in range(len(several.real)):
        several.real[at] *= 2.0
    return len(several.rows), len(several.whole), len(several.real)


def test_a_kernel_reads_and_writes_the_arrays_that_a_frame_was_made_of():
    rows = np.zeros(5, ROW)
    rows["number"], rows["size"] = np.arange(5), np.arange(5) / 4
    several = Several(rows, np.array([2**61, -1, 7]), np.zeros(0))
    assert double(frame_of(several)) == (5, 3, 0)
    assert rows["number"].tolist() == [0, 2, 4, 6, 8] and rows["size"].tolist() == [0, 0.5, 1, 1.5, 2]
    assert several.whole.tolist() == [2**62, -2, 14]


def test_a_frame_holds_for_the_part_of_an_array_that_it_was_made_of():
    whole = np.arange(6)
    assert double(frame_of(Several(np.zeros(0, ROW), whole[2:4], np.ones(1)))) == (0, 2, 1)
    assert whole.tolist() == [0, 1, 4, 6, 4, 5]
