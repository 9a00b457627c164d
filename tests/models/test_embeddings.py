import numpy as np
import pytest
import torch

from cellml.models import classifier, embeddings


@pytest.fixture
def model(make_spec):
    return classifier.build(make_spec())


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 64, 64, 3), dtype=np.uint8)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_embeddings_are_the_networks_in_evaluation_mode(model, pixels, tmp_path):
    done = []
    model.train()
    result = embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path, batch_size=4, on_batch=done.append)
    assert model.training
    assert done == [4, 8, 11]
    model.eval()
    with torch.no_grad():
        expected = model.embed(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_second_call_reads_what_the_first_kept(model, pixels, tmp_path, monkeypatch):
    first = embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path / "new")
    assert files(tmp_path / "new") == [embeddings.key(model, pixels, "d") + ".npy"]
    monkeypatch.setattr(classifier.Classifier, "embed", None)
    assert np.array_equal(embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path / "new"), first)


def test_key_changes_with_all_that_matters_and_nothing_else(model, pixels, make_spec):
    key = embeddings.key(model, pixels, "d")

    def other(**changes):
        return embeddings.key(classifier.Classifier(make_spec(**changes), model.net), pixels, "d")

    with torch.no_grad():
        model.net.fc.weight.add_(1)
    assert embeddings.key(model, pixels, "d") == key
    assert other(tta="d4", temperature=2.0, classes=("a", "b", "c"), strategy="balanced") == key
    changed = {
        embeddings.key(model, pixels, "e"),
        embeddings.key(model, pixels[::-1], "d"),
        embeddings.key(model, pixels[:5], "d"),
        embeddings.key(model, pixels.astype(np.uint16), "d"),
        other(crop=None),
        other(mean=(0.1, 0.2, 0.3)),
    }
    with torch.no_grad():
        model.net.conv1[0].weight[0, 0, 0, 0] += 1e-3
    changed.add(embeddings.key(model, pixels, "d"))
    model.net.bn1.running_mean[0] += 1
    changed.add(embeddings.key(model, pixels, "d"))
    assert len(changed - {key}) == 8


def test_damaged_files_are_computed_again(model, pixels, tmp_path):
    first = embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    for content in (b"", b"junk", file.read_bytes()[:200]):
        file.write_bytes(content)
        np.testing.assert_array_equal(embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path), first)
    np.testing.assert_array_equal(np.load(file), first)


def test_an_interrupted_computation_leaves_nothing(model, pixels, tmp_path):
    def stop(done):
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path, on_batch=stop)
    assert files(tmp_path) == []
    assert model.training


def test_sixteen_bit_pixels(make_spec, tmp_path):
    model = classifier.build(make_spec(channels=2, dtype="uint16"))
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 64, 64, 2), dtype=np.uint16)
    result = embeddings.embed(model, pixels, digest="d", cache_dir=tmp_path)
    model.eval()
    with torch.no_grad():
        raw = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)
        np.testing.assert_allclose(result, model.embed(raw).numpy(), atol=1e-5)
