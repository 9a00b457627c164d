import pytest

from cellml.errors import UserError, near
from cellml.registry import Registry


@pytest.fixture
def registry():
    made = Registry("loss")

    @made.register("mse")
    def mse(x, *, power: float = 2.0):
        """Squared error.

        More words.
        """

    return made


def test_members_are_found_described_and_misspelt_ones_refused(registry):
    assert registry.describe() == [("mse", "Squared error.")]
    assert "mse" in registry
    assert list(registry) == ["mse"]
    with pytest.raises(UserError, match="Expected a loss, got 'mes': did you mean 'mse'"):
        registry["mes"]


def test_options_are_checked_against_the_keyword_parameters(registry):
    assert registry.options("mse", {"power": 1}) == {"power": 1}
    with pytest.raises(UserError, match="Unknown option 'pwer' of loss 'mse': did you mean 'power'"):
        registry.options("mse", {"pwer": 1})


def test_a_name_is_registered_once_and_with_a_description(registry):
    with pytest.raises(ValueError, match="twice"):
        registry.register("mse")(lambda: None)
    with pytest.raises(ValueError, match="docstring"):
        registry.register("mae")(lambda: None)


def test_near_names_close_ones_first_and_lists_the_rest():
    assert near("balancd", ["balanced", "none"]) == "did you mean 'balanced'?"
    assert near("zzz", ["b", "a"]) == "known: a, b"
    assert near("zzz", map(str, range(99))).endswith(", ...")
