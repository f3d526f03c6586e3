"""What is shown while a command works."""

import io

import pytest
from rich.console import Console

from aidge_quant.commands.progress import Steps


def work(steps):
    with steps:
        steps.begin("reading")
        steps.begin("quantizing")
        steps.tell("search", 0.0)
        for share in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
            steps.tell("search", share)
        steps.tell("search", 0.0)
        steps.tell("rounding", 0.0)


LINES = [
    "reading ...",
    "quantizing ...",
    "  search ...",
    "  search: 25 %",
    "  search: 50 %",
    "  search: 75 %",
    "  rounding ...",
]


def test_plain_lines_go_to_standard_error(capsys):
    work(Steps(Console(file=io.StringIO())))
    said = capsys.readouterr()
    # capsys is no terminal
    assert said.err.splitlines() == ["reading ...", *LINES[1:3], *LINES[3:]]
    assert said.out == ""


@pytest.mark.parametrize("live", [True, False])
def test_a_terminal_gets_one_line_that_is_wiped_out(live):
    file = io.StringIO()
    work(Steps(Console(file=file, force_terminal=True, width=100), live=live))
    if not live:
        assert file.getvalue().splitlines() == LINES
        return
    assert "quantizing: rounding" in file.getvalue()
    assert "  search: 25 %" not in file.getvalue()
    assert file.getvalue().rstrip().endswith("\x1b[2K")


def test_the_line_ends_with_an_error():
    file = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Steps(Console(file=file, force_terminal=True)):
        raise ValueError("broken")
    assert file.getvalue().rstrip().endswith("\x1b[2K")
