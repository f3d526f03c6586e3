"""Spelling in C is exact, and nothing from a model can leave a comment or a string."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidge_quant.errors import ExportError
from aidge_quant.export import ctext


@pytest.mark.parametrize("name", ["kws", "resnet8", "ic_96", "KWS", "a", "streaming_wakeword"])
def test_ordinary_names_are_accepted(name):
    assert ctext.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "8bit", "a-b", "a b", "_x", "int", "class", "Class", "namespace", "int8", "size", "stdint",
     "string", "été", "a/b", "..", "a\n", "x" * 32, "a__b", "a_", "test", "../up", "restrict"],
)  # fmt: skip
def test_names_that_cannot_prefix_c_identifiers_are_refused(name):
    with pytest.raises(ExportError, match="export name"):
        ctext.check_name(name)


@given(st.text())
def test_no_text_leaves_a_comment_a_string_or_a_line(text):
    safe = ctext.comment(text)
    assert len(safe) <= 72
    assert safe.isascii()
    assert safe.isprintable() or safe == ""
    for mark in ("*/", "/*", "//", "\\", '"', "??", "|", "`", "<", "%"):
        assert mark not in safe


@given(st.lists(st.text(), max_size=6))
def test_identifiers_are_unique_in_any_case(texts):
    names = ctext.unique_identifiers(texts)
    assert len({name.upper() for name in names}) == len(texts)
    assert all(name.isascii() and name.replace("_", "a").isalnum() for name in names)


def test_the_smallest_int32_is_an_expression():
    assert ctext.c_literal(-(2**31)) == "(-2147483647 - 1)"
    assert ctext.c_literal(-(2**31) + 1) == "-2147483647"


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_doubles_read_back_exactly(value):
    text = ctext.c_double(value)
    assert float(text) == value
    assert "." in text or "e" in text


def test_int4_values_are_packed_low_half_first():
    packed = ctext.pack_int4(np.array([1, -1, 7, -7, 3], np.int8))
    assert packed.tolist() == [0xF1, 0x97, 0x03]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=60))
def test_arrays_keep_their_values_and_stay_within_the_width(values):
    text = ctext.c_array(np.array(values))
    assert all(len(line) <= 100 for line in text.splitlines())
    assert [eval(v) for v in text.replace("\n", " ").split(",")] == values


def test_long_calls_are_continued():
    text = ctext.c_call("function", ["argument"] * 20)
    lines = text.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 100 for line in lines)
    assert lines[1].startswith(" " * 12 + "argument")
    assert text.endswith("argument);")
