"""Time of DeepEP's exchanges over nodes, alone on their links, from figures calibrated to measured ones.

::

    t = base + [nodes > 1] * cross + log2(nodes) * doubling + max(rail bytes / rail rate, NVLink bytes / NVLink rate)

Bytes are what leaves one GPU under even routing; the rail rate is ``rail_efficiency`` of the NIC's line rate. Normal mode's
notification of sizes before a dispatch is left out. Who sends what to whom: :mod:`zcube.llm.schedules`.
"""

from __future__ import annotations

from math import log2
from typing import NamedTuple

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Exchange, Exchanges
from zcube.llm.expert_traffic import (
    MAX_NODES,
    hit_probability,
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.node_links import resident_share
from zcube.node import GPUS_PER_NODE


class ExchangeTimes(NamedTuple):
    """Seconds of one layer's two exchanges."""

    dispatch_s: float
    combine_s: float


class ExchangeParts(NamedTuple):
    """Seconds of exchanges one after the other: what they take whatever they send, and what their bytes take alone."""

    latency_s: float
    data_s: float

    def times(self, count: float) -> ExchangeParts:
        """Return the parts of so many alike."""
        return ExchangeParts(count * self.latency_s, count * self.data_s)

    def then(self, other: ExchangeParts) -> ExchangeParts:
        """Return the parts of both."""
        return ExchangeParts(self.latency_s + other.latency_s, self.data_s + other.data_s)


#: Of exchanges that take what the network gives.
NO_PARTS = ExchangeParts(0.0, 0.0)


def low_latency_s(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int = GPUS_PER_NODE
) -> ExchangeTimes:
    """Return the times of DeepEP's low-latency mode: one message a token and expert, straight to its owner.

    Parameters
    ----------
    card : ModelCard
        The model.
    exchanges : Exchanges
        The device's figures.
    nodes : int
        Nodes of the expert-parallel group.
    tokens : float
        Tokens of each GPU.
    nic_gbps : float
        Line rate of a GPU's NIC, Gb/s.
    gpus_per_node : int
        GPUs of each, which the scale-up link joins.

    Raises
    ------
    InputError
        If the nodes are out of range or the rate is not positive.
    """
    return ExchangeTimes(*(sum(parts) for parts in _low_latency(card, exchanges, nodes, tokens, nic_gbps, gpus_per_node)))


def normal_s(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int = GPUS_PER_NODE
) -> ExchangeTimes:
    """Return the times of DeepEP's normal mode: once a token and node over the rail, then over NVLink.

    As :func:`low_latency_s`; calibrated for two nodes and more.
    """
    return ExchangeTimes(*(sum(parts) for parts in _normal(card, exchanges, nodes, tokens, nic_gbps, gpus_per_node)))


def low_latency_parts(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int = GPUS_PER_NODE
) -> ExchangeParts:
    """Return what makes up a layer's two exchanges in low-latency mode; parameters as :func:`low_latency_s`."""
    dispatch, combine = _low_latency(card, exchanges, nodes, tokens, nic_gbps, gpus_per_node)
    return dispatch.then(combine)


def normal_parts(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int = GPUS_PER_NODE
) -> ExchangeParts:
    """Return what makes up a layer's two exchanges in normal mode; parameters as :func:`low_latency_s`."""
    dispatch, combine = _normal(card, exchanges, nodes, tokens, nic_gbps, gpus_per_node)
    return dispatch.then(combine)


def _low_latency(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int
) -> tuple[ExchangeParts, ExchangeParts]:
    _check(nodes, nic_gbps)
    messages = tokens * card.experts_per_token
    away, inside = messages * (nodes - 1) / nodes, messages / nodes * (gpus_per_node - 1) / gpus_per_node
    dispatch, combine = low_latency_dispatch_bytes(card.hidden), low_latency_combine_bytes(card.hidden)
    return (
        exchange_parts(exchanges.low_latency_dispatch, nodes, away * dispatch, inside * dispatch, nic_gbps),
        exchange_parts(exchanges.low_latency_combine, nodes, away * combine, inside * combine, nic_gbps),
    )


def _normal(
    card: ModelCard, exchanges: Exchanges, nodes: int, tokens: float, nic_gbps: float, gpus_per_node: int
) -> tuple[ExchangeParts, ExchangeParts]:
    _check(nodes, nic_gbps)
    away = tokens * hit_probability(card, nodes) * (nodes - 1)
    ranks = gpus_per_node * nodes
    inside = tokens * resident_share(card, ranks) * ranks * (gpus_per_node - 1) / gpus_per_node
    of_token = card.hidden, card.experts_per_token
    dispatch, combine = normal_dispatch_bytes(*of_token), normal_combine_bytes(*of_token)
    return (
        exchange_parts(exchanges.dispatch, nodes, away * dispatch, inside * dispatch, nic_gbps),
        exchange_parts(exchanges.combine, nodes, away * combine, inside * combine, nic_gbps),
    )


def exchange_s(figures: Exchange, nodes: int, rail_bytes: float, nvlink_bytes: float, nic_gbps: float) -> float:
    """Return the time of one exchange from the bytes that leave a GPU; parameters as :func:`low_latency_s`."""
    return sum(exchange_parts(figures, nodes, rail_bytes, nvlink_bytes, nic_gbps))


def exchange_parts(figures: Exchange, nodes: int, rail_bytes: float, nvlink_bytes: float, nic_gbps: float) -> ExchangeParts:
    """Return what makes up one exchange; parameters as :func:`exchange_s`."""
    latency_us = figures.base_us + (nodes > 1) * figures.cross_us + log2(nodes) * figures.doubling_us
    rail_s = rail_bytes / (figures.rail_efficiency * nic_gbps / 8 * 1e9)
    return ExchangeParts(latency_us * 1e-6, max(rail_s, nvlink_bytes / (figures.nvlink_gbytes_per_s * 1e9)))


def _check(nodes: int, nic_gbps: float) -> None:
    faults = []
    if not 1 <= nodes <= MAX_NODES:
        faults.append(Fault("expert-parallel nodes", str(nodes), f"1 .. {MAX_NODES}"))
    if not nic_gbps > 0:
        faults.append(Fault("nic_gbps", str(nic_gbps), "a positive rate"))
    if faults:
        raise InputError(faults)
