"""The house rules that can be read off the imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "aidge_quant"

#: Units of the package from the ground up; a unit imports from lower rows and from itself only.
ROWS = (
    ("_version", "errors"),
    ("atomic", "dtypes", "resources"),
    ("tensor",),
    ("graph", "kernels"),
    ("ops",),
    ("executor", "recipes"),
    ("ptq", "training", "onnx_io"),
    ("qat", "interop"),
    ("lsq", "sat", "fixed_point"),
    ("integer",),
    ("memory",),
    ("export", "report", "interchange"),
    ("tuning",),
    ("commands",),
    ("cli",),
)
LEVEL = {unit: level for level, row in enumerate(ROWS) for unit in row}

#: Foreign packages and the only units that may import them.
RESERVED = {
    "onnx": {"onnx_io"},
    "jinja2": {"export", "report"},
    "torch": {"interop"},
    "aidge_quant._kernels": {"kernels"},
}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def faults(path: Path) -> list[str]:
    here, found = unit_of(path), []
    for module in imported_modules(path):
        for reserved, allowed in RESERVED.items():
            if (module + ".").startswith(reserved + ".") and here not in allowed:
                found.append(f"{here} imports {module}, which only {sorted(allowed)} may")
        parts = module.split(".")
        ours = parts[0] == "aidge_quant" and parts[1] not in ("_kernels", here)
        if ours and LEVEL[parts[1]] >= LEVEL[here]:
            found.append(f"{here} imports {module}, which is not below it")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    assert faults(path) == []


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("import onnx", "graph/a.py"),
        ("from aidge_quant.integer.network import IntegerNetwork", "ptq/a.py"),
        ("from aidge_quant.executor import run", "recipes/a.py"),
        ("def f():\n    import jinja2", "integer/a.py"),
    ],
)
def test_an_upward_import_is_seen(tmp_path, monkeypatch, text, unit):
    path = tmp_path / unit
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert faults(path) != []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=str)
def test_init_files_list_names_and_hold_no_code(path):
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        assert isinstance(statement, allowed), f"{path}:{statement.lineno}"
        if isinstance(statement, ast.Assign):
            assert [target.id for target in statement.targets] in (["__all__"], ["__version__"])
