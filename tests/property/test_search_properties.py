"""Genomes, graphs under other names, and exchanges of cables, whatever is drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.catalog import load_fabric
from zcube.fabric.ports import check_port_budget
from zcube.fabric.recabling import recabled
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.rewiring.loads import WiringLoads, blocks
from zcube.plan.rewiring.traffic import Funnel
from zcube.plan.search.feasibility import lacking
from zcube.plan.search.isomorphism import FabricGraph
from zcube.plan.search.space import Space
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import path_lengths

seeds = st.integers(0, 2**32 - 1)


@cache
def space():
    return Space(load_demand(None, {"gpus": "64", "switch": "12.8T,25.6T"}, tuple(generators())))


@settings(max_examples=60)
@given(seeds)
def test_every_genome_is_well_formed_and_silent_genes_are_silent(seed):
    draw = np.random.default_rng(seed)
    genome = draw.integers(0, space().choices)
    spec = space().spec(genome)
    assert space().spec(space().silenced(genome)) == spec
    assert lacking(spec, space().site) >= 0
    mutated = space().mutated(genome, draw)
    assert ((mutated >= 0) & (mutated < space().choices)).all()


@settings(max_examples=10)
@given(seeds)
def test_what_lacks_nothing_can_be_built_and_joins_all_gpus(seed):
    draw = np.random.default_rng(seed)
    genomes = space().drawn(400, draw)
    least = [lacking(space().spec(genome), space().site) for genome in genomes]
    # Few of all genomes come to a fabric: a short climb from the best one finds some.
    genome, best = genomes[int(np.argmin(least))], min(least)
    for _ in range(400):
        if best == 0:
            break
        other = space().mutated(genome, draw)
        if (lack := lacking(space().spec(other), space().site)) <= best:
            genome, best = other, lack
    if best == 0:
        fabric = space().spec(genome).build("found")
        check_port_budget(fabric, "found")
        assert path_lengths(fabric).unreachable_pairs == 0
        assert fabric.nic_gbps == pytest.approx(space().site.nic_gbps)


def renamed(fabric, seed):
    """Return a fabric with servers and switches of equal model under other names."""
    draw, size, node = np.random.default_rng(seed), fabric.gpus_per_server, np.arange(fabric.nodes)
    server = draw.permutation(fabric.servers)
    node[: fabric.gpus] = (server[:, None] * size + np.arange(size)).ravel()
    switches = np.arange(fabric.gpus, fabric.gpus + fabric.switches)
    node[switches] = draw.permutation(switches)
    node[fabric.gpus + fabric.switches :] = fabric.gpus + fabric.switches + server
    cables = fabric.cables
    order = draw.permutation(len(cables))
    columns = {name: getattr(cables, name)[order] for name in ("a_port", "b_port", "gbps", "latency_s", "kind", "medium")}
    return replace(fabric, cables=replace(cables, a=node[cables.a][order], b=node[cables.b][order], **columns))


@settings(max_examples=12)
@given(st.sampled_from(["zcube-n16", "zcube-256", "roft-256", "slim-fly-1024"]), seeds)
def test_other_names_make_no_other_graph(name, seed):
    fabric = load_fabric(name)
    one, other = FabricGraph.of(fabric), FabricGraph.of(renamed(fabric, seed))
    assert one.hash() == other.hash()
    assert one.is_same(other)


@settings(max_examples=12)
@given(seeds)
def test_an_exchanged_pair_of_cables_makes_another_graph(seed):
    fabric, draw = load_fabric("zcube-n16"), np.random.default_rng(seed)
    cabled_as = np.arange(fabric.gpus)
    # Local GPUs 0 and 1 of one server: every other server has its local GPU 0 on the rails of all others' 0.
    server = int(draw.integers(fabric.servers)) * fabric.gpus_per_server
    cabled_as[[server, server + 1]] = server + 1, server
    one, other = FabricGraph.of(fabric), FabricGraph.of(recabled(fabric, cabled_as))
    assert one.hash() != other.hash() or not one.is_same(other)


def test_rails_that_are_skewed_are_another_graph():
    graphs = [FabricGraph.of(load_fabric(name)) for name in ("zcube-n32", "zcube-n32-skewed")]
    assert graphs[0].hash() != graphs[1].hash() or not graphs[0].is_same(graphs[1])


@settings(max_examples=15)
@given(st.sampled_from(["zcube-n16", "roft-256"]), seeds)
def test_loads_after_an_exchange_are_those_of_the_whole_wiring(name, seed):
    fabric, draw = load_fabric(name), np.random.default_rng(seed)
    loads = WiringLoads(fabric, routing_for, Funnel().checked(fabric, "test").pairs(fabric))
    block = blocks(fabric)
    before = np.empty(fabric.gpus, dtype=np.int64)
    before[np.argsort(block, kind="stable")] = np.lexsort((draw.random(fabric.gpus), block))
    gpu = int(draw.choice(loads.pairs.source))
    other = int(draw.choice(np.flatnonzero(block == block[gpu])))
    after = before.copy()
    after[[gpu, other]] = before[[other, gpu]]
    np.testing.assert_allclose(loads.after(loads.of(before), before, after, (gpu, other)), loads.of(after), atol=1e-12)
    wired = recabled(fabric, after)
    ends = [np.bincount(one.cables.b, minlength=one.nodes) for one in (fabric, wired)]
    np.testing.assert_array_equal(*ends)
    check_port_budget(wired, "wired")
