"""Hypothesis strategies of hostile inputs, which Hypothesis can shrink; they need the package hypothesis (extra ``test``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from zcube.fuzz.hostile import NUMBERS, TEXTS
from zcube.fuzz.kinds import Kind, kinds
from zcube.fuzz.mutations import Form, changed
from zcube.fuzz.trees import with_change

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["changed_files", "documents", "files_of", "hostile_texts"]


def changed_files(sound: bytes, form: Form) -> SearchStrategy[bytes]:
    """Return a strategy of changed copies of a sound file; see :func:`~zcube.fuzz.mutations.changed`."""
    return st.randoms(use_true_random=False).map(lambda draws: changed(sound, form, draws))


def files_of(name: str) -> SearchStrategy[bytes]:
    """Return a strategy of hostile files of a kind, by its name among :func:`~zcube.fuzz.kinds.kinds`."""
    kind: Kind = next(kind for kind in kinds() if kind.name == name)
    return changed_files(kind.sound(), kind.form)


def documents(sound: object) -> SearchStrategy[object]:
    """Return a strategy of documents, JSON-ready, each with one change against a sound one."""
    return st.randoms(use_true_random=False).map(lambda draws: with_change(sound, draws))


def hostile_texts() -> SearchStrategy[str]:
    """Return a strategy of names and values that steer terminals, break out of markup, or look like numbers."""
    return st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS).map(str), st.text(max_size=20))
