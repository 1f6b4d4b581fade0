"""What a matrix says of its figures: paired changes by hand, the noise, and who wins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from zcube.matrix.findings import _queue_pairs, differences, words


def repeats(*values):
    return [{"over_ideal": {"p99": value}, "packet": {"drops": 0}} for value in values]


def test_a_change_is_the_geometric_mean_of_the_ratios_with_students_interval_of_the_logarithms():
    mine, other = [2.0, 3.0, 5.0, 4.0, 6.0], [1.0, 2.0, 2.0, 2.0, 4.0]
    found = differences(repeats(*mine), repeats(*other))["over_ideal.p99"]
    ratio = np.log(np.array(mine) / other)
    low, high = stats.t.interval(0.95, 4, loc=ratio.mean(), scale=stats.sem(ratio))
    assert found["relative"] == pytest.approx(np.exp(ratio.mean()) - 1)
    assert found["relative_interval"] == pytest.approx([np.exp(low) - 1, np.exp(high) - 1])
    assert found["differs"] is True and found["difference"] == pytest.approx(4.0 - 2.2)


def test_equal_cells_and_few_seeds_are_no_difference():
    same = differences(repeats(1.0, 2.0, 3.0, 4.0, 5.0), repeats(1.0, 2.0, 3.0, 4.0, 5.0))["over_ideal.p99"]
    assert same["relative"] == 0.0 and same["differs"] is False
    assert differences(repeats(2.0, 4.0), repeats(1.0, 2.0))["over_ideal.p99"]["differs"] is None
    assert differences(repeats(2.0), repeats(1.0)) is None
    steady = differences(repeats(*[1.0005] * 5), repeats(*[1.0] * 5))["over_ideal.p99"]
    assert steady["relative"] == pytest.approx(0.0005) and steady["differs"] is False
    assert differences(repeats(2.0, 1.0), None) is None


def test_the_part_of_differences_called_so_between_equal_cells_is_the_stated_one():
    draw = np.random.default_rng(5)
    called = 0
    for _ in range(600):
        mine, other = np.exp(draw.normal(size=(2, 10)))
        called += bool(differences(repeats(*mine), repeats(*other))["over_ideal.p99"]["differs"])
    assert 0.03 < called / 600 < 0.07


def document(cells, families):
    """Return the parts of a document that sentences are made of; ``cells`` are values seed by seed."""
    first_row, first_column = next(iter(cells)), next(iter(next(iter(cells.values()))))

    def cell(row, column):
        mine = repeats(*cells[row][column])
        against = {
            name: None if place == (row, column) else differences(mine, repeats(*cells[place[0]][place[1]]))
            for name, place in (
                ("baseline", (first_row, first_column)), ("fabric", (first_row, column)), ("transport", (row, first_column))
            )
        }  # fmt: skip
        return {"figures": {"over_ideal": {"p99": float(np.mean(cells[row][column]))}}, "against": against}

    columns = cells[first_row]
    return {
        "figure": {"key": "over_ideal.p99", "label": "P99", "unit": ""},
        "seeds": len(columns[first_column]),
        "baseline": {"fabric": first_row, "transport": first_column},
        "fabrics": {row: {"family": families[row]} for row in cells},
        "transports": {column: {"left_open": []} for column in columns},
        "cells": {row: {column: cell(row, column) for column in columns} for row in cells},
    }


def test_what_is_worse_than_the_baseline_is_not_called_best():
    base = np.array([2.0, 2.1, 1.9, 2.0, 2.05])
    cells = {"old": {"plain": base, "late": base * 1.5}, "cube": {"plain": base * 0.7, "late": base * 1.1}}
    said = words(document(cells, {"old": "spine-leaf", "cube": "zcube"}))
    (transport,) = (line for line in said if line.startswith("Transport alone"))
    assert transport.startswith("Transport alone, none of which is lower, the nearest old with late: +50.0%")
    assert any(line.startswith("Both, none of which is lower, the nearest cube with late: +10.0%") for line in said)


def test_sentences_name_who_wins_and_where_zcube_does_not():
    base = np.array([2.0, 2.1, 1.9, 2.0, 2.05])
    cells = {
        "old": {"plain": base, "better": base * 0.5},
        "cube": {"plain": base * 0.7, "better": base * np.array([0.5, 0.55, 0.45, 0.52, 0.48])},
    }
    said = words(document(cells, {"old": "spine-leaf", "cube": "zcube"}))
    assert any(line.startswith("Transport alone, at best old with better: -50.0%") for line in said)
    assert any(line.startswith("Cables alone, at best cube with plain: -30.0%") for line in said)
    assert "cube against old: ahead with plain; inside the noise with better." in said
    few = words(
        document({row: {c: v[:3] for c, v in columns.items()} for row, columns in cells.items()}, dict(old="a", cube="b"))
    )
    assert any("5 are needed" in line for line in few) and not any("alone" in line for line in few)


def test_other_numbers_of_queue_pairs_are_told_by_column_and_by_row():
    said = {"roft": {"own": 3, "plain": 3}, "zcube": {"own": 2, "plain": 1}}
    cells = {
        row: {column: {"figures": {"senders_per_transfer": number}} for column, number in columns.items()}
        for row, columns in said.items()
    }
    assert list(_queue_pairs({"cells": cells})) == [
        "Queue pairs of a transfer are not the same in every column on zcube: 2 with own; 1 with plain.",
        "Queue pairs of a transfer are not the same in every row with own: 3 on roft; 2 on zcube.",
        "Queue pairs of a transfer are not the same in every row with plain: 3 on roft; 1 on zcube.",
    ]
