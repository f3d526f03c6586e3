"""Kernels for the vector instructions of Armv8.1-M (Helium)."""
