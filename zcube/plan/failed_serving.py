"""What single failures do to a serving scenario: the same requests on the fabric whole and with one thing failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.comparison import compare
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, changed

#: What a scenario tells of each run, by the keys under which it stands in a comparison's document.
FIGURES: Mapping[str, tuple[str, str]] = {
    "ttft_p50_s": ("ttft_s", "p50"),
    "ttft_p99_s": ("ttft_s", "p99"),
    "kv_transfer_p99_s": ("kv_transfer_s", "p99"),
    "output_tokens_per_s": ("throughput", "output_tokens_per_s"),
}


@dataclass(frozen=True)
class FailedServing:
    """A scenario on a fabric with nothing failed and with single failures.

    Attributes
    ----------
    whole : mapping
        Figures with nothing failed, by the keys of :data:`FIGURES`; ``failure`` says why a run stopped.
    failed : mapping of mapping
        Likewise by what failed.
    role : mapping of str
        Why each was chosen: ``worst`` or ``median`` of the failures simulated.
    """

    whole: Mapping[str, Any]
    failed: Mapping[str, Mapping[str, Any]]
    role: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the figures and their changes as fractions of those of the whole fabric, JSON-ready."""
        return {
            "whole": dict(self.whole),
            "failed": [
                {
                    "failure_of": name,
                    "chosen_as": self.role[name],
                    **figures,
                    "change": changes(figures, self.whole),
                }
                for name, figures in self.failed.items()
            ],
        }


def served_with_failures(
    reference: str, chosen: Mapping[str, str], scenario: Scenario, progress: Progress = silent
) -> FailedServing:
    """Serve a scenario's requests on a fabric, whole and with each of some failures; a run each.

    Parameters
    ----------
    reference : str
        Bundled topology or topology file, with nothing failed.
    chosen : mapping of str
        Failures as ``--fail`` takes them, and why each was chosen.
    scenario : Scenario
        The experiment; its own fabrics are left out.
    progress : Progress
        Told what is under way.

    Raises
    ------
    InputError
        If the scenario does not fit the fabric.
    """
    fabrics = [reference, *(f"{reference}{FAILURES_AFTER}{failure}" for failure in chosen)]
    declared = changed(scenario, {"fabrics": fabrics, "baseline": None})
    results = compare(declared, progress, load_over_time=False).document()["fabrics"]
    whole, *failed = (run_figures(results[declared.labels[fabric]]) for fabric in fabrics)
    return FailedServing(whole, dict(zip(chosen, failed, strict=True)), dict(chosen))


def run_figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one fabric of a comparison's document, and why its run stopped."""
    return {**{key: result[table][name] for key, (table, name) in FIGURES.items()}, "failure": result["failure"]}


def worst_and_median(slower: Mapping[str, float]) -> dict[str, str]:
    """Return the names with the largest and the median value, and which is which; of an even number the upper of the two."""
    ranked: Sequence[str] = sorted(slower, key=lambda name: (slower[name], name))
    if not ranked:
        return {}
    found = {ranked[-1]: "worst"}
    found.setdefault(ranked[len(ranked) // 2], "median")
    return found


def changes(figures: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, float | None]:
    """Return by what part each figure of a run is more than on the whole fabric."""
    return {key: _change(figures[key], whole[key]) for key in FIGURES}


def _change(value: Any, whole: Any) -> float | None:
    known = isinstance(value, int | float) and isinstance(whole, int | float) and whole
    return value / whole - 1.0 if known else None
