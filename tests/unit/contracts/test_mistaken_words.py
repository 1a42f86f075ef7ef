"""A mistyped word of a definition: the error names the part, the value and the word that was probably meant."""

from collections.abc import Callable

import pytest

import gnomon as gn
from gnomon.errors import InvalidDefinition


@pytest.mark.parametrize(
    ("define", "message", "hint"),
    [
        (lambda: gn.Field("itn64"), "field: dtype: .*got 'itn64'", "did you mean 'int64'?"),
        (lambda: gn.Aggregation("x", "cuont", window="7d"), "function: .*cuont", "did you mean 'count'?"),
        (lambda: gn.Aggregation("x", "sum", windwo="7d", window="7d"), "no such field", "did you mean 'window'?"),
        (lambda: gn.Aggregation("x", "sum", windwo="7d"), "windwo: no such field", "did you mean 'window'?"),
        (lambda: gn.TabularMLP(epochz=3), "tabular_mlp: epochz: no such field", "did you mean 'epochs'?"),
        (lambda: gn.Field("qqq"), "got 'qqq'", "known: "),
    ],
)  # fmt: skip
def test_the_nearest_word_is_named(define: Callable[[], object], message: str, hint: str) -> None:
    with pytest.raises(InvalidDefinition, match=message) as caught:
        define()
    assert caught.value.hint.startswith(hint)
