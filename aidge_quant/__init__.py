"""Quantize a neural network, run it on integers, and export it as plain C."""
