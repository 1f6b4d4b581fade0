"""Counts of the ATOP/ZCube paper's cost table for ZCube, and its closed forms."""

from __future__ import annotations

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.counts import fabric_counts
from zcube.fabric.families import families


@pytest.mark.parametrize(
    ("name", "gpus", "switches", "ports", "copper", "fibre", "modules"),
    [
        ("zcube-n32", 1_024, 64, 64, 1_024, 2_048, 4_096),
        ("zcube-pods-4096", 4_096, 640, 48, 4_096, 12_288, 24_576),
        ("zcube-n64", 4_096, 128, 128, 4_096, 8_192, 16_384),
        ("zcube-n128", 16_384, 256, 256, 16_384, 32_768, 65_536),
    ],
)
def test_row_of_the_cost_table(name, gpus, switches, ports, copper, fibre, modules):
    fabric = load_fabric(name)
    counts = fabric_counts(fabric)
    assert (counts["gpus"], counts["switches"], counts["nic_ports_per_gpu"]) == (gpus, switches, 2)
    assert (counts["copper_links"], counts["fibre_links"], counts["modules"]) == (copper, fibre, modules)
    assert all(group.model.split_ports(200) == ports for group in fabric.groups)


@pytest.mark.parametrize("n", [4, 8, 16, 40])
def test_closed_form_of_two_levels(n):
    spec = families()["zcube"](gpus=n * n, gpus_per_server=4, switch={"model": "x", "ports": 2 * n, "port_gbps": 200})
    counts = fabric_counts(spec.build("closed"))
    assert (counts["switches"], counts["copper_links"], counts["fibre_links"]) == (2 * n, n * n, 2 * n * n)


@pytest.mark.parametrize("n", [4, 6, 12])
def test_closed_form_of_pods(n):
    spec = families()["zcube-pods"](gpus=n**3, gpus_per_server=n, n=n, switch={"model": "x", "ports": 3 * n, "port_gbps": 200})
    counts = fabric_counts(spec.build("closed"))
    assert (counts["switches"], counts["copper_links"], counts["fibre_links"]) == (2 * n * n + n * n // 2, n**3, 3 * n**3)


@pytest.mark.parametrize(("gpus", "two_tier", "zcube"), [(1024, 24, 16), (4096, 96, 64), (8192, 192, 128)])
def test_switches_of_51_2t_per_size(gpus, two_tier, zcube):
    switch = {"model": "51.2T", "ports": 128, "port_gbps": 400}
    assert families()["spine-leaf"](gpus=gpus, switch=switch).build("roft").switches == two_tier
    assert families()["zcube"](gpus=gpus, gpus_per_switch=128, switch=switch).build("zcube").switches == zcube
