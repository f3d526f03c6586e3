"""Compiled integer kernels; `aidge_quant.kernels` checks the arguments and calls them."""
