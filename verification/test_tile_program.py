"""The CUDA program of ``zcube calibrate run --kind tiles`` compiles; needs nvcc and no GPU."""

import subprocess

import pytest

from zcube.calibrate.measure.tiles.build import OLDEST_CUDA, SOURCES, compiler_version, find_compiler

pytestmark = pytest.mark.slow


def test_the_program_compiles_without_a_warning(tmp_path):
    nvcc = find_compiler()
    if nvcc is None or (compiler_version(nvcc) or (0, 0)) < OLDEST_CUDA:
        pytest.skip("no CUDA compiler here")
    command = [nvcc, "-O3", "-std=c++17", "-arch=sm_90", "-Werror", "all-warnings", "-Xcompiler", "-Wall", "-c"]
    done = subprocess.run(
        [*command, "-o", tmp_path / "tiles.o", SOURCES / "tiles.cu"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
