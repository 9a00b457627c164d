import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_model_name, _validate_param_name

from cellml.tracking.names import metric_key, model_name, slug, unslug

AWKWARD = st.text(st.sampled_from("-0x2Faz./: +(_~@é\n\x00"), max_size=12)


@pytest.mark.parametrize("text", [st.text(), AWKWARD], ids=["any", "awkward"])
def test_slug_is_reversible_and_accepted_by_mlflow(text):
    @given(text)
    @example("")
    @example("..")
    @example("-0x2F-")
    @example("/0x2F-")
    @example("-0x")
    @example(" ")
    @example("a/../b")
    def check(name):
        encoded = slug(name)
        assert unslug(encoded) == name
        _validate_model_name(encoded)
        _validate_metric_name(encoded)
        _validate_metric_name(metric_key("val", name))
        _validate_param_name(encoded)
        assert unslug(slug(encoded)) == encoded

    check()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("ami-br", "ami-br"),
        ("T cell", "T cell"),
        ("Zelle ä", "Zelle ä"),
        ("torchvision/resnet18", "torchvision-0x2F-resnet18"),
        ("CD4+", "CD4-0x2B-"),
    ],
)
def test_slug_leaves_a_person_something_to_read(name, expected):
    assert slug(name) == expected


def test_model_name_joins_two_slugs():
    assert model_name("ami/br") == "ami-0x2F-br"
    assert model_name("ami-br", "torchvision/resnet18") == "ami-br.torchvision-0x2F-resnet18"


def test_metric_key_keeps_the_prefix_as_a_folder():
    assert metric_key("val", "recall_CD4+") == "val/recall_CD4-0x2B-"
