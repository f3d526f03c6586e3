"""ONNX files: the only part of the package that knows their format."""

from aidge_quant.onnx_io.reader import load_onnx
from aidge_quant.onnx_io.writer import to_model, write_onnx

__all__ = ["load_onnx", "to_model", "write_onnx"]
