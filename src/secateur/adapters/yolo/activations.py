"""Another activation in place of each SiLU."""

from __future__ import annotations

from torch import nn

from secateur.specs import Activation

KINDS: dict[Activation, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU, "hardswish": nn.Hardswish}


def swap(net: nn.Module, activation: Activation) -> int:
    """Changes the net in place; how many there were.

    Ultralytics gives all its Convs one and the same module, its class' `default_act`, which stays as it is: whoever
    builds a net from a yaml later gets what he always got. Here each place gets a module of its own.
    """
    places = [name for name, module in net.named_modules(remove_duplicate=False) if type(module) is nn.SiLU]
    for place in places:
        net.set_submodule(place, KINDS[activation]())
    return len(places)
