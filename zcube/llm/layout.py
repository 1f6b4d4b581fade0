"""How attention is laid out over the GPUs of a stage: a name such as ``tp8``, read against how many GPUs there are.

* ``tpN``: heads sliced N-fold; where there are more GPUs, groups of N share the requests
* ``cpN``: the tokens of a sequence sliced N-fold, likewise
* ``dpN``: N groups share the requests; where there are more GPUs, each group slices the heads

Experts are sliced over all GPUs under ``tp`` and ``cp``, and spread over them under ``dp``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias, cast

#: GPUs of a stage at most: a scale-up domain.
MAX_STAGE_GPUS = 1024
LayoutKind: TypeAlias = Literal["tp", "cp", "dp"]
LAYOUT_PATTERN = r"^(tp|cp|dp)[1-9][0-9]{0,3}$"
_NAME = re.compile(r"(tp|cp|dp)([1-9][0-9]{0,3})", re.ASCII)


class Layout(NamedTuple):
    """Sizes of a layout; their product is the GPUs of the stage.

    Attributes
    ----------
    kind : {"tp", "cp", "dp"}
        What the name begins with.
    tp, cp, dp : int
        Ways the heads, and the tokens of a sequence, are sliced; groups that share the requests.
    """

    kind: LayoutKind
    tp: int
    cp: int
    dp: int


@lru_cache(maxsize=1024)
def layout_of(name: str, gpus: int) -> Layout:
    """Return the sizes of a layout on so many GPUs.

    Raises
    ------
    ValueError
        If it is no layout, or its size does not divide the GPUs; the text says what is expected.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError("tp, cp or dp and a size, such as tp8")
    kind, size = cast("LayoutKind", found[1]), int(found[2])
    if not 1 <= gpus <= MAX_STAGE_GPUS:
        raise ValueError(f"1 .. {MAX_STAGE_GPUS} GPUs of a stage, not {gpus}")
    if gpus % size:
        raise ValueError(f"a size that divides the {gpus} GPUs of a stage, not {name}")
    rest = gpus // size
    if kind == "dp":
        return Layout(kind, rest, 1, size)
    return Layout(kind, size, 1, rest) if kind == "tp" else Layout(kind, 1, size, rest)
