"""What is built: servers, GPUs, NIC ports, switches and cables, as one frozen object of numpy arrays."""
