"""Which layers must give all the channels they give, and why."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from ultralytics.nn.modules import C3, DFL, SPPF, Attention, Bottleneck, Concat, Conv, Detect, Segment
from ultralytics.nn.modules.block import C3k, Proto26, PSABlock
from ultralytics.nn.modules.head import Segment26
from ultralytics.nn.tasks import BaseModel

FOLLOWED = (
    Conv, Concat, nn.Upsample, Bottleneck, C3, C3k, SPPF, PSABlock, nn.Sequential, Detect, Segment, Segment26
)  # fmt: skip
"""Layers of an unrolled net through which the dependency graph follows every channel."""
BRANCHES = ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4")


def unprunable_layers(net: BaseModel) -> dict[str, str]:
    """Layers, by their path in the net, that cannot be pruned safely, each with the reason."""
    unknown = {
        f"model.{index}": f"secateur cannot follow channels through {type(layer).__name__}"
        for index, layer in enumerate(net.model)
        if type(layer) not in FOLLOWED
    }
    return unknown | dict(found for name, module in net.named_modules() for found in _kept(name, module))


def _kept(name: str, module: nn.Module) -> Iterator[tuple[str, str]]:
    if isinstance(module, Attention):
        yield name, "attention splits its channels into heads of a fixed width"
    elif isinstance(module, DFL):
        yield name, "its weights are fixed"
    elif isinstance(module, Detect):
        yield from _branches(name, module)
    elif isinstance(module, Proto26):
        # the graph is traced in eval mode and does not see the semantic layers; they read the sum of these and of the
        # finest map, all of which keeps its channels with these
        yield f"{name}.feat_refine", "the semantic layers, which run in training only, read it"


def _branches(name: str, head: Detect) -> Iterator[tuple[str, str]]:
    """The branch of a YOLO26 head that is trained beside the one that ships."""
    if getattr(head, "one2one_cv2", None) is None:
        return
    for branch in BRANCHES[:3] if head.end2end else BRANCHES[3:]:
        if hasattr(head, branch):
            yield f"{name}.{branch}", "this branch of the head is trained, but does not ship"


def output_layers(head: Detect) -> list[nn.Module]:
    """The last layer of each branch of the head, and the prototypes' last."""
    branches = [branch for name in BRANCHES for branch in getattr(head, name, None) or ()]
    prototypes = [head.proto.cv3] if hasattr(head, "proto") else []
    return [branch[-1] for branch in branches] + prototypes
