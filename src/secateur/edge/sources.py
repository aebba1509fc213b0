"""What is to be looked at: a picture, a folder of them, a video or a camera."""

from __future__ import annotations

from pathlib import Path

from secateur.errors import SpecError

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


def camera(source: str) -> int | None:
    """Its number, of `0` or `/dev/video0`; None where it is none."""
    number = source.removeprefix("/dev/video")
    return int(number) if number.isdecimal() and not Path(source).is_file() else None


def is_video(source: str) -> bool:
    """Whether it is a camera or is named as a video is; nothing is opened."""
    return camera(source) is not None or Path(source).suffix.lower() in VIDEOS


def pictures(source: Path, out: Path | None = None) -> list[Path]:
    """The file itself, or all pictures below the folder, sorted, without what an earlier look left in `out`.

    Raises SpecError where there are none.
    """
    if not source.is_dir():
        if not source.exists():
            raise SpecError(f"there is no {source}; give a picture, a folder, a video or a camera (0)")
        return [source]
    every = sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    found = [path for path in every if not out or out.resolve() not in path.resolve().parents]
    if not found:
        raise SpecError(f"no picture in {source}; looked for {' '.join(PICTURES)}")
    return found


def output(path: Path, source: Path, out: Path) -> Path:
    """Where the drawn picture goes: its place below the folder that was asked for, kept below `out`."""
    inside = path.relative_to(source) if source.is_dir() else Path(path.name)
    target = out / inside
    # a name of its own for each: a.png and a.tif may lie side by side
    return target if target.suffix.lower() in (".jpg", ".jpeg", ".png") else target.with_name(f"{target.name}.png")


def check_writable(path: Path) -> None:
    """Raises SpecError where `--json` cannot be written, before minutes are spent; leaves no trace."""
    was_there = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise SpecError(f"--json: cannot write {path} ({error.strerror}); give another file") from error
    if not was_there:
        path.unlink()
