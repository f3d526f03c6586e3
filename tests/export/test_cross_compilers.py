"""The C of every target compiles without a warning for every core, by gcc and by clang."""

import shutil
import subprocess
from pathlib import Path

import pytest
from c_builds import WARNINGS, absent
from fast_networks import fast_network, heavy_network, mixed_network
from small_networks import SMALL_NETWORKS, small_network

from aidge_quant.export import export_c
from aidge_quant.export.target import TARGETS

ARM = ("arm-none-eabi-gcc",)
CLANG = ("clang", "-ffreestanding")

COMPILERS = {
    "gcc cortex-m0": (*ARM, "-mcpu=cortex-m0", "-mthumb"),
    "gcc cortex-m3": (*ARM, "-mcpu=cortex-m3", "-mthumb"),
    "gcc cortex-m4": (*ARM, "-mcpu=cortex-m4", "-mthumb"),
    "gcc cortex-m7": (*ARM, "-mcpu=cortex-m7", "-mthumb"),
    "gcc cortex-m33": (*ARM, "-mcpu=cortex-m33", "-mthumb"),
    "gcc cortex-m55": (*ARM, "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
    "gcc rv32imc": ("riscv64-unknown-elf-gcc", "-ffreestanding", "-march=rv32imc", "-mabi=ilp32"),
    "clang cortex-m0": (*CLANG, "--target=thumbv6m-none-eabi", "-mcpu=cortex-m0"),
    "clang cortex-m3": (*CLANG, "--target=thumbv7m-none-eabi", "-mcpu=cortex-m3"),
    "clang cortex-m4": (*CLANG, "--target=thumbv7em-none-eabi", "-mcpu=cortex-m4"),
    "clang cortex-m33": (*CLANG, "--target=thumbv8m.main-none-eabi", "-mcpu=cortex-m33"),
    "clang cortex-m55": (*CLANG, "--target=thumbv8.1m.main-none-eabi", "-mcpu=cortex-m55"),
    "clang rv32imc": (*CLANG, "--target=riscv32-none-elf", "-march=rv32imc"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, list[Path]]:
    """Return the C files of many networks, by target."""
    networks = {f"f{seed}": fast_network(seed) for seed in range(4)}
    networks |= {"h0": heavy_network(0), "m1": mixed_network(1), "m8": mixed_network(8)}
    networks |= {f"s_{name}": small_network(name) for name in [*SMALL_NETWORKS][::4]}
    found = {}
    for target in TARGETS:
        folder = tmp_path_factory.mktemp(target)
        found[target] = [
            export_c(network, folder / name, name=name, target=target) / "src" / f"{name}.c"
            for name, network in networks.items()
        ]
    return found


def compiled(command, files, folder) -> str:
    includes = [f"-I{file.parents[1] / 'include'}" for file in files]
    words = [*command, "-std=c99", *WARNINGS, *includes, "-c", *map(str, files)]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "level"),
    [
        *((name, "-O2") for name in COMPILERS),
        *(
            (name, level)
            for name in ("gcc cortex-m4", "gcc cortex-m55")
            for level in ("-Os", "-O3", "-O0")
        ),
    ],
)
def test_every_target_compiles_for_every_core_without_a_warning(sources, compiler, level, tmp_path):
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        absent(f"{command[0]} is not installed")
    # Targets of one table of kernels print the same text.
    for target in ("generic", "cortex-m55"):
        assert compiled((*command, level), sources[target], tmp_path) == ""


@pytest.mark.slow
def test_a_warning_fails(tmp_path):
    if shutil.which("arm-none-eabi-gcc") is None:
        absent("arm-none-eabi-gcc is not installed")
    source = tmp_path / "src" / "net.c"
    source.parent.mkdir()
    source.write_text("int f(int a)\n{\n    return 0;\n}\n")
    assert "unused parameter" in compiled(COMPILERS["gcc cortex-m4"], [source], tmp_path)


def test_targets_with_the_same_kernels_print_the_same_c(sources):
    for first, others in (("generic", ("cortex-m0", "cortex-m4", "rv32")),):
        for other in others:
            for one, two in zip(sources[first], sources[other], strict=True):
                assert one.read_bytes() == two.read_bytes()
