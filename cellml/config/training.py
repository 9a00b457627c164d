"""The sections of the experiment file on training rows and fitting."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cellml.config.base import Section


class Step(Section):
    """A step of a recipe: a sampling strategy on some of the labels."""

    method: str  # any sampling strategy
    between: list[str] = []  # labels it sees: classes, mixtures such as "A:B 1:2", pure, mixed; empty: all
    target: list[str] = []  # labels whose rows it may add to or leave out; empty: the method's own choice
    space: Literal["embeddings", "pixels"] | None = None  # where it looks for neighbours
    k: int | None = Field(None, ge=1)  # neighbours
    ratio: float | None = Field(None, gt=0, le=1)


class Sampling(Section):
    """How training rows are resampled or weighted, after splitting."""

    strategy: str = "none"  # a registered strategy, or one of `recipes`
    options: dict[str, Any] = {}
    recipes: dict[str, list[Step]] = {}  # strategies of several steps, by their names
    embeddings: str = "model"  # space embeddings: of model.backbone with model.weights, out_of_fold, or models:/...
    pixels: int = Field(16, ge=2)  # space pixels: side of the images that are compared

    @field_validator("embeddings")
    @classmethod
    def _known(cls, embeddings: str) -> str:
        if embeddings not in ("model", "out_of_fold") and not embeddings.startswith("models:/"):
            raise ValueError("expected model, out_of_fold or models:/NAME@ALIAS")
        return embeddings


class Augment(Section):
    """Random changes of training images, drawn per sample; 0 or false turns one off."""

    flip: bool = True  # horizontal and vertical, each with probability 1/2
    rotate: float = Field(180.0, ge=0, le=180)  # degrees, uniform in [-rotate, rotate]
    scale: float = Field(0.1, ge=0, lt=1)  # factor uniform in [1 - scale, 1 + scale]
    shift: float = Field(0.05, ge=0, lt=1)  # share of the side, each axis
    brightness: float = Field(0.1, ge=0, le=1)  # additive, as a share of the range
    contrast: float = Field(0.1, ge=0, lt=1)  # factor around the image's mean
    color: float = Field(0.0, ge=0, lt=1)  # factor per channel: stain or colour jitter
    noise: float = Field(0.0, ge=0, lt=1)  # standard deviation, as a share of the range
    erase: float = Field(0.0, ge=0, le=1)  # probability of erasing a random rectangle
    stain: float = Field(0.0, ge=0, lt=1)  # colour images of H&E or HED: factor and offset of each stain
    mixup: float = Field(0.0, ge=0)  # alpha of the Beta distribution
    cutmix: float = Field(0.0, ge=0)  # the same, of a rectangle from another image; with both, a batch draws one


class Train(Section):
    """Fitting."""

    epochs: int = Field(20, ge=1)
    batch_size: int = Field(32, ge=2)  # images, or whole sequences where rows are frames of movies
    optimizer: Literal["adamw", "adam", "sgd", "adagrad"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    layer_decay: float = Field(1.0, gt=0, le=1)  # factor of the learning rate from each layer to the one before it
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    lr_after: dict[int, float] = {}  # schedule constant: epochs done -> the learning rate from there on
    loss: str = "cross_entropy"
    loss_options: dict[str, Any] = {}
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    soft_labels: bool = True  # learn the labels' shares where the data have them; false: the class alone
    auxiliary: float = Field(0.0, ge=0)  # weight of the mean loss of the labels in data.auxiliary
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the averaged weights, per step; 0: none
    patience: int | None = Field(None, ge=1)  # epochs without a better `monitor` before stopping
    monitor: str = "balanced_accuracy"  # validation metric that picks the best epoch and the best trial
    keep: Literal["best", "last"] = "best"  # epoch whose weights are kept; last: what a refit without validation gets
    tta: Literal["none", "flips", "d4"] = (
        "none"  # when predicting average over the four flips, or those and quarter turns
    )
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1)
    checkpoint: float | None = Field(30.0, ge=0)  # seconds, at least, from one kept state to the next; 0: each epoch
    steps: int | None = Field(None, ge=1)  # batches an epoch, for equal budgets; None: every sampled row once
    folds: int | None = Field(None, ge=2)  # judge by cross-validation on training and validation rows together
    repeats: int = Field(1, ge=1)  # of the cross-validation, each with another division and seed
    ensemble: Literal["mean", "accuracy", "f1_macro"] = "mean"  # how the folds' networks are weighted
    calibrate: Literal["none", "temperature", "balanced"] = (
        "none"  # on the validation predictions; balanced: of classes
    )
    # that count the same, so that the most probable class serves balanced accuracy
    refit: bool = False  # fit the chosen model once more on training and validation rows together
    seed: int = 0
    augment: Augment = Augment()

    @field_validator("calibrate", mode="before")
    @classmethod
    def _switch(cls, calibrate: Any) -> Any:
        return {True: "temperature", False: "none"}[calibrate] if isinstance(calibrate, bool) else calibrate

    @model_validator(mode="after")
    def _steps(self) -> "Train":
        if self.keep == "last" and self.patience:
            raise ValueError(
                "patience stops at the best epoch, keep: last asks for the last one; leave one of them out"
            )
        if self.lr_after and self.schedule != "constant":
            raise ValueError(f"lr_after needs schedule: constant, got {self.schedule}; set it, or leave lr_after out")
        if any(epoch < 1 or not rate > 0 for epoch, rate in self.lr_after.items()):
            raise ValueError(f"expected lr_after as epochs from 1 on and rates above 0, got {self.lr_after}")
        return self


class Pretrain(Section):
    """Self-supervised pretraining of the backbone on the training images, without their labels (VICReg)."""

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(64, ge=8)
    lr: float = Field(3e-3, gt=0)  # peak of a one-cycle schedule
    weight_decay: float = Field(0.01, ge=0)
    width: int = Field(512, ge=8)  # of the projector behind the backbone, three layers
    probe: int = Field(10, ge=1)  # epochs from one linear probe on the validation rows to the next
    augment: Augment = Augment(scale=0.2, shift=0.1, noise=0.02, erase=0.2)  # of a view: to spare what tells classes

    @field_validator("augment")
    @classmethod
    def _unlabelled(cls, augment: Augment) -> Augment:
        if augment.mixup or augment.cutmix:
            raise ValueError("expected mixup and cutmix 0, they mix labels and there are none; leave them out")
        return augment
