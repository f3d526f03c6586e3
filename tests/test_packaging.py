"""What the build files promise."""

import importlib
import re

import shared_data

import aidge_quant
from aidge_quant import _version, resources

ROOT = shared_data.CHECKOUT


def listed_kernels() -> list[str]:
    """Return the modules that CMakeLists.txt builds, in its order."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.findall(r"^aidge_quant_kernel\((\w+)\)$", text, re.MULTILINE)


def test_every_kernel_module_is_listed_once_in_order():
    assert listed_kernels() == sorted(path.stem for path in (ROOT / "_kernels").glob("*.pyx"))


def test_every_kernel_module_is_installed():
    for name in listed_kernels():
        importlib.import_module(f"aidge_quant._kernels.{name}")


def test_no_kernel_sets_directives_of_its_own():
    for path in (ROOT / "_kernels").glob("*.p*"):
        if path.suffix in (".pyx", ".pxd"):
            assert "# cython:" not in path.read_text(encoding="utf-8"), path.name


def test_templates_are_found():
    assert any(resources.template_root().rglob("*.j2"))


def test_the_package_carries_its_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", _version.__version__)
    assert aidge_quant.__version__ == _version.__version__


def test_the_package_is_typed():
    assert (ROOT / "aidge_quant" / "py.typed").is_file()
