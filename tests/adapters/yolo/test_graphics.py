from pathlib import Path

import pytest
import torch

from secateur.adapters.yolo import graphics


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_a_note() -> None:
    (found,) = graphics.checks()

    assert (found.state, found.text) == ("note", graphics.CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_each_gpu_is_tried() -> None:
    found = list(graphics.checks())

    assert [check.state for check in found] == ["ok"] * torch.cuda.device_count()


@pytest.mark.parametrize(("cuda", "state"), [(None, "note"), ("13.0", "problem")])
def test_a_driver_without_a_gpu_that_torch_can_use_says_what_to_install(
    cuda: str | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").touch()
    monkeypatch.setattr(graphics, "DRIVER", tmp_path / "version")

    found = graphics._none("2.13.0", cuda)

    assert found.state == state
    assert found.remedy
