import pytest

from cellml.errors import UserError
from cellml.models.temporal import names


@pytest.mark.parametrize(
    ("name", "parts", "temporal"),
    [
        ("resnet18", ("resnet18", ""), False),
        ("resnet18.a1_in1k+gru", ("resnet18.a1_in1k", "gru"), True),
        ("torchvision/resnet18+tcn", ("torchvision/resnet18", "tcn"), True),
        ("mitosis_cnn", ("mitosis_cnn", ""), False),
        ("tracker", ("tracker", ""), True),
    ],
)
def test_a_name_says_backbone_and_part(name, parts, temporal):
    names.check(name, {})
    assert (names.split(name), names.temporal(name)) == (parts, temporal)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet18+gruu", {}, "temporal part, got 'gruu': did you mean 'gru'"),
        ("resnet18+", {}, "temporal part, got ''"),
        ("resnet17+gru", {}, "Unknown backbone 'resnet17'"),
        ("tracker+gru", {}, "'tracker' alone, got 'tracker\\+gru'"),
        ("tracker", {"filters": 3}, "'tracker' alone"),
        ("resnet18+gru", {"in_chans": 3}, "model.options cannot hold 'in_chans'"),
        ("mitosis_cn", {}, "did you mean 'mitosis_cnn'"),
    ],
)
def test_a_misspelt_name_is_one_line(name, options, said):
    with pytest.raises(UserError, match=said) as caught:
        names.check(name, options)
    assert "\n" not in str(caught.value)


def test_the_list_names_every_part():
    assert {name for name, _ in names.describe()} == {"tracker", "BACKBONE+gru", "BACKBONE+lstm", "BACKBONE+tcn"}
