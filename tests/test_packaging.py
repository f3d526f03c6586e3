"""What the build files promise."""

import importlib
import re

import shared_data

import aidge_quant
from aidge_quant import _version, resources

ROOT = shared_data.CHECKOUT


def read(name: str) -> str:
    """Return the text of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def listed_kernels() -> list[str]:
    """Return the modules that CMakeLists.txt builds, in its order."""
    return re.findall(r"^aidge_quant_kernel\((\w+)\)$", read("CMakeLists.txt"), re.MULTILINE)


def test_every_kernel_module_is_listed_once_in_order():
    assert listed_kernels() == sorted(path.stem for path in (ROOT / "_kernels").glob("*.pyx"))


def test_every_kernel_module_is_installed():
    for name in listed_kernels():
        importlib.import_module(f"aidge_quant._kernels.{name}")


def test_no_kernel_sets_directives_of_its_own():
    for path in (ROOT / "_kernels").glob("*.p*"):
        if path.suffix in (".pyx", ".pxd"):
            assert "# cython:" not in path.read_text(encoding="utf-8"), path.name


def test_the_makefile_installs_the_declared_build_tools():
    declared = re.search(r"^requires = \[(.*)\]$", read("pyproject.toml"), re.MULTILINE)
    installed = re.search(r"^BUILD_TOOLS *:= (.*)$", read("Makefile"), re.MULTILINE)
    assert declared is not None
    assert installed is not None
    assert declared[1].replace('"', "'").split(", ") == installed[1].split()


def test_templates_are_found():
    assert any(resources.template_root().rglob("*.j2"))


def test_the_package_carries_its_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", _version.__version__)
    assert aidge_quant.__version__ == _version.__version__


def test_the_package_is_typed():
    assert (ROOT / "aidge_quant" / "py.typed").is_file()
