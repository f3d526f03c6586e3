"""Between integer networks and ONNX: QDQ, QOperator and plain integer models, out and in."""
