"""The text of app files and the names in them, over many values."""

from __future__ import annotations

import ast
import re

from hypothesis import given
from hypothesis import strategies as st

from gnomon.contracts.specs import NAME_PATTERN
from gnomon.importing.app_text import Call, Raw, comment, docstring, import_block, quoted, rendered
from gnomon.importing.names import Names, gnomon_name

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(_VALUES, st.integers(0, 80))
def test_what_is_written_is_read_back(value: object, column: int) -> None:
    assert ast.literal_eval(rendered(value, column)) == value


@given(st.text())
def test_texts_and_docstrings_are_read_back(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert ast.get_docstring(ast.parse(docstring([text])), clean=False) == text + "\n"


@given(st.lists(st.text()))
def test_a_comment_is_one_whatever_is_in_it(notes: list[str]) -> None:
    text = comment(notes)
    assert all(line.startswith("#") for line in text.splitlines())
    assert ast.parse(text).body == []


@given(st.lists(st.text(), max_size=20))
def test_names_are_names_and_each_is_given_once(texts: list[str]) -> None:
    names = Names(coming=texts)
    given_out = [names.take_for(text) for text in texts]
    assert all(re.fullmatch(NAME_PATTERN, name) for name in given_out)
    assert len(set(given_out)) == len(texts)
    for text in set(texts):
        if re.fullmatch(NAME_PATTERN, text):
            assert text in given_out or gnomon_name(text) != text


def test_a_call_that_fits_is_one_line_and_one_that_does_not_is_many() -> None:
    call = Call("gn.Column", ("a",), {"name": None, "tags": {"a": "b"}})
    assert rendered(call) == 'gn.Column("a", tags={"a": "b"})'
    assert rendered(call, 80) == 'gn.Column(\n    "a",\n    tags={"a": "b"},\n)'
    assert rendered([Raw("x")], 200) == "[\n    x,\n]"


def test_imports_stand_in_order() -> None:
    lines = ["import gnomon as gn", "from re import sub", "import math", "from gnomon.x import y", "import math"]
    assert import_block(lines) == "import math\nfrom re import sub\n\nimport gnomon as gn\nfrom gnomon.x import y\n"
