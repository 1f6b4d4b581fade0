"""Bytes chosen by what they reach in a reader, by atheris (extra ``fuzz``).

python verification/fuzz_bytes.py 'requests Azure' -runs=100000. What follows the kind is libFuzzer's; the exit status is not 0
where an input was neither read nor refused.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

#: Rooms of readers; kernels are compiled, which instrumented code cannot be.
ROOMS = (
    "zcube.inputs",
    "zcube.input_files",
    "zcube.trace",
    "zcube.workload.readers",
    "zcube.fabric.wiring",
    "zcube.calibrate.readers",
)

with atheris.instrument_imports(include=list(ROOMS)):
    from zcube.errors import InputError
    from zcube.fuzz.kinds import kinds
    from zcube.fuzz.trial import MOST_TIME_S

    # Readers are imported where they are listed.
    KINDS = {kind.name: kind for kind in kinds()}


def main() -> None:
    kind, options = KINDS[sys.argv[1]], sys.argv[2:]
    folder = Path(tempfile.mkdtemp(prefix="zcube-fuzz-"))
    seeds = folder / "seeds"
    seeds.mkdir()
    (seeds / "sound").write_bytes(kind.sound())
    path = folder / kind.file

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(InputError):
            kind.read(path)

    atheris.Setup(
        [sys.argv[0], str(seeds), f"-timeout={MOST_TIME_S:g}", "-rss_limit_mb=2000", "-max_len=100000", *options], read
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
