"""Which GPUs torch can train on here, by trying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secateur.checkup import Check

DRIVER = Path("/proc/driver/nvidia/version")
CPU = "torch finds none: device=cpu"


def checks() -> Iterator[Check]:
    """One a GPU, or why there is none."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a library that torch links to is not there
        text = f"torch cannot be imported: {' '.join(str(error).split())}"
        yield Check("gpu", "torch", "problem", text, "pip install --force-reinstall torch torchvision")
        return
    if not torch.cuda.is_available():
        yield _none(torch.__version__, torch.version.cuda)
        return
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)


def _none(version: str, cuda: str | None) -> Check:
    if not DRIVER.exists():
        return Check("gpu", "GPU", "note", CPU)
    text = f"there is an NVIDIA driver, but torch {version} cannot use it"
    if cuda is None:
        remedy = "to train on it, install a build of torch for CUDA: https://pytorch.org/get-started/locally"
        return Check("gpu", "GPU", "note", f"{text}: it is a build for the CPU", remedy)
    remedy = f"update the driver to one for CUDA {cuda}, or pass the GPU into the container (--gpus all)"
    return Check("gpu", "GPU", "problem", f"{text} with CUDA {cuda}", remedy)


def _gpu(index: int) -> Check:
    import torch

    name = f"cuda:{index}"
    about = torch.cuda.get_device_properties(index)
    text = f"{about.name}, {about.total_memory / 1e9:.0f} GB, compute capability {about.major}.{about.minor}"
    try:
        torch.ones(8, device=name).sum().item()  # a build of torch without kernels for it is only found out so
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    except RuntimeError as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        return Check("gpu", name, "problem", f"{text}: {fault}", f"device=cpu, or a build of torch for {about.name}")
    return Check("gpu", name, "ok", f"{text}: device={index}, trains in {'bf16' if bf16 else 'fp32'}")
