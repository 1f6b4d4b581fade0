"""How the fabrics of the front grow: the larger fabric of each later stage, what it costs and what is replugged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from zcube.errors import InputError
from zcube.fabric.model import Fabric
from zcube.fabric.spec import FabricSpec
from zcube.inputs import validate
from zcube.plan.candidate import Candidate, Ground, Unbuildable
from zcube.plan.candidates import generators
from zcube.plan.demand import Site
from zcube.plan.growth.stages import BilledStage, Stage, billed_stage, growth_plan
from zcube.plan.measures import Measured
from zcube.plan.measuring import counted
from zcube.plan.screening import screened
from zcube.pricing.price_book import Covers
from zcube.progress import Progress, ShareDone, silent
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide

#: Links up to which a stage's moves are worked out; larger ones are billed only.
MOST_LINKS = 150_000
#: Fabrics of a family tried for one stage.
MOST_TRIED = 6


@dataclass(frozen=True, eq=False)
class Growth:
    """How one fabric grows.

    Attributes
    ----------
    first_usd : float or None
        Capital cost of the fabric itself.
    stages : tuple of Stage or BilledStage
        Those that can be built, in order; the latter where there are too many links for moves to be worked out.
    targets : mapping of FabricSpec
        What a topology file of each stage's fabric declares, by its name.
    stopped_at, why : int or None, str or None
        GPUs of the first stage that cannot be built from it, and what binds; None where all can.
    covers : str
        Which sum of the bill is the capital cost.
    """

    first_usd: float | None
    stages: tuple[Stage | BilledStage, ...]
    targets: Mapping[str, FabricSpec]
    stopped_at: int | None
    why: str | None
    covers: Covers

    @property
    def stage_usd(self) -> list[float | None]:
        """Capital cost of each stage, as the plan's covers."""
        return [None if stage.bill is None else stage.bill.capital_usd(self.covers) for stage in self.stages]

    @property
    def total_usd(self) -> float | None:
        """Capital cost of the fabric and all its stages; None where some cannot be built or priced."""
        costs = [self.first_usd, *self.stage_usd]
        return None if self.stopped_at is not None or None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def replugged(self) -> int | None:
        """Links that are moved or removed over all stages; None where that is not worked out for one."""
        return self._by_moves(lambda stage: stage.moved + stage.removed)

    @property
    def cut_off_steps(self) -> int | None:
        """Steps over all stages while which GPUs in service are cut off; None where that is not worked out for one."""
        return self._by_moves(lambda stage: len(stage.windows))

    def _by_moves(self, count: Callable[[Stage], int]) -> int | None:
        """Return the sum of what the moves of each stage say."""
        return None if self._too_large else sum(count(stage) for stage in self.stages if not isinstance(stage, BilledStage))

    @property
    def _too_large(self) -> bool:
        return any(isinstance(stage, BilledStage) for stage in self.stages)

    def document(self) -> dict[str, Any]:
        """Return it, JSON-ready."""
        stages = [
            {**stage.document(), "capital_usd": usd, "moves_left_out": _left_out(stage)}
            for stage, usd in zip(self.stages, self.stage_usd)
        ]
        in_reach = all(stage["reachable_at_every_step"] for stage in stages)
        return {
            "stages": stages,
            "total_capital_usd": self.total_usd,
            "links_replugged": self.replugged,
            "every_stage_keeps_all_in_reach": None if self._too_large else in_reach,
            "stopped_at_gpus": self.stopped_at,
            "why_stopped": self.why,
        }


def _left_out(stage: Stage | BilledStage) -> str | None:
    """Return why a stage's moves are not worked out, None where they are."""
    return f"{stage.links:,} links, more than {MOST_LINKS:,}" if isinstance(stage, BilledStage) else None


def grown(
    site: Site, measured: Sequence[Measured], progress: Progress = silent, beside: SideBySide = IN_THIS_PROCESS
) -> dict[str, Growth]:
    """Return how fabrics grow to the demand's later stages, by name.

    A stage is the same topology with more GPUs where its keys allow that, else what the family has for so many on the same
    switches: of the same kind and wiring where there is one, of fewest switches.

    Parameters
    ----------
    site : Site
        The demand with its files read.
    measured : sequence of Measured
        Those on the front.
    progress : Progress
        Told how many are done.
    beside : SideBySide
        Where this is worked out.
    """
    sizes = [gpus for gpus in site.demand.growth if gpus > site.demand.gpus]
    if not sizes:
        return {}
    tasks = {one.candidate.name: (site, one, sizes) for one in sorted(measured, key=lambda one: -one.candidate.nic_links)}
    found = counted(beside, _growth, tasks, progress, "growing fabrics", "fabrics")
    return {one.candidate.name: found[one.candidate.name] for one in measured}


def _growth(task: tuple[Site, Measured, Sequence[int]], told: ShareDone) -> Growth:
    return _grown(*task)


def _grown(site: Site, one: Measured, sizes: Sequence[int]) -> Growth:
    stages: list[Stage | BilledStage] = []
    targets: dict[str, FabricSpec] = {}
    spec = one.candidate.spec
    start, stopped, why = spec.build(one.candidate.name), None, None
    for gpus in sizes:
        name, reasons = f"{one.candidate.name}-to-{gpus}", []
        for larger in _larger(site, one.candidate, spec, gpus):
            if isinstance(larger, str):
                reasons.append(larger)
                continue
            stage = _stage(site, start, larger, name)
            if not isinstance(stage, str):
                stages.append(stage)
                targets[name] = spec = larger
                start = stage.fabric
                break
            reasons.append(stage)
        else:
            stopped, why = gpus, "; ".join(dict.fromkeys(reasons)) or "its family has none of the same servers"
            break
    return Growth(one.value("capital_usd"), tuple(stages), targets, stopped, why, site.covers)


def _larger(site: Site, candidate: Candidate, spec: FabricSpec, gpus: int) -> Iterator[FabricSpec | str]:
    """Yield what a fabric may become at so many GPUs, the likeliest first, and then why there is no more."""
    keys = spec.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    with suppress(InputError):
        yield validate(type(spec), {**keys, "family": spec.family, "gpus": gpus}, "")
    made: list[Candidate] = []
    # What a package or a search of its own made has no generator.
    generator = generators().get(candidate.family, _nothing)
    for switch in site.switches.values():
        for one in generator(Ground(site, switch, gpus)):
            if isinstance(one, Unbuildable):
                if one.switch in candidate.switches and (one.arrangement == candidate.kind or not candidate.kind):
                    yield one.arithmetic
            elif set(candidate.switches) <= set(one.switches):
                made.append(one)
    chosen, _ = screened(made)
    chosen.sort(key=lambda one: (one.traffic != candidate.traffic, one.kind != candidate.kind, one.switch_count))
    yield from (one.spec for one in chosen[:MOST_TRIED])


def _nothing(ground: Ground) -> Iterator[Candidate | Unbuildable]:
    """Yield nothing: what there is on a ground of a family without a generator."""
    yield from ()


def _stage(site: Site, start: Fabric, larger: FabricSpec, name: str) -> Stage | BilledStage | str:
    """Return a stage, or why there is none."""
    try:
        target = larger.build(name)
        if len(target.cables) - target.gpus > MOST_LINKS:
            return billed_stage(start, target, site.book, site.demand.optics)
        return growth_plan(start, [target], book=site.book, optics=site.demand.optics).stages[0]
    except InputError as error:
        return "; ".join(f"{fault.found}; expected {fault.expected}" for fault in error.faults)[:400]
