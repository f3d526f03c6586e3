"""The operator table of the README: ``python tests/operator_table.py`` writes it anew."""

from pathlib import Path

from aidge_quant.onnx_io.support import operator_table_markdown

README = Path(__file__).resolve().parents[1] / "README.md"
START = "<!-- operators: python tests/operator_table.py -->\n"
END = "<!-- end of operators -->\n"


def renewed(text: str) -> str:
    """Return the README with the table that the code gives now."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{operator_table_markdown().strip()}\n\n{END}{after}"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
