"""A run's clock against SimPy's own environment: the same things happen at the same times, in the same order."""

from __future__ import annotations

import math

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from zcube.serving.clock import Clock


def told(env, after, plan, until_s):
    """Run a plan of calls and processes, and return what happened when; every call plans the next one of its row."""
    heard = []

    def call(row, step):
        heard.append((env.now, row, step))
        if step < len(plan[row]):
            after(plan[row][step], call, row, step + 1)

    def process(row):
        for step, seconds in enumerate(plan[row]):
            yield env.timeout(seconds)
            heard.append((env.now, row, step))

    for row in range(len(plan)):
        if row % 2:
            env.process(process(row))
        else:
            after(0.0, call, row, 0)
    env.run(until=env.timeout(until_s))
    heard.append(env.now)
    env.run()
    return heard


# Few durations, so that much is due at the same time.
SECONDS = st.sampled_from([0.0, 0.1, 0.2, 0.30000000000000004])


@given(st.lists(st.lists(SECONDS, max_size=6), max_size=6), SECONDS)
def test_calls_and_events_come_as_events_of_simpy_do(plan, until_s):
    env = simpy.Environment()
    clock = Clock()

    def after(seconds, what, *taken):
        env.timeout(seconds).callbacks.append(lambda _: what(*taken))

    assert told(clock, clock.after, plan, until_s) == told(env, after, plan, until_s)


def test_a_call_comes_at_its_time_to_the_last_place():
    clock, heard = Clock(), []
    # Of no delay that begins there does the sum end there.
    start_s, end_s = math.ulp(1.0) / 2 + 0.5, 1.5 + math.ulp(1.0)
    clock.at(start_s, lambda: clock.at(end_s, lambda: heard.append(clock.now)))
    clock.run()
    assert heard == [end_s]


def test_conditions_and_failures_are_simpys():
    clock = Clock()
    late, early = clock.timeout(2.0), clock.timeout(1.0)
    clock.run(until=late | early)
    assert clock.now == 1.0 and clock.peek() == 2.0
    clock.run()
    assert clock.now == 2.0 and clock.peek() == math.inf
    assert clock.run(until=early) is None
    with pytest.raises(RuntimeError, match="has not happened"):
        clock.run(until=clock.event())
    clock.event().fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        clock.run()


@pytest.mark.parametrize("environment", [simpy.Environment, Clock])
@pytest.mark.parametrize("defused", [False, True])
def test_a_failure_that_is_waited_for_is_raised_though_another_has_defused_it(environment, defused):
    env = environment()
    failing = env.event()
    if defused:
        failing.callbacks.append(lambda event: setattr(event, "defused", True))
    failing.fail(ValueError("told"))
    with pytest.raises(ValueError, match="told"):
        env.run(until=failing)
