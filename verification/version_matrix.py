"""Results under several interpreters and versions of packages, one and two threads, held against each other.

``python verification/version_matrix.py PYTHON PYTHON ...`` takes the interpreters of environments that hold zcube's
dependencies (``uv venv --python 3.13 new``, ``uv pip install --python new/bin/python --resolution highest -r pyproject.toml``,
and the same with ``lowest-direct``), runs the same commands of this checkout in each, and prints a table: equal to the byte, or
by how much figures differ from the first one's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
MEASURED = CHECKOUT / "calibrations" / "2x-h200-nvlink.json"
#: What is run by name; FILE is what it writes, where that is not its standard output.
COMMANDS: dict[str, tuple[str, ...]] = {
    "compare": ("compare", "glm51-pd-256", "--set", "requests.count=40", "--json", "--jobs", "JOBS"),
    "compare --fidelity lossless": (
        "compare", "glm51-pd-256", "--set", "requests.count=10", "--fidelity", "lossless", "--json", "--jobs", "JOBS",
    ),
    "compare, table": ("compare", "glm51-pd-256", "--set", "requests.count=10", "--jobs", "JOBS", "--out", "FOLDER"),
    "replay, packets": ("replay", "flows.csv", "--fabric", "zcube-n16", "--fidelity", "packet", "--json"),
    "replay --out": ("replay", "flows.csv", "--fabric", "zcube-n16", "--out", "FILE.csv"),
    "trace generate": ("trace", "generate", "--engine", "sglang", "--layers", "2", "--new-tokens", "64", "--out", "FILE.jsonl"),
    "plan": ("plan", "--gpus", "128", "--nic", "400", "--switch", "12.8T", "--json"),
    "fabric export": ("fabric", "export", "zcube-256", "--format", "links"),
    "fabric show": ("fabric", "show", "zcube-n64", "--json"),
    "calibrate fit": ("calibrate", "fit", str(MEASURED), "--draws", "20", "--json", "--out", "FILE.json"),
    "calibrate check": ("calibrate", "check", str(MEASURED), "--json"),
    "cost": ("cost", "roft-1024", "zcube-1024", "--json"),
}  # fmt: skip
VERSIONS = """
import importlib.metadata as m, platform
names = ("numpy", "numba", "scipy", "pandas", "pyarrow", "pydantic", "matplotlib")
print(platform.python_version(), *(f"{name} {m.version(name)}" for name in names), sep=", ")
"""


def results(python: str, threads: int, names: Sequence[str]) -> dict[str, list[str]]:
    """Return what every command prints and writes, or how it failed."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONSAFEPATH": "1", "NUMBA_NUM_THREADS": str(threads)}
    environment |= {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "flows.csv").write_text(flows())
        for name in names:
            words = [
                str(threads) if word == "JOBS" else word.replace("FILE", "made").replace("FOLDER", "out")
                for word in COMMANDS[name]
            ]
            call = [python, "-m", "zcube", *words]
            done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            made = [path for path in Path(folder).iterdir() if path.name.startswith("made")]
            found[name] = [done.stdout, *(path.read_text() for path in made)]
            for path in made:
                path.unlink()
            if done.returncode:
                found[name] = [f"failed with {done.returncode}: {done.stderr[-2000:]}"]
    return found


def flows() -> str:
    """Return transfers that share links."""
    rows = [f"s{n % 4}g{n % 8},s{(n + 1 + n // 4 % 3) % 4}g{n % 8},{100_000 + 37 * n},{n % 5 * 1e-5}" for n in range(24)]
    return "\n".join(["src,dst,bytes,start_s", *rows]) + "\n"


def difference(one: list[str], other: list[str]) -> str:
    """Return in words how two results differ."""
    if one == other:
        return "equal"
    if other[0].startswith("failed"):
        return "fails"
    try:
        pairs = [pair for texts in zip(one, other, strict=True) for pair in side_by_side(*map(json.loads, texts))]
    except (ValueError, KeyError, TypeError):
        return "differs"
    return f"{max(pairs, default=0.0):.1e}"


def side_by_side(one: Any, other: Any) -> Iterator[float]:
    """Yield the relative difference of every figure of two documents; anything else must be the same."""
    if isinstance(one, dict):
        if set(one) != set(other):
            raise KeyError
        for key in one:
            yield from side_by_side(one[key], other[key])
    elif isinstance(one, list):
        if len(one) != len(other):
            raise KeyError
        for first, second in zip(one, other, strict=True):
            yield from side_by_side(first, second)
    elif isinstance(one, float) and isinstance(other, float | int):
        yield abs(one - other) / max(abs(one), abs(other), 1e-300)
    elif one != other:
        raise ValueError(f"{one} {other}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=list(COMMANDS), choices=list(COMMANDS), metavar="COMMAND")
    asked = parser.parse_args()
    first: dict[str, list[str]] | None = None
    failed = 0
    for python in asked.pythons:
        versions = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout.strip()
        for threads in asked.threads:
            found = results(python, threads, asked.only)
            first = first or found
            said = {name: difference(first[name], texts) for name, texts in found.items()}
            whole = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:12]
            others = {name: how for name, how in said.items() if how != "equal"}
            failed += sum(texts[0].startswith("failed") for texts in found.values())
            equal = f"{len(said) - len(others)} of {len(said)} equal to the byte"
            print(f"{versions}; {threads} threads; {equal} ({whole}); {others or ''}", flush=True)
            for name, texts in found.items():
                if texts[0].startswith("failed"):
                    print(f"  {name}: {texts[0]}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
