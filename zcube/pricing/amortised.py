"""What a fabric costs by the hour and by the million tokens: its bill spread over years, and its power.

    USD/h = bill / (years x 8,760 h) + watts / 1000 x PUE x USD/kWh
    USD per million tokens = USD/h / (tokens/s x 3,600 s x utilisation) x 1e6

Three scopes, each in the next: ``fabric``, switches and the modules of both sides; ``with_nics``, NICs too; ``with_gpus``,
GPUs too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from zcube.inputs import Declared
from zcube.outputs import INFINITE
from zcube.pricing.bill import BillLine, BillOfMaterials, sum_known

HOURS_PER_YEAR = 365 * 24
MILLION = 1e6


class CostTerms(Declared):
    """How a bill becomes a price per token; where a figure is missing, so is every sum with it."""

    years: float = Field(default=5.0, ge=0.01, le=100, description="over which the bill is spread evenly, without interest")
    utilisation: float = Field(
        default=1.0,
        ge=1e-6,
        le=1,
        description="part of that time in which tokens come as in the window; power: in all",
    )
    usd_per_kwh: float = Field(
        default=0.08, ge=0, le=100, description="price of power; the US industrial average of 2023 (EIA, 8.06 cents)"
    )
    pue: float = Field(default=1.0, ge=1, le=10, description="power of the building over that of its machines; 1: no cooling")
    power_book: str = Field(default="nvidia-400g", min_length=1, max_length=4096, description="watts by rate, as price_book")
    gpu_usd: float | None = Field(default=None, ge=0, le=1e9, description="one GPU with its share of the server, NIC left out")
    gpu_watts: float | None = Field(default=None, ge=0, le=1e6, description="the same, W")


@dataclass(frozen=True, slots=True)
class Scope:
    """Part of a cluster, bought and powered.

    Attributes
    ----------
    hardware_usd, watts : float or None
        Price and power of all of it; None where a figure is missing.
    missing : tuple of str
        Figures that no book and no key gives.
    """

    hardware_usd: float | None
    watts: float | None
    missing: tuple[str, ...]

    def hardware_usd_per_hour(self, terms: CostTerms) -> float | None:
        """Return the bill spread over its years."""
        return None if self.hardware_usd is None else self.hardware_usd / (terms.years * HOURS_PER_YEAR)

    def power_usd_per_hour(self, terms: CostTerms) -> float | None:
        """Return the price of the power drawn."""
        return None if self.watts is None else self.watts / 1000 * terms.pue * terms.usd_per_kwh


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """What a fabric costs by the hour.

    Attributes
    ----------
    terms : CostTerms
        As asked for.
    scopes : dict of str to Scope
        ``fabric``, ``with_nics`` and ``with_gpus``.
    bill_usd : float or None
        Switches and switch-side modules, the bill's total.
    """

    terms: CostTerms
    scopes: dict[str, Scope]
    bill_usd: float | None

    def document(self, output_tokens_per_s: float | None, good_tokens_per_s: float | None) -> dict[str, Any]:
        """Return it per million output tokens and per million that met every bound, JSON-ready.

        A price of which a figure or the rate is missing is null, one of no tokens at all ``infinity``.
        """
        document: dict[str, Any] = {}
        for name, scope in self.scopes.items():
            hardware, power = scope.hardware_usd_per_hour(self.terms), scope.power_usd_per_hour(self.terms)
            both = sum_known((hardware, power))
            document[name] = {
                "hardware_usd": scope.hardware_usd,
                "watts": scope.watts,
                "hardware_usd_per_hour": hardware,
                "power_usd_per_hour": power,
                "usd_per_hour": both,
                "hardware_usd_per_million_output_tokens": self._per_million(hardware, output_tokens_per_s),
                "usd_per_million_output_tokens": self._per_million(both, output_tokens_per_s),
                "usd_per_million_good_tokens": self._per_million(both, good_tokens_per_s),
                "missing": list(scope.missing),
            }
        bill_usd = None if not output_tokens_per_s or self.bill_usd is None else self.bill_usd / output_tokens_per_s
        return {**document, "bill_usd_per_output_token_per_s": bill_usd}

    def _per_million(self, usd_per_hour: float | None, tokens_per_s: float | None) -> float | str | None:
        if usd_per_hour is None or tokens_per_s is None:
            return None
        if tokens_per_s == 0:
            return INFINITE
        return usd_per_hour / (tokens_per_s * 3600 * self.terms.utilisation) * MILLION


def hourly_cost(bill: BillOfMaterials, terms: CostTerms, gpus: int) -> HourlyCost:
    """Spread the bill of a fabric with so many GPUs over its years, and price its power."""
    fabric = (*bill.switches, *bill.switch_modules, *bill.nic_modules)
    parts = {"fabric": fabric, "with_nics": (*fabric, *bill.nics)}
    parts["with_gpus"] = (*parts["with_nics"], BillLine("GPU", gpus, terms.gpu_usd, terms.gpu_watts))
    scopes = {name: _scope(lines) for name, lines in parts.items()}
    return HourlyCost(terms, scopes, bill.document()["total_usd"])


def _scope(lines: tuple[BillLine, ...]) -> Scope:
    missing = [f"price of {line.item}" for line in lines if line.unit_usd is None]
    missing += [f"power of {line.item}" for line in lines if line.unit_watts is None]
    hardware_usd, watts = sum_known(line.usd for line in lines), sum_known(line.watts for line in lines)
    return Scope(hardware_usd, watts, tuple(missing))


def cost_rule(terms: CostTerms, price_book: str) -> str:
    """Return what the prices per token hold and how they come about."""
    return (
        f"USD per million output tokens: the bill (price book {price_book}) spread evenly over {terms.years:g} years of "
        f"8,760 h, and power (power book {terms.power_book}, {terms.usd_per_kwh:g} USD/kWh, PUE {terms.pue:g}), over the "
        f"tokens that come in {100 * terms.utilisation:.6g} % of that time at the window's rate. Fabric: switches and modules "
        "of both sides, no more. With NICs: NICs too. With GPUs: every GPU of the fabric and its share of the server too "
        "(cost.gpu_usd, cost.gpu_watts). Good tokens: those of requests that met every bound of [slo]. No interest, space, "
        "staff, cables or repair."
    )
