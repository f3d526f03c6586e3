"""The exported folder as its user meets it: make, a C++ compiler, a second network."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_builds import WARNINGS, absent, build_named
from small_networks import SMALL_NETWORKS, Builder, small_network

from aidge_quant.export import export_c
from aidge_quant.integer import layers as il


def need(tool: str) -> str:
    if shutil.which(tool) is None:
        absent(f"{tool} is not installed")
    return tool


def call(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return export_c(small_network("residual"), tmp_path_factory.mktemp("c") / "kws", name="kws")


def test_make_test_passes_and_make_size_prints(folder):
    need("make")
    result = call("make", "test", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "kws: 2 cases, 0 wrong values" in result.stdout
    assert "warning" not in result.stderr
    assert "text" in call("make", "size", cwd=folder).stdout
    assert "kws_run" in call("make", "stack", cwd=folder).stdout


def test_make_takes_other_tools_and_flags(folder):
    need("make")
    need("arm-none-eabi-gcc")
    flags = "CFLAGS=-mcpu=cortex-m0 -mthumb -Os -Werror"
    result = call("make", "CROSS_COMPILE=arm-none-eabi-", flags, "BUILD=arm", "size", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "arm-none-eabi-size" in result.stdout


def test_one_flipped_golden_bit_fails_the_self_test(tmp_path):
    need("make")
    network = small_network("residual")
    folder = export_c(network, tmp_path / "kws", name="kws")
    golden = folder / "test" / "kws_golden.h"
    head, values = golden.read_text().rsplit("= {\n    ", 1)
    first, rest = values.split(",", 1)
    golden.write_text(f"{head}= {{\n    {int(first) ^ 1},{rest}")
    result = call("make", "test", cwd=folder)
    assert result.returncode != 0
    assert "1 wrong values" in result.stdout


def test_cmake_builds_the_library_and_runs_the_self_test(folder, tmp_path):
    need("cmake")
    configured = call("cmake", "-S", folder, "-B", tmp_path, "-DKWS_SELFTEST=ON", cwd=tmp_path)
    assert configured.returncode == 0, configured.stderr
    assert call("cmake", "--build", tmp_path, cwd=tmp_path).returncode == 0
    assert call("ctest", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_self_test_compiles_without_a_warning(folder, tmp_path, compiler):
    build = build_named(f"{compiler}-O2")
    sources = (folder / "src/kws.c", folder / "test/kws_selftest.c")
    program = tmp_path / "t"
    flags = ("-std=c99", *build.flags, f"-I{folder / 'include'}")
    result = call(compiler, *flags, *sources, "-o", program, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert call(program, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["residual", "ends", "conv_int16"])
def test_the_header_compiles_as_cpp(tmp_path, name):
    need("g++")
    folder = export_c(small_network(name), tmp_path / "n", name="kws")
    source = tmp_path / "main.cpp"
    source.write_text('#include "kws.h"\nstatic kws_t net;\nint main() { kws_init(&net); }\n')
    call("gcc", "-c", folder / "src/kws.c", f"-I{folder / 'include'}", "-o", "k.o", cwd=tmp_path)
    flags = [flag for flag in WARNINGS if "prototypes" not in flag]
    for extra in ((), ("-DKWS_WITH_FLOAT",)):
        command = ("g++", "-std=c++11", *flags, *extra, f"-I{folder / 'include'}", source, "k.o")
        result = call(*command, "-o", "program", cwd=tmp_path)
        assert result.returncode == 0, result.stderr


def test_two_networks_link_into_one_program_and_share_memory(tmp_path):
    build = build_named("gcc-O2")
    sources: list[Path] = []
    includes: list[str] = []
    for name, kind in (("one", "residual"), ("two", "residual_scale")):
        folder = export_c(small_network(kind), tmp_path / name, name=name)
        sources += [folder / f"src/{name}.c", folder / f"test/{name}_selftest.c"]
        includes.append(f"-I{folder / 'include'}")
    main = tmp_path / "main.c"
    main.write_text(
        '#include "one.h"\n#include "two.h"\n'
        "int one_selftest(void);\nint two_selftest(void);\n"
        "static union {\n    one_t one;\n    two_t two;\n} shared;\n"
        "int main(void)\n{\n    one_init(&shared.one);\n    two_init(&shared.two);\n"
        "    return one_selftest() + two_selftest();\n}\n"
    )
    options = ("-DONE_SELFTEST_NO_MAIN", "-DTWO_SELFTEST_NO_MAIN", "-std=c99", *build.flags)
    result = call("gcc", *options, *includes, main, *sources, "-o", "both", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert call(tmp_path / "both", cwd=tmp_path).returncode == 0


def test_the_objects_export_only_the_api_and_change_no_globals(folder, tmp_path):
    need("nm")
    build_named("gcc-O2")
    command = ("gcc", "-std=c99", "-fno-pie", "-c", f"-I{folder / 'include'}", folder / "src/kws.c")
    assert call(*command, "-o", "kws.o", cwd=tmp_path).returncode == 0
    symbols = [line.split()[-2:] for line in call("nm", "kws.o", cwd=tmp_path).stdout.splitlines()]
    assert {name for kind, name in symbols if kind.isupper()} == {"kws_init", "kws_run"}
    assert not [name for kind, name in symbols if kind in "bBdDcC"]


def test_weights_can_be_placed_elsewhere(folder, tmp_path):
    build_named("gcc-O2")
    placed = '-DKWS_CONST=__attribute__((section(".flash"))) static const'
    command = ("gcc", "-std=c99", "-c", f"-I{folder / 'include'}", placed, folder / "src/kws.c")
    assert call(*command, "-o", "kws.o", cwd=tmp_path).returncode == 0
    assert ".flash" in call("size", "-A", "kws.o", cwd=tmp_path).stdout


def test_the_float_helpers_are_those_of_python(tmp_path):
    build_named("gcc-O2")
    b = Builder(0)
    x = b.input((41,), zero=-17)
    network = b.network(b.add(il.Clamp, [x], (41,), zero=-17, lower=-128, upper=127))
    folder = export_c(network, tmp_path / "kws", name="kws")
    real = np.concatenate([np.linspace(-40, 40, 33), [0.125, -0.125, 0.375, 1e9, -1e9, 0, 1, 2]])
    values = ", ".join(map(repr, real.tolist()))
    source = tmp_path / "main.c"
    source.write_text(
        "#include <stdio.h>\n#define KWS_WITH_FLOAT\n" '#include "kws.h"\n'
        f"static const double real[41] = {{ {values} }};\n"
        "int main(void)\n{\n    for (int i = 0; i < 41; i++) {\n"
        "        const int8_t q = kws_quantize_input(real[i]);\n"
        '        printf("%d %.17g\\n", q, kws_dequantize_output(q));\n    }\n    return 0;\n}\n'
    )  # fmt: skip
    result = call("gcc", "-std=c99", f"-I{folder / 'include'}", source, "-o", "p", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in call(tmp_path / "p", cwd=tmp_path).stdout.splitlines()]
    q = network.quantize_input(real[None])
    assert [int(row[0]) for row in rows] == q[0].tolist()
    assert [float(row[1]) for row in rows] == network.dequantize_output(q)[0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
def test_no_small_network_gives_a_warning_at_any_level(tmp_path, compiler, level):
    need(compiler)
    for name in SMALL_NETWORKS:
        folder = export_c(small_network(name), tmp_path / name, name="kws")
        flags = ("-std=c99", level, *WARNINGS, f"-I{folder / 'include'}")
        result = call(compiler, *flags, "-c", folder / "src/kws.c", "-o", "k.o", cwd=tmp_path)
        assert result.returncode == 0, f"{name}: {result.stderr}"


@pytest.mark.slow
def test_cppcheck_finds_nothing(tmp_path):
    need("cppcheck")
    for name in ("residual", "conv_int4", "transposed", "average_divide", "concat", "conv_scale"):
        folder = export_c(small_network(name), tmp_path / name, name="kws")
        result = call(
            "cppcheck", "--std=c99", "--enable=warning,performance,portability",
            "--error-exitcode=1", "--inline-suppr", f"-I{folder / 'include'}",
            folder / "src/kws.c", cwd=tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, f"{name}: {result.stderr}"


PROFILE = """
#include <stdint.h>
extern int32_t order[64];
extern int32_t calls;
#define KWS_PROFILE(position) (order[calls++] = (position))
"""

MAIN = """
#include <string.h>
#include "kws.h"
#include "kws_golden.h"
#include "profile.h"

