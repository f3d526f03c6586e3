"""From QDQ graphs to quantized graphs: what the two say of each tensor, and a rule an operator."""
