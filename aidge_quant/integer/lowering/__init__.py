"""Lowering: from a quantized graph to an IntegerNetwork, one rule per operator."""
