"""Fabrics against transports: the same transfers, or the same requests, on every pair of them under several seeds."""
