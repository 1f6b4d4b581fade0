"""``zcube warm``: every kernel compiled at once, for images and CI."""

from __future__ import annotations

import sys


def warm_command() -> None:
    """Compile every kernel now, so that no later run has to, and say where they are kept."""
    from zcube.cli.progress import RunProgress
    from zcube.warm import warm

    with RunProgress() as progress:
        warmed = warm(progress)
    if warmed.folder is None:
        text = "no folder for compiled kernels can be written, so that every run compiles its own; set NUMBA_CACHE_DIR"
    elif warmed.is_borrowed:
        text = f"all kernels are kept in {warmed.folder}, which cannot be written and need not be"
    elif warmed.compiled:
        text = f"all kernels compiled in {warmed.taken_s:.0f} s, kept in {warmed.folder}"
    else:
        text = f"all kernels were compiled before, kept in {warmed.folder}"
    sys.stdout.write(text + "\n")
