"""Where the tests find networks and data that are not part of the repository.

The folder is ``AIDGE_QUANT_SHARED``, else ``shared`` beside the checkout.  Tests import this
module by its name (``pythonpath`` in pyproject.toml); use the fixture of the same name where a
test needs one file, the function in a parametrization or a helper.
"""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def shared_root() -> Path:
    """Return the folder of the shared data, which may not exist."""
    return Path(os.environ.get("AIDGE_QUANT_SHARED") or CHECKOUT.parent / "shared")


def shared_path(*parts: str) -> Path:
    """Return the path of a shared file, for example ``shared_path("data", "kws.npz")``.

    Skips the calling test when the file is absent; fails it when the environment variable
    ``CI`` is ``true``, so that an automatic run cannot pass by leaving tests out.
    """
    path = shared_root().joinpath(*parts)
    if not path.exists():
        reason = f"{path} is absent; AIDGE_QUANT_SHARED names the folder that holds it"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path
