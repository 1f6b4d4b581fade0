"""Long transfers without incast: packets take what the fluid says, within 3 % (2.0 % of which are headers)."""

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_model import flow_model, run_flows
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

SIZE_BYTES = float(1 << 30)
CELLS = {"cell_bytes": 32 << 10}


def shift(fabric):
    return (np.arange(fabric.gpus) + fabric.gpus // 2) % fabric.gpus


def permutation(fabric, seed=0):
    """Return another server's GPU for each, every GPU once."""
    draw, own = stream(seed, "permutation"), np.arange(fabric.gpus)
    target = draw.permutation(fabric.gpus)
    while (inside := np.flatnonzero(fabric.server_of(target) == fabric.server_of(own))).size:
        for place in inside:
            other = draw.integers(0, fabric.gpus)
            target[place], target[other] = target[other], target[place]
    return target


def both(name, target_of, **settings):
    fabric = load_fabric(name)
    routing = routing_for(fabric)
    flows = FlowTable(np.arange(fabric.gpus), target_of(fabric), np.full(fabric.gpus, SIZE_BYTES), np.zeros(fabric.gpus))
    fluid = run_flows(flow_model(fabric, routing), flows).finish_s
    packets = run_flows(packet_model(fabric, routing, PacketSettings(**CELLS, **settings)), flows).finish_s
    return packets, fluid


@pytest.mark.parametrize("control", ["none", "dcqcn"])
@pytest.mark.parametrize("name", ["zcube-n16", "roft-256"])
def test_a_shift_takes_the_fluids_time(name, control):
    packets, fluid = both(name, shift, congestion_control=control)
    assert packets.mean() == pytest.approx(fluid.mean(), rel=0.03)
    assert (packets > fluid).all()


def test_a_permutation_whose_paths_share_switch_links_takes_the_fluids_time():
    packets, fluid = both("zcube-n16", permutation, congestion_control="none")
    assert len(np.unique(fluid.round(6))) > 3
    assert packets.mean() == pytest.approx(fluid.mean(), rel=0.03)
    assert np.abs(packets / fluid - 1).max() < 0.05


def test_headers_are_the_two_percent():
    packets, fluid = both("zcube-n16", shift, congestion_control="none", header_bytes=0)
    assert packets.mean() == pytest.approx(fluid.mean(), rel=0.003)
