import re

import pytest

from cellml.compare import latex, table
from cellml.config import Compare


@pytest.fixture
def built(models, test_rows, train_counts):
    return table.build(models, test_rows, train_counts, Compare(resamples=100))


def test_latex_escapes_names_and_balances_columns(built):
    text = latex.render(built)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    head = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert head
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {len(head[1])}
    assert r"recall CD4+\_50\%" in body[0]
    assert r"\textbf{cells.vit\_tiny v1}" in body[1]
    assert text.count(r"\midrule") == 2


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("a_b & 50% #1", r"a\_b \& 50\% \#1"),
        ("\\~^<>", r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}"),
        ("{$x$}", r"\{\$x\$\}"),
    ],
)
def test_latex_specials(plain, escaped):
    assert latex.escaped(plain) == escaped