int32_t order[64];
int32_t calls;

int main(void)
{
    static kws_t net;
    static int8_t output[KWS_OUTPUT_SIZE];

    kws_init(&net);
    memcpy(kws_input(&net), kws_golden_input, KWS_INPUT_SIZE);
    kws_run(&net, kws_input(&net), output);
    for (int32_t i = 0; i < calls; i++) {
        if (order[i] != i) {
            return 1;
        }
    }
    if (calls != (KWS_LAYERS + 1)) {
        return 2;
    }
    return (memcmp(output, kws_golden_output, KWS_OUTPUT_SIZE) == 0) ? 0 : 3;
}
"""


@pytest.mark.parametrize("flip", [False, True])
def test_an_input_in_the_arena_and_the_hook_for_profiling_work_as_documented(tmp_path, flip):
    b = Builder(0)
    x = b.add(il.Clamp, [b.input((4, 4, 8))], (4, 4, 8), lower=-90, upper=90)
    network = b.network(b.add(il.Clamp, [x], (4, 4, 8), lower=-50, upper=50))
    folder = export_c(network, tmp_path / "kws", name="kws", input_in_arena=True)
    (tmp_path / "profile.h").write_text(PROFILE)
    text = MAIN.replace("kws_golden_input,", "kws_golden_input + 1,") if flip else MAIN
    (tmp_path / "main.c").write_text(text)
    flags = (*build_named("gcc-O2").flags, "-std=c99", "-I.", "-Ikws/include", "-Ikws/test")
    sources = ("main.c", "kws/src/kws.c")
    result = call("gcc", *flags, "-include", "profile.h", *sources, "-o", "t", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert call("./t", cwd=tmp_path).returncode == (3 if flip else 0)
    assert call("make", "test", cwd=folder).returncode == 0
