"""The adversarial report: where a fabric under a routing policy loses, pattern by pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zcube.errors import Fault, InputError
from zcube.fabric.families.zcube import skewed_twin
from zcube.network.adversary.funnels import FUNNELS, FunnelLoad, funnel_load
from zcube.network.adversary.patterns import PATTERNS, definition, segment_gpus
from zcube.network.adversary.shares import PatternShare, pattern_shares
from zcube.network.adversary.worst import FoundPermutation, fullest_link_permutation, worst_permutation
from zcube.network.carrier import Carrier
from zcube.progress import Progress, silent

#: Called with the steps done and the steps there are.


@dataclass(frozen=True, eq=False)
class AdversarialReport:
    """What a fabric does under traffic meant to hurt it.

    Attributes
    ----------
    carrier : Carrier
        What was attacked; its seed is that of the random patterns and of the search too.
    segment_gpus : int
        Consecutive GPUs taken as a segment; see :mod:`zcube.network.adversary.patterns`.
    patterns : mapping
        Shares of line rate by the name of the pattern.
    fullest_link : FoundPermutation or None
        The permutation that puts most on one link; None where no pair crosses a link between switches.
    worst : FoundPermutation or None
        The permutation with the least mean share that the search found.
    funnels : mapping
        Loads by the name of the funnel.
    skewed_funnels : mapping or None
        The same with skewed rails, where the fabric is a plain two-port ZCube.
    """

    carrier: Carrier
    segment_gpus: int
    patterns: Mapping[str, PatternShare]
    fullest_link: FoundPermutation | None
    worst: FoundPermutation | None
    funnels: Mapping[str, FunnelLoad]
    skewed_funnels: Mapping[str, FunnelLoad] | None

    def document(self, with_targets: bool = False) -> dict[str, Any]:
        """Return the report as JSON-ready data, the searched permutations themselves on request."""
        skewed = self.skewed_funnels
        return {
            "fabric": self.carrier.fabric.name,
            **self.carrier.document(),
            "segment_gpus": self.segment_gpus,
            "patterns": {name: {"definition": definition(name), **share.document()} for name, share in self.patterns.items()},
            "fullest_link_permutation": self.fullest_link.document(with_targets) if self.fullest_link else None,
            "worst_permutation": self.worst.document(with_targets) if self.worst else None,
            "funnels": {
                name: {
                    "definition": (FUNNELS[name].__doc__ or "").strip(),
                    **load.document(),
                    "skewed_rails": skewed[name].document() if skewed else None,
                }
                for name, load in self.funnels.items()
            },
        }


def adversarial_report(carrier: Carrier, segment: int | None = None, progress: Progress = silent) -> AdversarialReport:
    """Try a fabric and its routing with every pattern, the searched permutations and every funnel.

    Parameters
    ----------
    carrier : Carrier
        What is attacked, of the flow fidelity; its seed is that of random patterns and of the search too.
    segment : int, optional
        Consecutive GPUs taken as a segment; give the same to fabrics that are compared. Default: what a first-tier switch of
        this fabric has.
    progress : Progress
        Told the steps done and the steps there are.

    Raises
    ------
    InputError
        If the fabric is one server, the segment is not 1 to its GPUs, the fidelity is another, or a permutation would not
        fit in memory.
    """
    fabric, routing, seed, faults = carrier.fabric, carrier.routing, carrier.seed, []
    if carrier.network.fidelity != "flow":
        faults.append(Fault("fidelity", carrier.network.fidelity, "flow: a share of line rate is one of a fluid"))
    if fabric.servers < 2:
        faults.append(Fault("fabric", f"{fabric.name} with 1 server", "at least 2 servers, between which traffic flows"))
    if segment is not None and not 1 <= segment <= fabric.gpus:
        faults.append(Fault("segment", str(segment), f"1 to {fabric.gpus} GPUs"))
    if faults:
        raise InputError(faults)
    carrier.check_room(fabric.gpus, f"a permutation of {fabric.gpus} GPUs")
    length = segment or segment_gpus(fabric)
    twin = _skewed(carrier)
    total = len(PATTERNS) + 2 + len(FUNNELS) * (2 if twin else 1)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(f"attacking {fabric.name}", done, total, "steps")

    patterns = {}
    for name, pattern in PATTERNS.items():
        patterns[name] = pattern_shares(fabric, routing, *pattern(fabric.gpus, length, seed))
        step()
    fullest = fullest_link_permutation(fabric, routing, seed)
    step()
    worst = worst_permutation(fabric, routing, seed, known=fullest)
    step()
    funnels = _funnels(carrier, step)
    skewed = _funnels(twin, step) if twin else None
    return AdversarialReport(carrier, length, patterns, fullest, worst, funnels, skewed)


def _skewed(carrier: Carrier) -> Carrier | None:
    """Return the same network on the twin with skewed rails, where the fabric has one."""
    twin = skewed_twin(carrier.declared)
    return None if twin is None else carrier.network.on(twin, carrier.seed, carrier.measured)


def _funnels(carrier: Carrier, step: Callable[[], None]) -> dict[str, FunnelLoad]:
    fabric, loads = carrier.fabric, {}
    for name, funnel in FUNNELS.items():
        pairs = funnel(fabric.servers, fabric.gpus_per_server, 0, carrier.seed)
        loads[name] = funnel_load(fabric, carrier.routing, *pairs)
        step()
    return loads
