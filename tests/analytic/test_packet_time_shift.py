"""Nothing in the packet model depends on when traffic starts."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import PS, control_records, flows, run, star


@pytest.mark.parametrize("start_s", [1e-3, 1.0, 3600.0])
def test_dcqcn_meets_late_traffic_as_it_meets_early_traffic(start_s):
    senders, found = 8, []
    for at_s in (0.0, start_s):
        model = star(senders + 1).model(congestion_control="dcqcn")
        finish = run(model, flows(*((sender, senders, 4 << 20, at_s) for sender in range(senders))))
        found.append((finish - round(at_s * PS), model.counts))
    assert found[0][1].rate_cuts > 0
    assert np.all(np.abs(found[0][0] - found[1][0]) <= 1)
    assert found[0][1] == found[1][1]


def test_alpha_is_one_at_the_first_notification_and_decays_from_there():
    model = star(3).model(
        congestion_control="dcqcn",
        marking=[{"up_to_gbps": 400, "kmin_bytes": 0, "kmax_bytes": 1, "pmax": 1.0}],
        dcqcn={"gain": 0.25, "notification_interval_s": 1.0},
    )
    run(model, flows((0, 2, 64 << 20), (1, 2, 64 << 20, 1e-3)))
    assert model.delays().rate_cuts.tolist() == [1, 1]
    assert np.all(control_records(model)["alpha"][:2] == 1.0)


def test_starts_beyond_the_clock_are_refused():
    model = star(3).model()
    with pytest.raises(ValueError, match="25 days"):
        model.send(flows((0, 1, 100, 5e6)))


def test_a_transfer_of_more_packets_than_can_be_numbered_is_refused():
    with pytest.raises(ValueError, match="packets"):
        star(3).model().send(flows((0, 1, 9e12)))
