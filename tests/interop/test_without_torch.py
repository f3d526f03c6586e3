"""The package without torch: nothing but its own interface misses it."""

import subprocess
import sys


def python(text):
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_missing_torch_is_named_with_its_remedy():
    code, shown = python(
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import aidge_quant as aq, aidge_quant.training\n"
        "from aidge_quant.errors import UnsupportedError\n"
        "try:\n"
        "    import aidge_quant.interop.torch\n"
        "except UnsupportedError as error:\n"
        "    print('refused:', error)\n"
    )
    assert code == 0, shown
    assert "refused: aidge_quant.interop.torch needs torch" in shown
    assert "pip install 'aidge-quant[torch]'" in shown


def test_the_package_does_not_import_torch():
    code, shown = python(
        "import sys, aidge_quant, aidge_quant.training, aidge_quant.lsq, aidge_quant.sat\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert code == 0, shown
