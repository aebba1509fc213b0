import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from secateur.datasets.yolo_folder import YoloFolder
from secateur.errors import BrokenOffError, StageError
from secateur.quantizers import fp32
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_static import Int8Static
from secateur.results import Artifact, Footprint
from secateur.specs import PLACE
from secateur.stages import prepare
from secateur.store import Store, artifact, artifacts, digest, digest_of
from tests.conftest import files_no_larger_than

BUILDER = """
import sys, time
from pathlib import Path
from secateur.results import Artifact
from secateur.store import Store, artifact

shared, others = Path(sys.argv[1]), int(sys.argv[2])

def make(out):
    with (shared / "made").open("a") as log:
        log.write("once\\n")
    while len(list(shared.glob("here-*"))) < others:
        time.sleep(0.01)
    time.sleep(0.3)
    (out / "file").write_text("content")
    return artifact(out / "file")

(shared / f"here-{sys.argv[3]}").touch()
print(Store(shared / "store").get("stage", ["same question"], Artifact, make).reused)
"""


@dataclass(frozen=True)
class Question:
    seed: int
    data: Artifact | None = None
    options: dict[str, float] = field(default_factory=dict)
    where: str = field(default="", metadata=PLACE)


@dataclass(frozen=True)
class Answer:
    weights: Artifact
    footprint: Footprint
    by_name: dict[str, Artifact]
    shape: tuple[int, ...]
    pairs: dict[str, tuple[int, int]]
    note: str | None = None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def file_with(text: str) -> Callable[[Path], Artifact]:
    def make(out: Path) -> Artifact:
        (out / "file.txt").write_text(text)
        return artifact(out / "file.txt")

    return make


def must_not_run(out: Path) -> Artifact:
    pytest.fail("made again")


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def leftovers(store: Store) -> list[Path]:
    return list((store.root / ".tmp").glob("*"))


# ---- made once ------------------------------------------------------------------------------------


def test_equal_inputs_are_made_once(store: Store) -> None:
    first = store.get("stage", [Question(seed=1)], Artifact, file_with("content"))
    second = store.get("stage", [Question(seed=1)], Artifact, must_not_run)

    assert (first.reused, second.reused) == (False, True)
    assert (second.key, second.outputs, second.seconds) == (first.key, first.outputs, first.seconds)


def test_other_inputs_are_made_anew(store: Store) -> None:
    first = store.get("stage", [Question(seed=1)], Artifact, file_with("one"))
    second = store.get("stage", [Question(seed=2)], Artifact, file_with("two"))

    assert first.outputs.path.read_text() == "one"
    assert second.outputs.path.read_text() == "two"


def test_another_store_object_on_the_same_folder_finds_the_result(store: Store) -> None:
    store.get("stage", [1], Artifact, file_with("content"))

    assert Store(store.root).get("stage", [1], Artifact, must_not_run).reused


def test_of_two_processes_one_makes_and_the_other_waits_and_reuses(tmp_path: Path) -> None:
    both = [start(BUILDER, tmp_path, 2, number) for number in range(2)]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in both)

    assert said == ["False", "True"]
    assert (tmp_path / "made").read_text() == "once\n"


def test_what_a_killed_process_left_behind_does_not_hinder_the_next(tmp_path: Path) -> None:
    waits_for_ever = start(BUILDER, tmp_path, 99, 0)
    deadline = time.monotonic() + 60
    while not (tmp_path / "made").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    waits_for_ever.send_signal(signal.SIGKILL)
    waits_for_ever.communicate()

    stored = Store(tmp_path / "store").get("stage", ["same question"], Artifact, file_with("whole"))
    assert not stored.reused
    assert stored.outputs.path.read_text() == "whole"


