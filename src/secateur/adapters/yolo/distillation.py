"""Dense distillation: a net learns to give what its teacher gives, at every position of every picture.

The pruned net's head gives the same things as the teacher's: class logits and box distributions at every anchor, mask
coefficients in the same basis, the prototypes themselves. So they can be compared as they are, before any matching with
labels, and a picture needs none. Anchors count by the teacher's highest class probability there; each term is in shares
of what it is at stake, so that weights near 1 balance. The masks themselves (coefficients times prototypes) and the
maps that the head reads can be compared too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils.tal import dist2bbox, make_anchors

from secateur.errors import StageError
from secateur.specs import DENSE, MASKS, Distillation

Criterion = Callable[[Any, dict[str, Any]], tuple[Tensor, dict[str, Tensor]]]
"""Raw predictions and a batch -> the losses, and the same by name, without gradients."""

SIDES = 4  # of a box: left, top, right, bottom
SUREST = 24
"""Anchors of a picture whose masks are compared."""


class DenseCriterion:
    """Takes the place of a net's own criterion, which it calls where labels count too."""

    def __init__(
        self, teacher: BaseModel, weights: Distillation, ordinary: Criterion, channels: Sequence[Sequence[int]] = ()
    ) -> None:
        """`channels` are those that the net still has of each map its head reads."""
        # no nn.Module: the teacher is no part of the net that is trained, averaged and saved
        self.teacher, self.weights, self.ordinary = teacher.eval(), weights, ordinary
        self.teacher.model[-1].training = True  # of the head alone: it then gives its raw predictions
        self.channels = channels
        unknown = () if hasattr(teacher.model[-1], "proto") else MASKS
        if not any(getattr(weights, name) for name in ("labels", *DENSE) if name not in unknown):
            raise StageError("distillation: a detector has no masks to learn from; weigh classes, boxes or neck")

    def update(self) -> None:
        """After each epoch: a YOLO26's own criterion moves from one branch of its head to the other."""
        if hasattr(self.ordinary, "update"):
            self.ordinary.update()

    def __call__(self, predictions: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms (n,), times the pictures of the batch, as Ultralytics' own criteria have it; and each by name, not
        times them."""
        with torch.no_grad():
            wanted = self.teacher(batch["img"].float())
        with torch.autocast(batch["img"].device.type, enabled=False):
            losses = self._losses(predictions, wanted)
        if self.weights.labels:
            total, _ = self.ordinary(predictions, batch)
            losses["labels"] = self.weights.labels * total.sum() / len(batch["img"])
        stacked = torch.stack(list(losses.values()))
        return stacked * len(batch["img"]), {f"{name}_loss": loss.detach() for name, loss in losses.items()}

    def _losses(self, predictions: Any, wanted: Any) -> dict[str, Tensor]:
        """The mean of each term over the head's branches, times its weight."""
        pairs = list(zip(_branches(predictions), _branches(wanted), strict=True))
        found = [self._terms(own, aim) for own, aim in pairs]
        return {name: getattr(self.weights, name) * sum(t[name] for t in found) / len(found) for name in found[0]}

    def _terms(self, own: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Tensor]:
        """Those that have a weight and that this kind of net knows."""
        probabilities = wanted["scores"].sigmoid()  # (batch, classes, anchors)
        objects = probabilities.amax(1)  # (batch, anchors)
        terms: dict[str, Callable[[], Tensor]] = {
            "classes": lambda: _class_loss(own["scores"], probabilities, objects),
            "boxes": lambda: _mean_over_objects(_box_divergence(own["boxes"], wanted["boxes"]), objects),
            "neck": lambda: _map_error(own["feats"], wanted["feats"], self.channels),
        }
        if "mask_coefficient" in wanted:
            terms["coefficients"] = lambda: _relative_error(
                own["mask_coefficient"], wanted["mask_coefficient"], objects
            )
            terms["prototypes"] = lambda: _prototype_error(_prototypes(own), _prototypes(wanted))
            terms["masks"] = lambda: _mask_loss(own, wanted, objects, self.teacher.model[-1])
        return {name: term() for name, term in terms.items() if getattr(self.weights, name)}


def _branches(predictions: Any) -> list[dict[str, Any]]:
    """In FP32; a YOLO26 trains two, of which one ships and the other alone reaches the rest of the net."""
    if isinstance(predictions, tuple):  # of a net that is scored: what it would ship, and the raw predictions
        predictions = predictions[1]
    branches = [predictions["one2many"], predictions["one2one"]] if "one2many" in predictions else [predictions]
    return [{name: _full(value) for name, value in branch.items()} for branch in branches]


def _full(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_full(part) for part in value]
    return value.float() if isinstance(value, Tensor) else value


def _class_loss(logits: Tensor, probabilities: Tensor, objects: Tensor) -> Tensor:
    """Cross-entropy above that of the teacher with itself, per object; 0 where both agree."""
    return _excess_entropy(logits, probabilities).sum() / objects.sum().clamp(min=1)


def _excess_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy(probabilities, probabilities, reduction="none")
    return functional.binary_cross_entropy_with_logits(logits, probabilities, reduction="none") - entropy


def _box_divergence(own: Tensor, wanted: Tensor) -> Tensor:
    """(batch, anchors); Kullback-Leibler divergence of the sides' distributions, or the distance of plain sides."""
    batch, channels, anchors = wanted.shape
    if channels == SIDES:
        return (own - wanted).abs().mean(1)
    sides = (batch, SIDES, channels // SIDES, anchors)
    logs = own.view(sides).log_softmax(2), wanted.view(sides).log_softmax(2)
    return functional.kl_div(*logs, reduction="none", log_target=True).sum(2).mean(1)


def _relative_error(own: Tensor, wanted: Tensor, objects: Tensor) -> Tensor:
    """Squared error at the objects, in shares of the teacher's own square there."""
    error = _mean_over_objects((own - wanted).square().mean(1), objects)
    return error / _mean_over_objects(wanted.square().mean(1), objects).clamp(min=1e-6)


def _mean_over_objects(values: Tensor, objects: Tensor) -> Tensor:
    return (values * objects).sum() / objects.sum().clamp(min=1)


def _prototypes(predictions: dict[str, Any]) -> Tensor:
    found = predictions["proto"]  # YOLO26 gives the semantic logits with them while it is trained
    prototypes: Tensor = found[0] if isinstance(found, list) else found
    return prototypes


def _prototype_error(own: Tensor, wanted: Tensor) -> Tensor:
    return functional.mse_loss(own, wanted) / wanted.var().clamp(min=1e-6)


def _map_error(own: Sequence[Tensor], wanted: Sequence[Tensor], channels: Sequence[Sequence[int]]) -> Tensor:
    """Mean over the maps that the head reads: squared error on the channels left, in shares of the variance."""
    aims = [aim[:, list(kept)] for aim, kept in zip(wanted, channels, strict=True)]
    errors = [functional.mse_loss(x, aim) / aim.var().clamp(min=1e-6) for x, aim in zip(own, aims, strict=True)]
    return torch.stack(errors).mean()


def _mask_loss(own: dict[str, Any], wanted: dict[str, Any], objects: Tensor, head: nn.Module) -> Tensor:
    """Excess cross-entropy of the masks of the surest anchors, inside the teacher's boxes; (), per object."""
    sureness, at = objects.topk(min(SUREST, objects.shape[1]), 1)  # (batch, anchors)
    logits = _mask_logits(own, at)  # (batch, anchors, height, width)
    inside = _inside(_boxes(wanted, head, at), logits.shape[2:], wanted["feats"][0].shape[2:], head)
    excess = _excess_entropy(logits, _mask_logits(wanted, at).sigmoid()) * inside
    per_object = excess.sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    return (per_object * sureness).sum() / sureness.sum().clamp(min=1)


def _mask_logits(predictions: dict[str, Any], at: Tensor) -> Tensor:
    coefficients = predictions["mask_coefficient"].transpose(1, 2)  # (batch, anchors, prototypes)
    chosen = coefficients.gather(1, at[:, :, None].expand(-1, -1, coefficients.shape[2]))
    return torch.einsum("bap,bphw->bahw", chosen, _prototypes(predictions))


def _boxes(predictions: dict[str, Any], head: nn.Module, at: Tensor) -> Tensor:
    """(batch, anchors, 4); corners in pixels of the picture."""
    anchors, strides = make_anchors(predictions["feats"], head.stride, 0.5)
    boxes = dist2bbox(head.dfl(predictions["boxes"]), anchors.T[None], xywh=False, dim=1) * strides.T
    return boxes.transpose(1, 2).gather(1, at[:, :, None].expand(-1, -1, SIDES))


def _inside(boxes: Tensor, size: Sequence[int], finest: Sequence[int], head: nn.Module) -> Tensor:
    """(batch, anchors, height, width); which pixels of the masks lie in the box."""
    left, top, right, bottom = (boxes * size[0] / (finest[0] * head.stride[0]))[..., None].unbind(2)
    y, x = (torch.arange(length, device=boxes.device) + 0.5 for length in size)
    across, down = (x > left) & (x < right), (y > top) & (y < bottom)
    return down[:, :, :, None] & across[:, :, None, :]


def channels_read(net: BaseModel, teacher: BaseModel, kept: Mapping[str, Sequence[int]]) -> list[Sequence[int]]:
    """Which channels of its teacher's maps the net's head still reads, map by map."""
    widths, own = ([branch[0].conv.in_channels for branch in some.model[-1].cv2] for some in (teacher, net))
    read = zip(net.model[-1].f, widths, strict=True)
    found = [kept.get(f"model.{layer}.conv", range(width)) for layer, width in read]
    if [len(channels) for channels in found] != own:
        raise StageError("distillation.neck: which channels this net's neck still has is not known; set it to 0")
    return found


def student_of(net: nn.Module) -> nn.Module:
    """The net that Ultralytics' own distillation wraps, or the net itself."""
    inner: nn.Module = getattr(net, "student_model", net)
    return inner
