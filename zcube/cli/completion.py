"""What a shell may complete by value: names of what comes with the program. A file is completed by the shell itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: Called with what has been typed of a word; returns what the word may become.
Completion = Callable[[str], list[str]]

FIDELITIES = ("ideal", "flow", "lossless", "packet")
OPTICS_RULES = ("paper", "all-optical", "by-length")


def fabrics(incomplete: str) -> list[str]:
    """Complete the name of a bundled topology."""
    return _begun(_bundled("topologies"), incomplete)


def scenarios(incomplete: str) -> list[str]:
    """Complete the name of a bundled scenario."""
    return _begun(_bundled("scenarios"), incomplete)


def sweeps(incomplete: str) -> list[str]:
    """Complete the name of a bundled sweep."""
    return _begun(_bundled("sweeps"), incomplete)


def transports(incomplete: str) -> list[str]:
    """Complete a transport, or the last of its parts: ``spray+dc``."""
    return _last(_bundled("transports"), incomplete, "+")


def listed_fabrics(incomplete: str) -> list[str]:
    """Complete the last of several topologies parted by commas."""
    return _last(_bundled("topologies"), incomplete, ",")


def listed_transports(incomplete: str) -> list[str]:
    """Complete the last of several transports parted by commas, or its last part."""
    return _last(_bundled("transports"), incomplete, ",", "+")


def loads(incomplete: str) -> list[str]:
    """Complete what a matrix carries: a scenario, or a pattern that is made."""
    from zcube.workload.generated_flows import PATTERNS

    return _begun([*_bundled("scenarios"), *PATTERNS], incomplete)


def cards(incomplete: str) -> list[str]:
    """Complete the name of a bundled model card."""
    from zcube.llm.cards import card_names

    return _begun(card_names(), incomplete)


def devices(incomplete: str) -> list[str]:
    """Complete the name of a bundled device."""
    from zcube.llm.devices import device_names

    return _begun(device_names(), incomplete)


def price_books(incomplete: str) -> list[str]:
    """Complete the name of a bundled price book."""
    from zcube.pricing.price_book import PriceBook

    return _begun(PriceBook.bundled(), incomplete)


def listed_metrics(incomplete: str) -> list[str]:
    """Complete the last of the figures that a plan decides by."""
    from zcube.plan.objectives import OBJECTIVES

    return _last(OBJECTIVES, incomplete, ",")


def one_of(*names: str) -> Completion:
    """Return what completes one of a few words."""

    def complete(incomplete: str) -> list[str]:
        return _begun(names, incomplete)

    return complete


def _bundled(kind: str) -> list[str]:
    from zcube.inputs import bundled_stems

    return bundled_stems(kind)


def _begun(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _last(names: Iterable[str], incomplete: str, *separators: str) -> list[str]:
    """Complete what stands behind the last separator, the rest before it."""
    begin = max(incomplete.rfind(separator) for separator in separators) + 1
    return [incomplete[:begin] + name for name in _begun(names, incomplete[begin:])]
