"""Whatever a scenario declares that a trace can say, its recorded run and the replay of it end every transfer alike."""

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from test_serving_invariants import FABRICS, SOME, scenarios

from zcube.comparison import compare
from zcube.fabric.catalog import load_fabric
from zcube.replays.operations import replay_trace
from zcube.scenario import Scenario
from zcube.trace.comm_trace import Kind


@hypothesis_settings(SOME, max_examples=12)
@given(scenarios(recorded=True))
def test_a_recorded_run_comes_again(scenario: Scenario):
    comparison = compare(scenario.model_copy(update={"fabrics": FABRICS[1:]}), record=FABRICS[1])
    run, trace, network = comparison.results[FABRICS[1]].run, comparison.recorded, scenario.network
    assert trace is not None
    trace.check()
    assert len(trace.rows(Kind.TRANSFER)) == len(run.flows)
    if not len(run.flows):
        return
    done = replay_trace(network.on(load_fabric(FABRICS[1]), scenario.seed), trace)
    finish_s = done.times.finish_s[trace.rows(Kind.TRANSFER)]
    ended = np.isfinite(run.completions.finish_s)
    np.testing.assert_allclose(finish_s[ended], run.completions.finish_s[ended], rtol=1e-9)
