"""Spelling of Python values in C99; knows nothing of networks."""

import re
from collections.abc import Iterable

import numpy as np

from aidge_quant.errors import ExportError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that a C or C++ compiler keeps for itself, in lower case: the upper-case form of a network's
# name becomes the prefix of its macros.
_KEYWORDS = _words(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
    char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
    constinit continue decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long main mutable namespace new noexcept not
    not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires
    restrict return short signed sizeof static static_assert static_cast struct switch template
    this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned
    using virtual void volatile wchar_t while xor xor_eq
    """
)

# The header NAME.h would hide one of the compiler's, or the type NAME_t is one of its types.
_HEADERS = _words(
    """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string strings
    tgmath threads time uchar wchar wctype unistd features endian alloca malloc memory
    """
)
_TYPES_TAKEN = re.compile(
    r"(u?int(\d+|ptr|max|_least\d+|_fast\d+)|size|ssize|ptrdiff|wint|clock|clockid|timer|l{0,2}div"
    r"|imaxdiv|fpos|mbstate|max_align|sig_atomic|off|pid|uid|gid|dev|ino|mode|nlink|key|id|loff"
    r"|blk(size|cnt)|u?suseconds|useconds|va_list|once_flag|mtx|thrd|tss|cnd)\Z"
)

# Targets that CMake makes itself.
_TARGETS = _words("all clean depend edit_cache help install package rebuild_cache test")

# The longest name: the standard promises 63 significant characters of an internal name.
_LONGEST_NAME = 31

_TYPES = {1: "int8_t", 2: "int16_t", 4: "int32_t"}


def check_name(name: str) -> str:
    """Return ``name`` if it may prefix every identifier and file of an export.

    Raises
    ------
    ExportError
        If it is no C identifier, a keyword of C or C++, or reserved by the language.
    """
    remedy = "choose letters, digits and _ with a letter first, for example 'kws'"
    if not isinstance(name, str) or not _IDENTIFIER.match(name):
        raise ExportError(f"export name {name!r} is not a C identifier; {remedy}")
    if len(name) > _LONGEST_NAME:
        raise ExportError(
            f"export name {name!r} has {len(name)} characters, expected at most {_LONGEST_NAME}"
        )
    lower = name.lower()
    if lower in _KEYWORDS:
        raise ExportError(f"export name {name!r} is a reserved word of C or C++; {remedy}")
    if lower in _HEADERS or _TYPES_TAKEN.match(lower):
        raise ExportError(
            f"export name {name!r} is taken by the C library: {name}.h or {name}_t; {remedy}"
        )
    if lower in _TARGETS:
        raise ExportError(f"export name {name!r} is taken by the build tools; {remedy}")
    if name.endswith("_") or "__" in name:
        raise ExportError(
            f"export name {name!r} would give names with __, which C++ reserves; {remedy}"
        )
    return name


def identifier(text: str, limit: int = 31) -> str:
    """Return ``text`` as the later part of a C identifier: letters, digits, single underscores.

    Different texts may give the same result: see `unique_identifiers`.
    """
    cleaned = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return cleaned[:limit].strip("_") or "x"


def unique_identifiers(texts: Iterable[str], limit: int = 31) -> list[str]:
    """Return an identifier part for every text, no two alike, not even in upper case."""
    taken: set[str] = set()
    result = []
    for text in texts:
        base = candidate = identifier(text, limit)
        number = 2
        while candidate.upper() in taken:
            candidate = f"{base}_{number}"
            number += 1
        taken.add(candidate.upper())
        result.append(candidate)
    return result


def comment(text: str, limit: int = 72) -> str:
    """Return ``text`` so that it is safe inside a C comment, a C string and a line of Markdown.

    Only printable ASCII is left, without backslash, quote, question mark (trigraphs), pipe,
    backquote, percent, angle brackets and the two marks of a comment; the rest becomes ``_`` each.
    """
    safe = re.sub(r"[^ A-Za-z0-9_.,:;+=@#()\[\]{}/*-]", "_", str(text))
    safe = safe.replace("*/", "*_").replace("/*", "/_").replace("//", "/_")
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def c_type(itemsize: int) -> str:
    """Return the signed type of ``itemsize`` bytes: 1, 2 or 4."""
    return _TYPES[itemsize]


def c_literal(value: int) -> str:
    """Return ``value``, within int32, as a constant; the smallest int32 has no direct spelling."""
    return "(-2147483647 - 1)" if int(value) == -(2**31) else str(int(value))


def c_double(value: float) -> str:
    """Return a double constant that reads back as exactly ``value``."""
    text = repr(float(value))
    return text if any(mark in text for mark in ".e") else text + ".0"


def c_array(array: np.ndarray, width: int = 100) -> str:
    """Return the initializer list of ``array``, flat, indented, in lines up to ``width``."""
    lines, line = [], "   "
    for value in np.ravel(array).tolist():
        word = f" {c_literal(value)},"
        if len(line) + len(word) > width:
            lines.append(line)
            line = "   "
        line += word
    lines.append(line)
    return "\n".join(lines).rstrip(",")


def c_list(values: Iterable[str]) -> str:
    """Return ``{ a, b }`` of ready literals; ``{ 1 }`` for none, as C has no empty list."""
    return "{ " + (", ".join(values) or "1") + " }"


def pack_int4(values: np.ndarray) -> np.ndarray:
    """Return int4 values, -8 to 7, two to a byte: the even positions in the low half.

    Returns
    -------
    uint8 array ((size + 1) // 2,)
    """
    flat = np.ravel(values).astype(np.int64) & 15
    if flat.size % 2:
        flat = np.append(flat, 0)
    return (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)


def c_call(function: str, arguments: Iterable[str], width: int = 100) -> str:
    """Return a call as a statement, indented by 4, continued by 8 more where it is too long."""
    line = f"    {function}("
    lines = []
    words = list(arguments)
    for position, word in enumerate(words):
        last = position == len(words) - 1
        piece = word + (");" if last else ",")
        if len(line) + len(piece) + 1 > width:
            lines.append(line.rstrip())
            line = " " * 12
        line += piece if line.endswith((" ", "(")) else f" {piece}"
    return "\n".join([*lines, line])


def thousands(value: int) -> str:
    """Return ``value`` with spaces between groups of three digits."""
    return f"{value:,}".replace(",", " ")
