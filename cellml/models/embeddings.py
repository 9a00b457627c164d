"""Embeddings of a whole data set by a frozen backbone, computed once and kept."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cellml.models import backbones
from cellml.models.classifier import Classifier

_SPEC = ("backbone", "options", "channels", "dtype", "size", "crop", "low", "high", "mean", "std")
_PROBES = 64  # rows whose pixels go into the key


def embed(
    classifier: Classifier,
    prepared: npt.NDArray,
    *,
    digest: str,
    cache_dir: str | Path,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Embed prepared images, or read what an earlier call kept.

    Kept as `<key>.npy`, written atomically; the key covers the backbone, its options, all weights but the last
    layer's, the input (size, crop, scaling), the digest, and the pixels of a few rows spread over the array.

    Args:
        classifier: used in evaluation mode, on the device where it is; its mode is restored.
        prepared: (N, S, S, C) uint8 or uint16, cropped and resized raw pixel values.
        digest: of the data set whose rows these are, in this order.
        cache_dir: made where absent.
        batch_size: images at a time.
        on_batch: called with the number of images done, after each batch that is computed.

    Returns:
        (N, D) float32.
    """
    file = Path(cache_dir) / f"{key(classifier, prepared, digest)}.npy"
    return kept(file, len(prepared), lambda: compute(classifier, prepared, batch_size, on_batch))


def kept(file: Path, rows: int, compute: Callable[[], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The (rows, D) array of an earlier call in `file`, else computed and written there, atomically."""
    found = _read(file, rows)
    if found is None:
        found = compute()
        _write(file, found)
    return found


def key(classifier: Classifier, prepared: npt.NDArray, digest: str) -> str:
    """32 hex digits of everything that the embeddings depend on."""
    spec = json.loads(classifier.spec.to_json())
    heads = tuple(f"{name}." for name, _ in backbones.last_layers(classifier.net))
    content = hashlib.sha256(json.dumps([{k: spec[k] for k in _SPEC}, digest, prepared.shape]).encode())
    for name, value in sorted(classifier.net.state_dict().items()):
        if not name.startswith(heads):
            content.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            content.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    rows = np.unique(np.linspace(0, max(len(prepared) - 1, 0), _PROBES).astype(int))
    if len(prepared):
        content.update(np.ascontiguousarray(prepared[rows]).data)
    return content.hexdigest()[:32]


def compute(
    classifier: Classifier,
    prepared: npt.NDArray,
    batch_size: int = 64,
    on_batch: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Embed prepared images without keeping the result; arguments and result as of `embed`."""
    device = next(classifier.parameters()).device
    training = classifier.training
    classifier.eval()
    parts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(prepared), batch_size):
                raw = torch.from_numpy(np.ascontiguousarray(prepared[start : start + batch_size]))
                images = raw.to(device).to(torch.float32).permute(0, 3, 1, 2).contiguous()
                parts.append(classifier.embed(images).float().cpu().numpy())
                if on_batch is not None:
                    on_batch(min(start + batch_size, len(prepared)))
    finally:
        classifier.train(training)
    return np.concatenate(parts)


def _read(file: Path, rows: int) -> npt.NDArray[np.float32] | None:
    if not file.is_file():
        return None
    try:
        kept = np.load(file, allow_pickle=False)
    except (ValueError, EOFError):  # damaged: compute again
        return None
    return kept if kept.ndim == 2 and len(kept) == rows else None


def _write(file: Path, result: npt.NDArray[np.float32]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, result)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
