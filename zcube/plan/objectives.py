"""What decides between fabrics: each objective by name, which way is better, and how fine a difference is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective.

    Attributes
    ----------
    label, unit : str
        For readers.
    better : {"lower", "higher"}
        Which way is better.
    tolerance : float
        Values no farther apart than this are equal; 0: told apart to the last digit. Figures drawn at random have one, which
        another seed moves.
    definition : str
        In words.
    """

    label: str
    unit: str
    better: Literal["lower", "higher"]
    tolerance: float
    definition: str

    def cost(self, value: float) -> float:
        """Return a value so that lower is better."""
        return value if self.better == "lower" else -value

    def worse(self, value: float, other: float) -> bool:
        """Return whether a value is worse than another, beyond the tolerance."""
        return self.cost(value) > self.cost(other) + self.tolerance


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "capital_usd": Objective("capital", "USD", "lower", 0.0, "switches and optics, of what the price book covers"),
        "power_w": Objective("power", "W", "lower", 0.0, "most that switches and modules draw"),
        "switches": Objective("switches", "", "lower", 0.0, "switches bought"),
        "switch_ports": Objective("switch ports", "", "lower", 0.0, "native ports of the switches bought"),
        "cables": Objective("cables", "", "lower", 0.0, "cable assemblies, splitters counted once"),
        "mean_path_switches": Objective("mean path", "switches", "lower", 0.01, "mean over pairs of GPUs of different servers"),
        "bisection": Objective("bisection", "of NIC rate", "higher", 0.01, "what half of the GPUs can send to the other half"),
        "random_share": Objective(
            "random permutation", "of NIC rate", "higher", 0.02, "mean max-min share of a random permutation of the GPUs"
        ),
        "worst_share": Objective(
            "worst permutation", "of NIC rate", "higher", 0.02, "mean share of the worst of the permutations tried"
        ),
        "kv_funnel": Objective(
            "KV funnel",
            "x NIC",
            "lower",
            0.1,
            "KV sent from one NIC of every prefill server to one of every decode server: load of the fullest link between "
            "switches over that of the fullest NIC; up to 1 only the NICs limit",
        ),
        "share_after_failure": Objective(
            "rate after a failure",
            "of NIC rate",
            "higher",
            0.01,
            "mean rate of transfers between servers after one switch with GPUs has failed, over what NICs alone let through",
        ),
        "loss_after_failure": Objective(
            "loss after a failure",
            "",
            "lower",
            0.01,
            "mean part of the fabric's own rate of transfers between servers that is lost after a switch with GPUs has failed",
        ),
        "no_switch_down": Objective("no switch down", "", "higher", 0.001, "probability that every switch is up"),
    }
)

DEFAULT_OBJECTIVES = ("capital_usd", "random_share", "kv_funnel", "share_after_failure")


def shown(value: float) -> str:
    """Return a value with three significant digits, or as a whole number with thousands parted."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
