"""Least squares: each layer gets the weights that best give back what it gave before channels were cut.

After He et al. 2017 and Luo et al. 2017, in one pass: the calibration pictures flow through the pruned net once, all
together, and each convolution is solved for just before it runs. So it reads what the already mended layers before it
really send, and nothing is computed twice. Its targets are the outputs of the net as it was before the cut, on the
channels that are left, at positions drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.ports import Cut, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from secateur.convolutions import Convolution, Moments, Positions

VERSION = 2  # raise when the same fields mend a net differently


@dataclass(frozen=True)
class LeastSquares:
    """`positions` a picture and layer; `ridge` pulls towards the present weights, in shares of the mean variance."""

    images: int = 96
    positions: int = 200
    ridge: float = 0.001

    def __post_init__(self) -> None:
        for name in ("images", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.ridge <= 0:
            raise ValueError(f"ridge must be above 0, got {self.ridge}")

    def heal(self, cut: Cut, pictures: Tensor, seed: int, progress: Progress) -> None:
        import torch

        from secateur.convolutions import Positions

        positions = Positions(self.positions, seed)
        with torch.no_grad():
            wanted = _outputs(cut, pictures, positions)
            _mend(cut, wanted, pictures, positions, self.ridge, progress)


def _outputs(cut: Cut, pictures: Tensor, positions: Positions) -> dict[str, list[Tensor]]:
    """What each convolution gave before the cut, on the channels it still has; (samples, outputs) a batch."""
    import torch

    from secateur.convolutions import BATCH, convolutions, gives, hooked, map_size

    layers = convolutions(cut.before)
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    start = 0

    def watch(name: str) -> Any:
        kept = torch.tensor(cut.kept[name])

        def keep(layer: Convolution, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0]
            at = positions.of(start, len(x), *map_size(layer, x))
            found[name].append(gives(layer, output, at, kept))

        return keep

    with hooked([layer.register_forward_hook(watch(name)) for name, layer in layers.items()]):
        for start in range(0, len(pictures), BATCH):
            cut.flow(cut.before, pictures[start : start + BATCH])
    return found


def _mend(
    cut: Cut,
    wanted: dict[str, list[Tensor]],
    pictures: Tensor,
    positions: Positions,
    ridge: float,
    progress: Progress,
) -> None:
    """Sends all pictures through the net once; each convolution is solved for as they reach it."""
    from secateur.convolutions import convolutions, hooked

    layers = convolutions(cut.net)
    norms = {f"{name}.conv": m.bn for name, m in cut.net.named_modules() if hasattr(m, "conv") and hasattr(m, "bn")}
    done = 0

    def solve(name: str) -> Any:
        def before(layer: Convolution, inputs: tuple[Tensor, ...]) -> None:
            nonlocal done
            _fit(layer, norms.get(name), _moments(layer, inputs[0], wanted.pop(name), positions), ridge)
            progress(done := done + 1, len(layers))

        return before

    with hooked([layer.register_forward_pre_hook(solve(name)) for name, layer in layers.items()]):
        cut.flow(cut.net, pictures)


def _moments(layer: Convolution, x: Tensor, wanted: list[Tensor], positions: Positions) -> Moments:
    from secateur.convolutions import BATCH, Moments, map_size, reads

    moments = Moments()
    for start, y in zip(range(0, len(x), BATCH), wanted, strict=True):
        part = x[start : start + BATCH]
        moments.add(reads(layer, part, positions.of(start, len(part), *map_size(layer, part))), y)
    return moments


def _fit(layer: Convolution, norm: Any, moments: Moments, ridge: float) -> None:
    """Ridge regression, pulled towards the present weights; the intercept goes into the bias or the BatchNorm."""
    import torch

    from secateur.convolutions import matrix, set_matrix

    weights, covariance = matrix(layer).double(), moments.covariance().double()
    missing = moments.cross_covariance().double() - covariance @ weights
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    weights = (weights + torch.linalg.solve(covariance, missing)).float()
    set_matrix(layer, weights)
    _set_intercept(layer, norm, moments.mean_y - moments.mean_x @ weights)


def _set_intercept(layer: Convolution, norm: Any, intercept: Tensor) -> None:
    if norm is not None:
        norm.running_mean -= intercept
    elif layer.bias is not None:
        layer.bias.data.copy_(intercept.view(len(layer.bias), -1).mean(1))  # of a transposed one, over its patch
