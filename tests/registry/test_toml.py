"""Laws of reading TOML from strangers: the same tables as the standard reader, in bounded time."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.storage import toml

DEEP = "a." * 40
pieces = st.sampled_from(
    [
        "a = 1\n",
        "[b.c]\n",
        '"',
        "'",
        '"""',
        "'''",
        "\\",
        "#",
        "\n",
        "x.y",
        " = ",
        DEEP,
        "{",
        "}",
        "[1.5]",
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        f"{DEEP}a = 1",
        f"[{DEEP}a]",
        f"[[{DEEP}a]]",
        f"a = {{{DEEP}a = 1}}",
        f"a = [{{b = 1, {DEEP}a = 1}}]",
        " . ".join(["a"] * 40) + " = 1",
        ".".join(['"a b"', "'c.d'"] * 20) + " = 1",
        f'a = """x""""\n{DEEP}a = 1',
        f"a = {{b = '''x''''', {DEEP}a = 1}}",
        f'a = "x\\"" # "\n{DEEP}a = 1',
    ],
)
def test_a_key_of_too_many_parts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than 32 parts"):
        toml.read(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        f'a = "{DEEP}"',
        f"a = '{DEEP}'",
        f'a = """\n{DEEP}\n"""',
        f"a = '''\n{DEEP}\n'''",
        f"# {DEEP}\na = 1",
        f'a = "\\"{DEEP}"',
        ".".join(["a"] * 32) + " = 1",
        f"a = [{'1.5, ' * 40}]",
    ],
)
def test_dots_elsewhere_are_no_parts(text: str) -> None:
    assert toml.read(text.encode()) == tomllib.loads(text)


@given(st.lists(pieces, max_size=12).map("".join))
def test_no_key_hides_from_the_guard(text: str) -> None:
    """What the guard lets pass and the standard reader understands has no key of so many parts."""
    try:
        table = toml.read(text.encode())
    except ValueError:
        return
    assert table == tomllib.loads(text)
    assert depth_of(table) <= toml.MOST_PARTS


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((1 + depth_of(item) for item in inner), default=0)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 500_000,
        '"""' * 350_001,
        '"""\\"' * 200_000,
        "'''a" * 250_000,
        "a" * 1_000_000,
        "a = [" * 200_000,
        "a = {" * 200_000,
        " " * 1_000_000 + ".",
    ],
)
def test_a_megabyte_of_anything_is_refused_in_bounded_time(text: str) -> None:
    with pytest.raises(ValueError):
        toml.read(text.encode())
