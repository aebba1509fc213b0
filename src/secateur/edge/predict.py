"""`secateur predict`: looks at all that a source holds, draws what is found, tells of each picture."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.edge import sources
from secateur.edge.coco import entries
from secateur.edge.drawing import draw
from secateur.edge.letterbox import read_picture
from secateur.errors import SecateurError, SpecError, StageError

if TYPE_CHECKING:
    from secateur.edge.letterbox import Pixels
    from secateur.edge.predictor import Detections, Predictor


@dataclass(frozen=True)
class Milliseconds:
    """What each part took for one picture."""

    preprocess: float
    network: float
    postprocess: float


@dataclass(frozen=True)
class Seen:
    """A picture, or a frame of a video, and what is in it."""

    file: str
    frame: int | None
    pixels: Pixels
    detections: Detections
    ms: Milliseconds

    def as_plain(self, name: Callable[[int], str]) -> dict[str, Any]:
        """What `--json` writes of it."""
        frame = {} if self.frame is None else {"frame": self.frame}
        height, width, _ = self.pixels.shape
        ms = {part: round(value, 3) for part, value in vars(self.ms).items()}
        found = entries(self.detections, name)
        return {"file": self.file, **frame, "width": width, "height": height, "detections": found, "ms": ms}


@dataclass
class Tally:
    """What all pictures come to."""

    instances: int = 0
    failed: int = 0
    times: list[Milliseconds] = field(default_factory=list)

    def add(self, seen: Seen) -> None:
        """Counts what was found, and keeps what each part took."""
        self.instances += len(seen.detections)
        self.times.append(seen.ms)

    def __str__(self) -> str:
        counted = f"{_counted(len(self.times), 'picture')}, {_counted(self.instances, 'instance')}"
        if not self.times:
            return counted
        parts = {part: [getattr(ms, part) for ms in self.times] for part in vars(self.times[0])}
        return f"{counted}; median ms: " + ", ".join(f"{k} {statistics.median(ms):.1f}" for k, ms in parts.items())


def predict(
    predictor: Predictor, source: str, out: Path | None, tell: Callable[[Seen], None], complain: Callable[[str], None]
) -> Tally:
    """Draws into `out`, or nowhere; `tell` hears of each picture, `complain` of each that cannot be looked at.

    Raises SpecError where there is nothing to look at.
    """
    if out:
        _check_elsewhere(Path(source), out)
    looks = _video if sources.is_video(source) else _pictures
    tally = Tally()
    with closing(looks(predictor, source, out)) as every, _stopped_by_hand(source):
        for seen in every:
            if isinstance(seen, SecateurError):
                tally.failed += 1
                complain(str(seen))
            else:
                tally.add(seen)
                tell(seen)
    return tally


def _stopped_by_hand(source: str) -> AbstractContextManager[None]:
    """Ctrl-C is how a camera ends; what else it breaks off stays broken off."""
    return nullcontext() if sources.camera(source) is None else suppress(KeyboardInterrupt)


def look(predictor: Predictor, pixels: Pixels, file: str, frame: int | None = None) -> Seen:
    """One picture, each part timed."""
    started = time.perf_counter_ns()
    image, placement = predictor.preprocess(pixels)
    fitted = time.perf_counter_ns()
    outputs = predictor.run(image)
    ran = time.perf_counter_ns()
    found = predictor.postprocess(outputs, placement, pixels.shape[0], pixels.shape[1])
    done = time.perf_counter_ns()
    ms = Milliseconds((fitted - started) / 1e6, (ran - fitted) / 1e6, (done - ran) / 1e6)
    return Seen(file, frame, pixels, found, ms)


def _pictures(predictor: Predictor, source: str, out: Path | None) -> Generator[Seen | SecateurError]:
    folder = Path(source)
    for path in sources.pictures(folder, out):
        try:
            seen = look(predictor, read_picture(path), str(path))
            if out:
                _save(draw(seen.pixels, seen.detections, predictor.name), path, sources.output(path, folder, out))
            yield seen
        except StageError as error:
            yield error


def _video(predictor: Predictor, source: str, out: Path | None) -> Generator[Seen | SecateurError]:
    from secateur.edge.video import Video, VideoWriter

    number = sources.camera(source)
    video = Video(Path(source) if number is None else number)
    with ExitStack() as stack:
        writer = stack.enter_context(VideoWriter(_target(source, number, out), video.fps)) if out else None
        try:
            for frame, pixels in enumerate(video.frames()):
                seen = look(predictor, pixels, source, frame)
                if writer:
                    writer.write(draw(pixels, seen.detections, predictor.name))
                yield seen
        except StageError as error:
            yield error


def _target(source: str, number: int | None, out: Path) -> Path:
    name = Path(source).name if number is None else f"camera{number}"
    target = out / (name if name.endswith(".mp4") else f"{name}.mp4")  # film.avi and film.mp4 may lie side by side
    out.mkdir(parents=True, exist_ok=True)
    return target


def _save(drawn: Pixels, path: Path, target: Path) -> None:
    from PIL import Image

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(target, quality=92)
    except OSError as error:
        raise SpecError(f"cannot write {target} ({error}); give another --out") from error


def _check_elsewhere(source: Path, out: Path) -> None:
    """Whatever lies beside the pictures is somebody's."""
    folder = source if source.is_dir() else source.parent
    if source.exists() and out.resolve() == folder.resolve():
        raise SpecError(f"--out {out} is where the pictures lie; give another folder")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
