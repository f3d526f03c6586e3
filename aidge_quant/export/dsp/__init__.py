"""Kernels for the instructions that multiply two pairs of 16 bits at once."""
