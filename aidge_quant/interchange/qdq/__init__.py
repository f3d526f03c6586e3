"""The QDQ form: float operators between QuantizeLinear and DequantizeLinear."""
