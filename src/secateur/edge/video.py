"""Videos and cameras: the only door to cv2, which the extra `video` brings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import SpecError, StageError

if TYPE_CHECKING:
    from secateur.edge.letterbox import Pixels

FALLBACK_FPS = 25.0
SLACK = 2  # frames that some containers promise and do not hold


class Video:
    """Frames of a file, or of a camera given by its number."""

    def __init__(self, source: Path | int) -> None:
        library = _library()
        if isinstance(source, Path) and not source.is_file():
            raise SpecError(f"there is no video {source}")
        self.source, self._promised = source, 0
        self._capture = library.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            raise SpecError(f"cannot open {self}; is it a video or a camera that others can play?")
        if isinstance(source, Path):
            self._promised = int(self._capture.get(library.CAP_PROP_FRAME_COUNT))
        self.fps = self._capture.get(library.CAP_PROP_FPS) or FALLBACK_FPS

    def __str__(self) -> str:
        return f"camera {self.source}" if isinstance(self.source, int) else f"the video {self.source}"

    def frames(self) -> Iterator[Pixels]:
        """(height, width, 3), RGB; raises StageError where they end before the file says."""
        done = 0
        try:
            while True:
                there, frame = self._capture.read()
                if not there:
                    break
                yield np.ascontiguousarray(frame[..., ::-1])
                done += 1
        finally:
            self._capture.release()
        if not done or done + SLACK < self._promised:
            promised = f" of {self._promised}" if self._promised > 0 else ""
            raise StageError(f"{self} ends after {done}{promised} frames; it is damaged or still being written")


class VideoWriter:
    """Writes frames, all of the first one's size, as MP4; nothing where none comes."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: Any = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, pixels: Pixels) -> None:
        """(height, width, 3), RGB; raises StageError where the file, which the first one makes, cannot be made."""
        if self._writer is None:
            self._writer = self._open(pixels.shape[1], pixels.shape[0])
        self._writer.write(np.ascontiguousarray(pixels[..., ::-1]))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.release()

    def _open(self, width: int, height: int) -> Any:
        library = _library()
        code = library.VideoWriter_fourcc(*"mp4v")
        writer = library.VideoWriter(str(self._path), code, self._fps, (width, height))
        if not writer.isOpened():
            raise StageError(f"cannot write the video {self._path}; is there room, and may you write there?")
        return writer


def import_fault() -> str | None:
    """Why OpenCV cannot be imported where it is installed: the system may lack what this build links to."""
    if find_spec("cv2") is None:
        return None
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        return " ".join(str(error).split())
    return None


def _library() -> ModuleType:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")  # what ffmpeg says of a damaged file is told in one line
    try:
        import cv2
    except ImportError as error:
        raise SpecError("videos and cameras need OpenCV: pip install 'secateur[video]'") from error
    library: ModuleType = cv2
    return library
