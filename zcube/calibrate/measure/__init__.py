"""Driving NCCL microbenchmarks on real GPUs: :func:`zcube.calibrate.measure.run.measure` takes settings, writes measurements.

``settings`` says what is measured, ``hardware`` what is there, ``drivers`` how the ranks are started, ``children`` starts
them. What runs inside the ranks (``worker``, ``benchmarks``, ``patterns``, ``timing``, ``torch_layer``) imports the standard
library and PyTorch alone, so that it runs under another Python than the one that has zcube's dependencies.
"""
