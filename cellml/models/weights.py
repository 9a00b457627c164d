"""Reading weights from a file and fitting them into a network."""

import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from cellml.errors import UserError

State = dict[str, torch.Tensor]
_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model", "module")
_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin")


def read(path: str | Path) -> State:
    """Read a file of named tensors; nothing in it is ever executed.

    Args:
        path: .safetensors, .npz (arrays by key) or .pth/.pt/.bin (torch, tensors only; a `state_dict` or `model`
            entry and a `module.` prefix are unwrapped); environment variables such as $CELLML_DATA are filled in.

    Raises:
        UserError: no such file, another kind of file, or a file that holds anything but tensors.
    """
    file = find(path)
    try:
        return _read(file)
    except (safetensors.SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise _unreadable(file, error) from error
    except (RuntimeError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from error


def find(path: str | Path) -> Path:
    """The file that model.weights names, environment variables filled in.

    Raises:
        UserError: no such file, or another kind of file.
    """
    file = Path(os.path.expandvars(path)).expanduser()
    if file.suffix not in _SUFFIXES:
        raise UserError(
            f"Expected model.weights to be none, pretrained, models:/NAME@ALIAS or a file ({', '.join(_SUFFIXES)}), "
            f"got {str(path)!r}"
        )
    if not file.is_file():
        raise UserError(f"Expected a weights file, found none at {path}; set model.weights to an existing file")
    return file


def adapt_channels(kernel: torch.Tensor, channels: int) -> torch.Tensor:
    """Convert a first convolution's kernel to another number of input channels.

    One channel: the sum over channels. Others: the channels repeated in turn, scaled by old / new, so that an image
    of equal channels gives the same response. The rule of timm's `adapt_input_conv`, for any old number.

    Args:
        kernel: (O, I, h, w).
        channels: new I.

    Returns:
        (O, channels, h, w).
    """
    old = kernel.shape[1]
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    repeats = -(-channels // old)
    return kernel.repeat(1, repeats, 1, 1)[:, :channels] * (old / channels)


def fit_into(net: nn.Module, state: Mapping[str, torch.Tensor], heads: Sequence[str], source: str) -> None:
    """Load weights: strict on the trunk; a head of another shape stays fresh; the first convolution is adapted.

    Args:
        net: changed in place.
        state: tensors by key.
        heads: dotted names of the last layers, whose tensors may be missing or of another shape.
        source: what the weights are called in an error.

    Raises:
        UserError: keys missing, unexpected or of another shape, with their counts.
    """
    own = net.state_dict()
    prefixes = tuple(f"{head}." for head in heads)
    stems = tuple(f"{head.split('.')[0]}." for head in heads)
    fitted = {key: _adapted(value, own[key]) for key, value in state.items() if key in own}
    wrong = [key for key, value in fitted.items() if value.shape != own[key].shape]
    fresh = {key for key in own if key.startswith(prefixes) and (key not in fitted or key in wrong)}
    missing = [k for k in own if k not in fitted and k not in fresh and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own and not key.startswith(stems)]
    wrong = [key for key in wrong if key not in fresh]
    if missing or unexpected or wrong:
        faults = [
            f"{len(keys)} {kind} (such as {keys[0]!r})"
            for kind, keys in [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
            if keys
        ]
        raise UserError(
            f"The weights {source} do not fit the backbone: of its {len(own)} tensors, {', '.join(faults)}; "
            "set model.weights to a file of this architecture, or model.backbone to the file's"
        )
    net.load_state_dict({**own, **{key: value for key, value in fitted.items() if key not in fresh}})


def _read(file: Path) -> State:
    if file.suffix == ".safetensors":
        return safetensors.torch.load_file(file)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    content = torch.load(file, map_location="cpu", weights_only=True)
    for nest in _NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise TypeError("it holds something else than named tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).strip().splitlines()[0][:200]
    return UserError(
        f"Expected named tensors alone in the weights file {file}, it cannot be read so: {reason}; "
        "save the network's state_dict() as .safetensors"
    )


def _adapted(value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    first = value.ndim == own.ndim == 4 and value.shape[1] != own.shape[1]
    if first and value.shape[0] == own.shape[0] and value.shape[2:] == own.shape[2:]:
        return adapt_channels(value, own.shape[1])
    return value
