"""The packet fidelity: RoCE with PFC, ECN and DCQCN, event by event in integer picoseconds."""
