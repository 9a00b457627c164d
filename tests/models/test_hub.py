import pytest

from cellml.models import hub


@pytest.mark.parametrize("unknown", ["img_size", "drop_rate"])
def test_what_a_family_does_not_know_is_left_out_unless_it_was_asked_for(monkeypatch, unknown):
    def create(name, **options):
        if unknown in options:
            raise TypeError(f"Net.__init__() got an unexpected keyword argument '{unknown}'")
        return options

    monkeypatch.setattr(hub.timm, "create_model", create)
    built = hub.build("test_resnet", 3, 2, size=32, dropout=0.0, options={}, pretrained=False)
    assert built["num_classes"] == 2
    with pytest.raises(TypeError, match=unknown):
        hub.build("test_resnet", 3, 2, size=32, dropout=0.5, options={"img_size": 64}, pretrained=False)
