"""The verdict of a comparison: its parts as data, and the sentences that terminal, JSON and page share."""

from __future__ import annotations

from typing import Any

from zcube.verdict.capacities import capacity_rule, capacity_sentences
from zcube.verdict.headline import cautions, headline
from zcube.verdict.knees import knee_rule, knee_sentences
from zcube.verdict.limits import limit_sentence, limits, rule_sentence, thresholds_document
from zcube.verdict.published import published, published_sentences
from zcube.verdict.rows import Document


def verdict(document: Document, nodes: tuple[int, int], is_published: bool) -> dict[str, Any]:
    """Return the verdict on a comparison, JSON-ready.

    Parameters
    ----------
    document : mapping
        The comparison's, without its verdict; its ``knee`` and ``capacity`` may be None.
    nodes : tuple of int
        Prefill and decode nodes.
    is_published : bool
        Whether the published figures are of this experiment.

    Returns
    -------
    dict
        ``sentences`` by part, in the order in which they are to be read: ``headline``, ``cautions``, ``limits``, ``knee``,
        ``capacity``, ``published``, ``rules``; ``limits`` and ``published`` as data by fabric, and the ``thresholds`` they were
        judged by.
    """
    found = {name: limits(fabric, nodes) for name, fabric in document["fabrics"].items()}
    beside = published(document, found) if is_published else {}
    knee, capacity = document.get("knee"), document.get("capacity")
    return {
        "sentences": {
            "headline": headline(document),
            "cautions": cautions(document),
            "limits": [limit_sentence(name, document["fabrics"][name], limit) for name, limit in found.items()],
            "knee": knee_sentences(knee) if knee else [],
            "capacity": capacity_sentences(capacity) if capacity else [],
            "published": published_sentences(beside),
            "rules": [
                rule_sentence(),
                *([knee_rule(knee)] if knee else []),
                *([capacity_rule(capacity)] if capacity else []),
            ],
        },
        "limits": found,
        "thresholds": thresholds_document(),
        "published": beside,
    }


def parts(document: Document) -> list[list[str]]:
    """Return the sentences of a comparison's verdict by part, empty parts left out, in reading order."""
    return [list(sentences) for sentences in document["verdict"]["sentences"].values() if sentences]