@pytest.mark.parametrize(
    ("error", "kept"), [(BrokenOffError("killed"), True), (KeyboardInterrupt(), True), (StageError("wrong"), False)]
)
def test_what_a_stage_had_is_kept_where_it_was_broken_off_and_can_go_on(
    error: BaseException, kept: bool, tmp_path: Path
) -> None:
    found: list[bool] = []

    def make(out: Path) -> Artifact:
        found.append((out / "epoch").exists())
        (out / "epoch").write_text("3")
        if len(found) == 1:
            raise error
        return artifact(out / "epoch")

    with pytest.raises(type(error)):
        Store(tmp_path).get("stage", [1], Artifact, make, resumes=True)
    Store(tmp_path).get("stage", [1], Artifact, make, resumes=True)

    assert found == [False, kept]


# ---- what is in a key -----------------------------------------------------------------------------


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    for name, text in (("here", "same"), ("there", "same"), ("other", "else")):
        (tmp_path / name).write_text(text)

    here, there, other = (digest_of(Question(1, artifact(tmp_path / name))) for name in ("here", "there", "other"))
    assert here == there
    assert here != other


def test_a_field_that_only_says_where_is_no_part_of_the_key() -> None:
    here, there = YoloFolder("/here"), YoloFolder("/there", yaml="coco.yaml")

    assert digest_of(prepare.Inputs("abc", here)) == digest_of(prepare.Inputs("abc", there))
    assert digest_of(Question(1, where="here")) == digest_of(Question(1, where="there"))
    assert digest_of(prepare.Inputs("abc", here)) != digest_of(prepare.Inputs("xyz", here))


def test_the_version_of_a_part_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(Fp32())

    monkeypatch.setattr(fp32, "VERSION", fp32.VERSION + 1)
    assert digest_of(Fp32()) != before


def test_every_field_and_the_kind_are_in_the_key() -> None:
    whole = Int8Static()
    changed = [replace(whole, images=8), replace(whole, per_channel=False), replace(whole, activations="int8")]

    assert len({digest_of(value) for value in [whole, *changed, Fp32()]}) == 5


def test_the_order_in_a_dict_does_not_matter() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of([1, 2]) == digest_of((1, 2))
    assert digest_of([1, 2]) != digest_of([2, 1])


