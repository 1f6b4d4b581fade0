"""Compute times interpolated from NVIDIA aiconfigurator's measured tables, from CSV files or its PyPI package."""
