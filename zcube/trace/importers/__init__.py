"""Importers of recorded communication: NCCL, PyTorch, Chakra and engine logs, one module per format, behind one catalog."""
