"""What pictures and pages show of a comparison: its document, its tables, and little else, whether just made or stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zcube.report.congestion_tree import CongestionTree
from zcube.report.link_bands import LinkLoad, link_load
from zcube.report.names import display_names, file_slugs
from zcube.report.palette import fabric_colours
from zcube.report.tree_files import trees_of

if TYPE_CHECKING:
    import pandas as pd

    from zcube.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Results:
    """A comparison as it is drawn.

    Attributes
    ----------
    document : mapping
        ``Comparison.document()``.
    scenario : mapping
        The scenario, JSON-ready.
    requests : mapping of str to DataFrame
        What became of every request, by fabric: ``Comparison.results[fabric].requests()``.
    loads : mapping of str to LinkLoad
        How full links were, by fabric.
    trees : mapping of str to tuple of CongestionTree
        Congestion trees of fabrics whose packets were simulated and paused.
    call : tuple of str
        What was called, without the name of the program; empty where that is not known.
    """

    document: Mapping[str, Any]
    scenario: Mapping[str, Any]
    requests: Mapping[str, pd.DataFrame]
    loads: Mapping[str, LinkLoad]
    trees: Mapping[str, tuple[CongestionTree, ...]]
    call: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, comparison: Comparison, call: tuple[str, ...] = ()) -> Results:
        """Return those of a comparison."""
        found = comparison.results
        trees = {name: trees_of(result) for name, result in found.items() if result.packets is not None}
        return cls(
            comparison.document(),
            comparison.scenario.model_dump(mode="json"),
            {name: result.requests() for name, result in found.items()},
            {name: link_load(result) for name, result in found.items()},
            {name: grown for name, grown in trees.items() if grown},
            call,
        )

    @property
    def fabrics(self) -> Mapping[str, Any]:
        """What the document holds of each fabric."""
        fabrics: Mapping[str, Any] = self.document["fabrics"]
        return fabrics

    @cached_property
    def names(self) -> dict[str, str]:
        """How fabrics are shown."""
        return display_names(self.fabrics)

    @cached_property
    def slugs(self) -> dict[str, str]:
        """What stands for fabrics in names of files."""
        return file_slugs(self.fabrics)

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each fabric."""
        return fabric_colours(self.fabrics)
