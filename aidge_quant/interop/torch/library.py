"""The import of torch, which is an extra: the other modules here take it from this one."""

from aidge_quant.errors import UnsupportedError

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise UnsupportedError(
        f"aidge_quant.interop.torch needs torch, which cannot be imported ({error}); install it: "
        "pip install 'aidge-quant[torch]'"
    ) from error

__all__ = ["Tensor", "functional", "torch"]
