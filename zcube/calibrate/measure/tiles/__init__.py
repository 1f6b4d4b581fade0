"""What handing tiles from GPU to GPU costs inside running kernels: one CUDA C++ program, compiled where it runs."""