@pytest.mark.parametrize("value", [Path("data"), [Path("data")], {"a": Path("data")}, {1, 2}, b"bytes", object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no canonical form: give its digest instead"):
        digest_of(value)


def test_a_files_digest_is_the_sha256_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")

    # FIPS 180-2, appendix B.1
    assert digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folders_digest_by_hand(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("two")
    (tmp_path / "a").write_text("one")

    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert digest(tmp_path) == hashlib.sha256(f"a {one}\nsub/b {two}".encode()).hexdigest()


def test_a_folder_of_links_has_the_digest_of_what_they_lead_to(tmp_path: Path) -> None:
    real, links = tmp_path / "real", tmp_path / "links"
    (real / "sub").mkdir(parents=True)
    (real / "sub" / "a").write_text("one")
    links.mkdir()
    (links / "sub").symlink_to(real / "sub")

    assert digest(links) == digest(real)


# ---- what comes back ------------------------------------------------------------------------------


def test_nested_outputs_come_back_as_they_were_with_their_paths_in_the_entry(store: Store) -> None:
    def make(out: Path) -> Answer:
        (out / "folder").mkdir()
        for name in ("a", "b", "folder/c"):
            (out / name).write_text(name)
        a, b, folder = (artifact(out / name) for name in ("a", "b", "folder"))
        return Answer(a, Footprint(3, 4), {"b": b, "folder": folder}, (1, 3, 64, 64), {"model.0": (8, 16)})

    made = store.get("stage", ["nested"], Answer, make)
    read = store.get("stage", ["nested"], Answer, must_not_run)
    entry = store.root / "stage" / made.key
    assert read.outputs == made.outputs
    assert read.outputs.shape == (1, 3, 64, 64)
    assert read.outputs.pairs == {"model.0": (8, 16)}
    assert read.outputs.by_name["folder"].path == entry / "folder"
    assert [a.path.relative_to(entry).as_posix() for a in artifacts(read.outputs)] == ["a", "b", "folder"]


def test_a_moved_store_still_serves(store: Store, tmp_path: Path) -> None:
    store.get("stage", [1], Artifact, file_with("content"))

    moved = Store(store.root.rename(tmp_path / "elsewhere"))
    assert moved.get("stage", [1], Artifact, must_not_run).outputs.path.is_relative_to(tmp_path / "elsewhere")


# ---- what goes wrong ------------------------------------------------------------------------------


def test_a_maker_that_raises_leaves_nothing_behind(store: Store) -> None:
    def make(out: Path) -> Artifact:
        (out / "half").write_text("half")
        raise StageError("no")

    with pytest.raises(StageError, match="^no$"):
        store.get("stage", [1], Artifact, make)
    assert leftovers(store) == []
    assert not (store.root / "stage").exists()
    assert not store.get("stage", [1], Artifact, file_with("whole")).reused


def change(entry: Path) -> None:
    (entry / "file.txt").write_text("by hand")


def remove(entry: Path) -> None:
    (entry / "file.txt").unlink()


def truncate_meta(entry: Path) -> None:
    meta = (entry / "meta.json").read_bytes()
    (entry / "meta.json").write_bytes(meta[: len(meta) // 2])


def empty_meta(entry: Path) -> None:
    (entry / "meta.json").write_bytes(b"")


def another_meta(entry: Path) -> None:
    (entry / "meta.json").write_text("[1]")


def meta_without_outputs(entry: Path) -> None:
    (entry / "meta.json").write_text('{"seconds": 1.0}')


def meta_of_another_shape(entry: Path) -> None:
    (entry / "meta.json").write_text('{"outputs": {"path": 3}, "seconds": 1.0}')


def file_in_its_place(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("a file")


@pytest.mark.parametrize(
    "damage",
    [
        change, remove, truncate_meta, empty_meta, another_meta, meta_without_outputs, meta_of_another_shape,
        file_in_its_place,
    ],
)  # fmt: skip
def test_a_damaged_entry_is_moved_aside_and_made_anew_with_a_warning(
    damage: Callable[[Path], None], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    stored = store.get("stage", [1], Artifact, file_with("content"))
    damage(store.root / "stage" / stored.key)

    again = store.get("stage", [1], Artifact, file_with("content"))
    assert not again.reused
    assert again.outputs.path.read_text() == "content"
    assert len(list((store.root / ".damaged").iterdir())) == 1
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"store: stage/{stored.key[:12]} is damaged (")
    assert store.get("stage", [1], Artifact, must_not_run).reused


def test_a_file_that_does_not_fit_is_one_line_and_leaves_nothing_half_written(store: Store) -> None:
    with files_no_larger_than(10_000), pytest.raises(StageError) as refusal:
        store.get("stage", [1], Artifact, file_with("x" * 1_000_000))

    assert str(refusal.value).startswith(f"stage: cannot write to the store at {store.root}: [Errno 27] File too large")
    assert "\n" not in str(refusal.value)
    assert leftovers(store) == []
    assert not (store.root / "stage").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(store: Store) -> None:
    def make(out: Path) -> Artifact:
        (out / "file.txt").symlink_to("/dev/full")
        return file_with("content")(out)

    with pytest.raises(StageError, match=r"^stage: cannot write to the store at .+: \[Errno 28\] No space left"):
        store.get("stage", [1], Artifact, make)
    assert leftovers(store) == []


@pytest.mark.parametrize("taken", [".", ".locks", ".tmp", "stage"])
def test_a_folder_that_cannot_be_made_is_one_line(taken: str, store: Store) -> None:
    (store.root / taken).parent.mkdir(parents=True, exist_ok=True)
    (store.root / taken).write_text("a file where a folder should be")

    with pytest.raises(StageError, match=r"^stage: cannot write to the store at [^\n]+$"):
        store.get("stage", [1], Artifact, file_with("content"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store_is_one_line(store: Store) -> None:
    store.root.mkdir()
    store.root.chmod(0o500)

    with pytest.raises(StageError, match=r"^stage: cannot write to the store at .+Permission denied"):
        store.get("stage", [1], Artifact, file_with("content"))
