"""Open sets (strategies, losses, sources, metrics, explainers): a name, a function, one decorator line."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from cellml.errors import UserError, near

T = TypeVar("T", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Named functions that may stand in an experiment file.

    Example:
        >>> LOSSES: Registry = Registry("loss")
        >>> @LOSSES.register("mse")
        ... def mse(): "Squared error."
        >>> LOSSES.describe()
        [('mse', 'Squared error.')]
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: dict[str, T] = {}
        self._marks: dict[str, frozenset[str]] = {}

    def register(self, name: str, *marks: str) -> Callable[[T], T]:
        """Decorator that adds a member under a name, described by its first docstring line; see `marked`."""

        def add(member: T) -> T:
            if name in self._members:
                raise ValueError(f"the {self.kind} {name!r} is registered twice")
            if not inspect.getdoc(member):
                raise ValueError(f"the {self.kind} {name!r} has no docstring")
            self._members[name] = member
            self._marks[name] = frozenset(marks)
            return member

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            raise UserError(f"Expected {_a(self.kind)}, got {name!r}: {near(name, self._members)}")
        return self._members[name]

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def marked(self, name: str, mark: str) -> bool:
        """Whether a member was registered with a mark."""
        return mark in self._marks[name]

    def describe(self) -> list[tuple[str, str]]:
        """Each member's name and one-line description, in order of registration."""
        return [(name, (inspect.getdoc(f) or "").splitlines()[0]) for name, f in self._members.items()]

    def option_names(self, name: str) -> list[str]:
        """The keyword options that a member takes."""
        parameters = inspect.signature(self[name]).parameters.values()
        return [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]

    def options(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Check keyword options from an experiment file against a member's keyword-only parameters.

        Raises:
            UserError: an option that the member does not take.
        """
        known = self.option_names(name)
        for key in given:
            if key not in known:
                hint = near(key, known) if known else "it takes no options"
                raise UserError(f"Unknown option {key!r} of {self.kind} {name!r}: {hint}")
        return dict(given)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
