"""The section of the experiment file on the classifier."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from cellml.config.base import Section


class Lora(Section):
    """Low-rank updates of the backbone's layers, W + (alpha / rank) B A."""

    rank: int = Field(8, ge=1, le=256)
    alpha: float = Field(16.0, gt=0)
    targets: list[str] = []  # layers by name or its end, with *: qkv, blocks.*.mlp.fc1; empty: qkv, proj, fc1, fc2, ...


class Model(Section):
    """The classifier."""

    backbone: str = "resnet10t"  # any timm name, or torchvision/<name>
    weights: str = "none"  # none, pretrained, a local file, or models:/NAME@ALIAS
    # finetune: every weight; last_stage: the last stage and the head; lora: low-rank updates and the last layer;
    # head: a head with a hidden layer by itself; frozen: a linear one, on embeddings that are computed once
    mode: Literal["finetune", "last_stage", "lora", "head", "frozen"] = "finetune"
    hidden: int = Field(256, ge=1)  # units of the hidden layer of mode head
    lora: Lora = Lora()  # of mode lora
    dropout: float = Field(0.0, ge=0, lt=1)
    options: dict[str, Any] = {}  # further keyword options of the backbone's constructor
    attention: str = "none"  # block@stage, block@pool, or several: se@2+se1d@pool; also {block: se, stage: 2}, a list

    @field_validator("attention", mode="before")
    @classmethod
    def _placed(cls, attention: Any) -> str:
        """One text, whichever way the blocks and their places are written."""
        parts = attention if isinstance(attention, list) and attention else [attention]
        mapped = [
            f"{p['block']}@{p['stage']}" if isinstance(p, dict) and set(p) == {"block", "stage"} else p for p in parts
        ]
        text = "+".join(str(part) for part in mapped).replace(" ", "")
        found = text.split("+")
        if text != "none" and not all(re.fullmatch(r"[a-z]\w*@([1-9]\d?|pool)", part) for part in found):
            raise ValueError(
                "expected none, BLOCK@STAGE such as cbam@3 or se1d@pool, or several such as se@2+se1d@pool"
            )
        if len(set(found)) < len(found):
            raise ValueError("expected every attention block once at a place; leave the second out")
        return text
