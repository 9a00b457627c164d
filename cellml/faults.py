"""Experiment files as YAML, and what is wrong with one in plain words."""

from textwrap import shorten
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cellml.errors import near

Model = type[BaseModel]
_WANTED = {  # pydantic's type of an error -> what is expected there
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), "KEY: VALUE lines"),
    "string_type": "a text",
    "list_type": "a list such as [a, b]",
    "finite_number": "a finite number",
}
_BRANCHES = ("str", "SplitTable", "Range")  # names that pydantic puts into the path of a union


def read(text: str) -> Any:
    """The tree that a YAML text holds; a key given twice is an error.

    Raises:
        yaml.YAMLError: see `of_yaml`.
    """
    return yaml.load(text, _Unique)


def of_values(error: ValidationError, model: Model) -> str:
    """The first value of a model's tree that does not fit: its dotted path, what was expected and what came."""
    structured = ("extra_forbidden", "missing", "value_error")  # of a union's branches, the one that was meant
    first = next((e for e in error.errors() if e["type"] in structured), error.errors()[0])
    parts = [part for part in first["loc"] if part not in _BRANCHES and "[" not in str(part)]
    path = ".".join(map(str, parts))
    if first["type"] == "extra_forbidden":
        return f"unknown key {path!r}: {near(parts[-1], _keys_at(model, parts[:-1]))}"
    if first["type"] == "missing":
        return f"expected a value for {path!r}, found none; add it"
    got = first["input"]
    whole = isinstance(got, BaseModel) or (isinstance(got, dict) and first["type"] == "value_error")
    shown = "" if whole or not path else f", got {shorten(repr(got), 80, placeholder=' ...')}"
    return f"{path + ': ' if path else ''}{_wanted(first)}{shown}"


def of_yaml(error: Exception) -> str:
    """Where a text is no YAML, and why."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if not mark or not problem:
        return " ".join(str(error).split())
    if "'\\t'" in problem:
        problem = "a tab where YAML takes only spaces; replace it"
    return f"line {mark.line + 1}: {' '.join(problem.split())}"


class _Unique(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice, of which plain YAML keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, each key once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _wanted(error: Any) -> str:
    if error["type"] in _WANTED:
        return f"expected {_WANTED[error['type']]}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return message[:1].lower() + message[1:]


def _keys_at(model: Model, location: list[Any]) -> list[str]:
    section: Model | None = model
    for part in location:
        fields = section.model_fields if section else {}
        if part in fields:  # else the key of a dict or the place in a list of sections
            section = _section(fields[part].annotation)
    return list(section.model_fields) if section else []


def _section(annotation: Any) -> Model | None:
    """The section that an annotation names, also within a union, a list or a dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
