"""The benchmark table as LaTeX."""

import pandas as pd

from cellml.compare import formats

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\n": " ",
}


def render(table: pd.DataFrame) -> str:
    """The table's main columns as a LaTeX `tabular` with booktabs rules, the best row in bold, names escaped."""
    columns = formats.short(table)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        *(f"% {escaped(line)}" for line in formats.remarks(table)),
        "\\begin{tabular}{" + "".join("r" if column.right else "l" for column in columns) + "}",
        "\\toprule",
        " & ".join(escaped(column.name) for column in columns) + r" \\",
        "\\midrule",
    ]
    for row in table.to_dict("records"):
        cells = [escaped(column.text(row)) for column in columns]
        if formats.rank(row) == "1":
            cells = [rf"\textbf{{{cell}}}" if cell else "" for cell in cells]
        if formats.is_baseline(row) and lines[-1] != "\\midrule":
            lines.append("\\midrule")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escaped(text: str) -> str:
    """Text with the characters that LaTeX reads as commands escaped."""
    return "".join(_SPECIAL.get(c, c) for c in text)
