"""Measured NCCL runs: reading, fitting a latency-bandwidth model, checking it, and what of it the network models take."""
