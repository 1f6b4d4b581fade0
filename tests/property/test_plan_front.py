"""The front: nobody on it is beaten by another on it, everybody else is beaten, ties are equal."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from zcube.plan.front import beats, front_of
from zcube.plan.objectives import OBJECTIVES


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Valued:
    candidate: Named
    values: dict

    def value(self, objective):
        return self.values[objective]


NAMES = ("capital_usd", "random_share", "loss_after_failure")
EXACT = ("capital_usd", "switches")


def fabrics(objectives, values):
    rows = st.lists(st.tuples(*(values for _ in objectives)), min_size=1, max_size=12)
    return rows.map(lambda rows: [Valued(Named(f"f{n}"), dict(zip(objectives, row))) for n, row in enumerate(rows)])


def row(one, objectives):
    return [one.value(name) for name in objectives]


@given(fabrics(NAMES, st.integers(0, 100).map(lambda n: n / 100)))
def test_front_is_unbeaten_and_the_rest_is_beaten(measured):
    front = front_of(measured, NAMES)
    criteria = [OBJECTIVES[name] for name in NAMES]
    by_name = {one.candidate.name: row(one, NAMES) for one in measured}
    assert front.names and set(front.names) | set(front.beaten_by) == set(by_name)
    for name in front.names:
        assert not any(beats(criteria, by_name[other], by_name[name]) for other in front.names)
    for name, other in front.beaten_by.items():
        assert beats(criteria, by_name[other], by_name[name])
    for group in front.ties:
        for name in group[1:]:
            pairs = list(zip(criteria, by_name[group[0]], by_name[name]))
            assert not any(c.worse(a, b) or c.worse(b, a) for c, a, b in pairs)
            assert all(abs(a - b) <= c.tolerance + 1e-9 for c, a, b in pairs)


@given(fabrics(EXACT, st.integers(0, 5)))
def test_exact_objectives_give_the_textbook_front(measured):
    front = front_of(measured, EXACT)
    rows = {one.candidate.name: row(one, EXACT) for one in measured}
    dominated = {
        name for name, mine in rows.items() if any(o != mine and all(a <= b for a, b in zip(o, mine)) for o in rows.values())
    }
    assert set(front.names) == set(rows) - dominated


@given(fabrics(EXACT, st.one_of(st.none(), st.integers(0, 3))))
def test_what_is_not_known_is_not_compared(measured):
    front = front_of(measured, EXACT)
    for one in measured:
        lost = [name for name in front.objectives if one.value(name) is None]
        assert (one.candidate.name in front.not_compared) == bool(lost)
