"""Finding CUDA's compiler and making the program of its sources."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from zcube.calibrate.measure.children import run_call
from zcube.calibrate.measure.drivers import Call
from zcube.calibrate.measure.hardware import Runner, output_of

SOURCES = Path(__file__).resolve().parent
PROGRAM = "tiles.cu"
#: The oldest compiler that knows ``-arch=native`` and the programmatic dependent launch of the kernels.
OLDEST_CUDA = (12, 0)
BUILD_S = 600.0


def find_compiler(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the path of ``nvcc``: of the PATH, or of ``CUDA_HOME`` or ``CUDA_PATH``; None where there is none."""
    environment = os.environ if environment is None else environment
    folders = [str(Path(environment[name]) / "bin") for name in ("CUDA_HOME", "CUDA_PATH") if environment.get(name)]
    return shutil.which("nvcc", path=os.pathsep.join([environment.get("PATH", ""), *folders]))


def compiler_version(nvcc: str, run: Runner = output_of) -> tuple[int, int] | None:
    """Return the compiler's release, e.g. ``(13, 0)``; None where it does not say one."""
    found = re.search(r"release (\d+)\.(\d+)", run((nvcc, "--version")) or "")
    return (int(found[1]), int(found[2])) if found else None


def build(nvcc: str, folder: Path) -> Path:
    """Compile the program for the GPUs of this machine.

    Parameters
    ----------
    nvcc : str
        The compiler.
    folder : Path
        Where the program is put.

    Raises
    ------
    RunError
        If it does not compile; with the end of what the compiler printed.
    """
    program = folder / "tiles"
    command = (nvcc, "-O3", "-std=c++17", "-arch=native", "-o", str(program), str(SOURCES / PROGRAM), "-ldl")
    run_call(Call(command, dict(os.environ)), BUILD_S, lambda line: None)
    return program
