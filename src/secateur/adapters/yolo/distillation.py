"""Dense distillation: a net learns to give what its teacher gives, at every position of every picture.

The pruned net's head gives the same things as the teacher's: class logits and box distributions at every anchor, mask
coefficients in the same basis, the prototypes themselves. So they can be compared as they are, before any matching with
labels, and a picture needs none. Anchors count by the teacher's highest class probability there; each term is in shares
of what it is at stake, so that weights near 1 balance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from ultralytics.nn.tasks import BaseModel

from secateur.specs import Distillation

Criterion = Callable[[Any, dict[str, Any]], tuple[Tensor, dict[str, Tensor]]]
"""Raw predictions and a batch -> the losses, and the same by name, without gradients."""


class DenseCriterion:
    """Takes the place of a net's own criterion, which it calls where labels count too."""

    def __init__(self, teacher: BaseModel, weights: Distillation, ordinary: Criterion) -> None:
        # no nn.Module: the teacher is no part of the net that is trained, averaged and saved
        self.teacher, self.weights, self.ordinary = teacher.eval(), weights, ordinary
        self.teacher.model[-1].training = True  # of the head alone: it then gives its raw predictions

    def __call__(self, predictions: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            wanted = self.teacher(batch["img"])
        with torch.autocast(batch["img"].device.type, enabled=False):
            losses = _weighted(_terms(_raw(predictions), _raw(wanted)), self.weights)
        if self.weights.labels:
            total, _ = self.ordinary(predictions, batch)
            losses["labels"] = self.weights.labels * total.sum() / len(batch["img"])
        stacked = torch.stack(list(losses.values()))
        return stacked * len(batch["img"]), {f"{name}_loss": loss.detach() for name, loss in losses.items()}


def _raw(predictions: Any) -> dict[str, Any]:
    """In FP32; of a head that trains two branches, the one that ships."""
    found = predictions.get("one2many", predictions)
    return {name: _full(value) for name, value in found.items()}


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value


def _weighted(terms: dict[str, Tensor], weights: Distillation) -> dict[str, Tensor]:
    return {name: getattr(weights, name) * term for name, term in terms.items() if getattr(weights, name)}


def _terms(own: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Tensor]:
    probabilities = wanted["scores"].sigmoid()  # (batch, classes, anchors)
    objects = probabilities.amax(1)  # (batch, anchors)
    terms = {
        "classes": _class_loss(own["scores"], probabilities) / objects.sum().clamp(min=1),
        "boxes": _mean_over_objects(_box_divergence(own["boxes"], wanted["boxes"]), objects),
    }
    if "mask_coefficient" in wanted:
        terms["coefficients"] = _relative_error(own["mask_coefficient"], wanted["mask_coefficient"], objects)
        terms["prototypes"] = _prototype_error(_prototypes(own), _prototypes(wanted))
    return terms


def _class_loss(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Cross-entropy above that of the teacher with itself; 0 where both agree."""
    entropy = functional.binary_cross_entropy(probabilities, probabilities, reduction="sum")
    return functional.binary_cross_entropy_with_logits(logits, probabilities, reduction="sum") - entropy


def _box_divergence(own: Tensor, wanted: Tensor) -> Tensor:
    """(batch, anchors); Kullback-Leibler divergence of the sides' distributions, or the distance of plain sides."""
    batch, channels, anchors = wanted.shape
    if channels == SIDES:
        return (own - wanted).abs().mean(1)
    sides = (batch, SIDES, channels // SIDES, anchors)
    logs = own.view(sides).log_softmax(2), wanted.view(sides).log_softmax(2)
    return functional.kl_div(*logs, reduction="none", log_target=True).sum(2).mean(1)


SIDES = 4  # of a box: left, top, right, bottom


def _relative_error(own: Tensor, wanted: Tensor, objects: Tensor) -> Tensor:
    """Squared error at the objects, in shares of the teacher's own square there."""
    error = _mean_over_objects((own - wanted).square().mean(1), objects)
    return error / _mean_over_objects(wanted.square().mean(1), objects).clamp(min=1e-6)


def _mean_over_objects(values: Tensor, objects: Tensor) -> Tensor:
    return (values * objects).sum() / objects.sum().clamp(min=1)


def _prototypes(predictions: dict[str, Any]) -> Tensor:
    found = predictions["proto"]  # YOLO26 gives the semantic logits with them while it is trained
    prototypes: Tensor = found[0] if isinstance(found, tuple) else found
    return prototypes


def _prototype_error(own: Tensor, wanted: Tensor) -> Tensor:
    return functional.mse_loss(own, wanted) / wanted.var().clamp(min=1e-6)


def student_of(net: nn.Module) -> nn.Module:
    """The net that Ultralytics' own distillation wraps, or the net itself."""
    inner: nn.Module = getattr(net, "student_model", net)
    return inner
