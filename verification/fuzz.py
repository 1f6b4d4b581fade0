"""Readers against hostile files: python verification/fuzz.py --seconds 60 --seed 0. Exit status 1 where anything was found."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zcube.fuzz.kinds import kinds
from zcube.fuzz.run import Fuzzed, fuzz
from zcube.fuzz.trial import MOST_MEMORY_BYTES, MOST_TIME_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="when to end")
    parser.add_argument("--inputs", type=int, help="when to end, at the latest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="round to begin with; a run says where the next one goes on")
    parser.add_argument("--kind", action="append", help="only kinds whose names begin so")
    parser.add_argument("--keep", type=Path, help="folder for the inputs of findings")
    parser.add_argument("--counts", type=Path, help="JSON file that counts are added to, run by run")
    asked = parser.parse_args()
    chosen = [kind for kind in kinds() if asked.kind is None or kind.name.startswith(tuple(asked.kind))]
    found = fuzz(
        chosen, seed=asked.seed, first=asked.first, seconds=asked.seconds, inputs=asked.inputs, keep=asked.keep,
        tell=lambda line: print(line, flush=True),
    )  # fmt: skip
    print(_told(found))
    if asked.counts is not None:
        _add_to(asked.counts, found)
    return 1 if found.findings else 0


def _told(found: Fuzzed) -> str:
    lines = [f"{'kind':40} {'inputs':>8} {'refused':>8} {'ms each':>8} {'longest s':>9} {'MB':>6}"]
    for name, one in found.counts.items():
        each_ms = 1e3 * one.cpu_s / max(1, one.tried)
        figures = f"{one.tried:8} {one.refused:8} {each_ms:8.2f} {one.longest_s:9.2f} {one.most_bytes / 1e6:6.0f}"
        lines.append(f"{name:40} {figures}")
    speed = found.tried / max(found.cpu_s, 1e-9)
    lines += [
        f"{found.tried} inputs of {len(found.counts)} kinds in {found.wall_s:.0f} s and {found.cpu_s:.0f} s of a processor",
        f"{speed:.0f} a second of a processor, so 10^6 in {1e6 / speed / 3600:.1f} h",
        f"limits: {MOST_TIME_S:g} s and {MOST_MEMORY_BYTES / 1e9:g} GB an input; the next round is --first {found.next_number}",
        f"{len(found.findings)} places found, {sum(count for _, count in found.findings.values())} inputs",
    ]
    return "\n".join(lines)


def _add_to(path: Path, found: Fuzzed) -> None:
    kept = json.loads(path.read_text()) if path.is_file() else {"inputs": 0, "cpu_s": 0.0, "kinds": {}}
    kept["inputs"] += found.tried
    kept["cpu_s"] = round(kept["cpu_s"] + found.cpu_s, 1)
    for name, one in found.counts.items():
        kept["kinds"][name] = kept["kinds"].get(name, 0) + one.tried
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
