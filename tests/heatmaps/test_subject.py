import numpy as np
import pytest
import torch

from cellml.heatmaps.subject import Averaged, Subject
from cellml.models.ensemble import Ensemble


def test_an_ensembles_logits_are_its_own_log_probabilities(make, dataset, rows):
    """With temperatures, and without turned views: what the registered program says."""
    k = len(dataset.manifest.classes)
    ensemble = Ensemble(
        [make(0, temperature=2.0, offsets=(0.5, *[-0.5 / (k - 1)] * (k - 1))), make(1, temperature=0.5)], [0.25, 0.75]
    ).eval()
    subject = Subject(ensemble, dataset)
    seen = subject.see(rows)
    raw = torch.from_numpy(np.stack(dataset.pixels.images(rows.rows)))
    with torch.no_grad():
        own = subject.network.logits(seen.prepared).softmax(dim=1)
        np.testing.assert_allclose(own.numpy(), ensemble(raw).numpy(), atol=1e-5)


def test_members_of_several_views_have_no_common_network(make, dataset):
    ensemble = Ensemble([make(0), make(1, size=40, crop=28)], [0.5, 0.5])
    assert Subject(ensemble, dataset).network is None
    assert isinstance(Subject(Ensemble([make(0), make(1)], [0.5, 0.5]), dataset).network, Averaged)


def test_masks_mark_where_the_image_shows_the_labelled_cell(classifier, dataset, rows):
    subject = Subject(classifier, dataset)
    masks, images = subject.masks(rows), np.stack(subject.see(rows).images)
    assert masks.shape == images.shape[:3]
    blue = images[..., 2].astype(float)
    assert blue[masks].mean() > 1.5 * blue[~masks].mean()


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_what_is_explained_is_what_is_seen(classifier, dataset, rows, method):
    seen = Subject(classifier, dataset).see(rows)
    classes = np.zeros(len(rows), dtype=np.int64)
    whole = seen.explain(method, classes)
    part = Subject(classifier, dataset).see(rows.where([3, 1])).explain(method, classes[:2])
    np.testing.assert_allclose(part.maps, whole.maps[[3, 1]], atol=1e-4)
