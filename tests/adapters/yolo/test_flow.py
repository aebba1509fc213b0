from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from secateur.adapters.yolo.door import Yolo
from secateur.convolutions import convolutions, hooked
from tests.conftest import pictures

if TYPE_CHECKING:
    from torch import Tensor


def seen(net: nn.Module, send: Any) -> dict[str, Tensor]:
    """What each convolution gives."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda layer, inputs, output: found.update({name: output})

    layers = convolutions(net)
    with torch.no_grad(), hooked([layer.register_forward_hook(keep(name)) for name, layer in layers.items()]):
        send(net)
    return found


def test_every_layer_gives_what_it_gives_in_a_plain_forward_pass(yolo: Yolo, seg_checkpoint: Path) -> None:
    net = yolo.load(seg_checkpoint)

    flowed = seen(net, lambda net: yolo.flow(net, pictures(2)))

    torch.testing.assert_close(flowed, seen(net, lambda net: net.eval()(pictures(2))))
    assert len(flowed) > 60


def test_the_net_is_in_eval_mode_afterwards(yolo: Yolo, seg_checkpoint: Path) -> None:
    net = yolo.load(seg_checkpoint)

    yolo.flow(net, pictures(1))

    assert not any(module.training for module in net.modules())
