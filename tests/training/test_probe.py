"""The linear probe is scikit-learn's balanced logistic regression on the network's embeddings."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cellml.training import probe
from cellml.training.job import initial
from tests.training.helpers import experiment


def test_it_equals_scikit_learn(tiny):
    train = tiny.manifest.split("train")
    torch.manual_seed(0)
    pixels = tiny.pixels.resized(None, 24, train.rows)
    model = initial(experiment(), train, pixels, None)
    fitted = probe.fit(model, tiny, train, 0.02)
    assert model.training
    with torch.no_grad():
        x = model.eval().embed(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).double().numpy()
    y = train.targets
    weights = 1 / np.bincount(y)[y]
    # our features are standardised without the weights, our penalty is for weights of mean 1
    z = StandardScaler().fit_transform(x)
    peer = LogisticRegression(C=1 / (0.02 * len(y)), class_weight="balanced", tol=1e-10, max_iter=5000).fit(z, y)
    np.testing.assert_allclose(fitted.probabilities(x), peer.predict_proba(z), atol=1e-4)
    assert not np.allclose(weights, weights.mean())
