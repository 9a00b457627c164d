"""Which fit is which: by its content."""

import hashlib
import json
from collections.abc import Sequence

import torch

import cellml
from cellml.config import Experiment
from cellml.data.manifest import AUXILIARY, MASK_VALUE, PARENT, TRANSCRIPT, Manifest
from cellml.models.classifier import Classifier

_FURTHER = ("mask", MASK_VALUE, PARENT, TRANSCRIPT)


def key(
    experiment: Experiment, rows: Sequence[Manifest | None], starts: Sequence[Classifier | None], *further: object
) -> str:
    """64 hex digits of all that decides a fit: settings, rows in their order, networks and versions.

    Args:
        experiment: what to train and how.
        rows: to fit to, and to judge by.
        starts: networks to start from, or to look for neighbours with.
        further: whatever else decides it, by its text.
    """
    known = hashlib.sha256(json.dumps([cellml.__version__, torch.__version__, experiment.digest()]).encode())
    for manifest in rows:
        known.update(b"|" if manifest is None else _text(manifest).encode())
    for start in starts:
        known.update(b"|" if start is None else json.dumps(start.spec.to_dict(), sort_keys=True).encode())
        for tensor in () if start is None else start.state_dict().values():
            known.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    known.update(json.dumps([str(one) for one in further]).encode())
    return known.hexdigest()


def _text(rows: Manifest) -> str:
    """What a manifest's digest leaves out and a fit looks at: the order, and further labels."""
    table = rows.table
    named = ["id", *(name for name in table if name in _FURTHER or str(name).startswith(AUXILIARY))]
    return json.dumps([rows.digest, named, table[named].astype(str).to_numpy().tolist()])
