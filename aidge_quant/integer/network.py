"""IntegerNetwork: a flat list of integer layers over typed tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from aidge_quant.errors import GraphError
from aidge_quant.integer import check, ends, run, store, table
from aidge_quant.integer.layers import Layer
from aidge_quant.integer.tensors import IntegerTensor

CONTRACT_VERSION = 1

Arrays = np.ndarray | Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """What ``lower`` makes, and all that the golden model, the C and the report ever see.

    Attributes
    ----------
    name : str
    tensors : tuple of IntegerTensor
        Inputs first, then in the order they are written.
    layers : tuple of Layer
        In order of execution; each reads tensors written before it.
    inputs, outputs : tuple of str
        Names of tensors, in the order of the model. An output may be an input, and may be named
        twice.
    input_names, output_names : tuple of str
        The model's names of the same.
    metadata : mapping of str to str
        Provenance: producer version, options, SHA-256 of model and calibration data.
    contract : int
        Version of the integer contract.

    Raises
    ------
    GraphError
        If names do not match, or a layer reads what is not written yet.
    ShapeError, DtypeError, DataError
        If a shape, a type or a range of values does not fit.
    OverflowProofError
        If an accumulator could leave int32 (see ``integer.check``).
    """

    name: str
    tensors: tuple[IntegerTensor, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    contract: int = CONTRACT_VERSION

    def __post_init__(self) -> None:
        check.check_network(self)

    @cached_property
    def _by_name(self) -> dict[str, IntegerTensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def tensor(self, name: str) -> IntegerTensor:
        """Return the tensor called ``name``; a GraphError if there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise GraphError(f"network {self.name} has no tensor named {name!r}") from None

    def quantize_input(self, x: Arrays) -> Arrays:
        """Return the integers that the network is fed with.

        q = clip(floor(x * (1 / scale) + 0.5) + zero_point) in float64

        Parameters
        ----------
        x : float array (batch, *ONNX shape), or a mapping of them by input name

        Returns
        -------
        int8 or int16 array of the same shape, or a dictionary of them
        """
        return ends.quantize_input(self, x)

    def dequantize_output(self, q: Arrays) -> Arrays:
        """Return ``scale * (q - zero_point)`` as float64, on the scale of the float network.

        Parameters
        ----------
        q : integer array (batch, *ONNX shape), or a mapping of them by output name
        """
        return ends.dequantize_output(self, q)

    def run(self, q: Arrays, *, intermediates: bool = False, threads: int = 1) -> Arrays:
        """Run the golden model.

        Parameters
        ----------
        q : integer array (batch, *ONNX shape), or a mapping of them by input name
            Of the input's type exactly, as ``quantize_input`` returns them.
        intermediates : bool
            Also return every tensor.
        threads : int
            How many the images of the batch, or the layers of fewer images, are shared out among;
            fewer where there is little to compute. Whatever their number, and whatever instruction
            set the machine has, the integers are the same; ``AIDGE_QUANT_ISA`` names another one
            than the best (docs/golden_model.md). Several threads of Python may run one network at
            once.

        Returns
        -------
        array (batch, *ONNX shape), or a dictionary by output name when there are several. With
        ``intermediates``: the pair of that and a dictionary of all tensors by tensor name, in ONNX
        layout.

        Raises
        ------
        ShapeError, DtypeError, DataError
            If the input does not fit the network, or ``threads`` is not a whole number from 1.
        """
        return run.run_network(self, q, intermediates=intermediates, threads=threads)

    def save(self, path: str | Path) -> None:
        """Write the network to one file (npz, no pickle); an existing file is replaced."""
        store.save_network(self, path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over everything that decides the results, metadata left out."""
        return store.digest(self)

    def __str__(self) -> str:
        return table.to_text(self)

    def __repr__(self) -> str:
        return f"<IntegerNetwork {self.name}: {len(self.layers)} layers>"
