import errno
import hashlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import pytest

from secateur import __version__
from secateur.datasets.yolo_folder import YoloFolder
from secateur.errors import BrokenOffError, SpecError, StageError
from secateur.quantizers import fp32
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_static import Int8Static
from secateur.results import Artifact, Footprint
from secateur.specs import PLACE
from secateur.stages import prepare
from secateur.store import FORMAT, Store, artifact, artifacts, digest, digest_of, last_used, size
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


class Suit(str, Enum):  # noqa: UP042 - unlike a StrEnum's, its str() is not its value
    HEARTS = "hearts"


class Rank(int, Enum):
    ACE = 1


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


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            ["stage", 3, {"torch": "2.9.0"}, Question(1, Artifact(Path("here"), "abc"), {"b": 0.5, "a": 1e-5})],
            '["stage",3,{"torch":"2.9.0"},{"data":"abc","kind":"Question","options":{"a":1e-05,"b":0.5},"seed":1}]',
        ),
        ({"name": 'é "quoted"\n', "none": None, "yes": True}, '{"name":"é \\"quoted\\"\\n","none":null,"yes":true}'),
        ([0.1, 1 / 3, 1e22, 2**70], "[0.1,0.3333333333333333,10000000000000000000000,1180591620717411303424]"),
        ({10: "ten", 9: "nine"}, '{"10":"ten","9":"nine"}'),
        ((Suit.HEARTS, {Suit.HEARTS: Rank.ACE}), '["hearts",{"hearts":1}]'),
    ],
)
def test_a_key_is_the_sha256_of_json_as_written_by_hand(value: object, written: str) -> None:
    assert digest_of(value) == hashlib.sha256(written.encode()).hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "1", "1234"])
def test_another_process_has_the_same_key(hash_seed: str) -> None:
    value = {"names": {"person": 0, "dog": 1, "é": 2}, "rates": [0.1, 1e-07, 2.0], "none": None}
    code = f"from secateur.store import digest_of; print(digest_of({value!r}))"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}

    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == digest_of(value)


def test_equal_numbers_have_the_same_key_however_they_are_written() -> None:
    assert digest_of(Question(1, options={"rate": 1})) == digest_of(Question(1, options={"rate": 1.0}))
    assert digest_of([0.0]) == digest_of([-0.0]) == digest_of([0])
    assert digest_of([True]) != digest_of([1])
    assert digest_of(["1"]) != digest_of([1])


def test_texts_that_only_look_alike_differ() -> None:
    assert digest_of(unicodedata.normalize("NFC", "é")) != digest_of(unicodedata.normalize("NFD", "é"))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_named(number: float) -> None:
    with pytest.raises(SpecError) as refusal:
        digest_of(["stage", Question(1, options={"rate": number})])

    where = "[1].options.rate"
    assert str(refusal.value) == f"{where} is {number}, by which no result can be found again; give a finite number"


def test_a_name_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^names\[0\] is 'caf\\udce9', which is no UTF-8; rename it$"):
        digest_of({"names": [os.fsdecode(b"caf\xe9")]})


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {True: "a"}, {0.5: "a"}, {None: "a"}, {("a",): 1}])
def test_keys_that_json_cannot_tell_apart_are_refused(value: dict[object, object]) -> None:
    with pytest.raises(TypeError, match="no canonical form"):
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


def test_the_size_of_a_folder_is_that_of_its_files_and_of_what_links_lead_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_bytes(bytes(1000))
    (tmp_path / "elsewhere").write_bytes(bytes(10))
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")

    assert size(folder) == 1010
    assert size(folder / "sub" / "a") == 1000


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


def test_all_is_on_the_disk_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def noted_sync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    key = store.get("stage", [1], Artifact, file_with("content")).key

    assert done == ["sync file.txt", "sync meta.json", f"sync {key}", f"rename to {key}", "sync stage"]


# ---- its format, and when it was used -------------------------------------------------------------


def test_a_store_says_its_format(store: Store) -> None:
    store.get("stage", [1], Artifact, file_with("content"))

    assert (store.root / ".format").read_text() == f"{FORMAT}\n"


@pytest.mark.parametrize("said", [None, "", "1\n"])
def test_a_store_that_says_none_or_an_older_format_serves(said: str | None, store: Store) -> None:
    store.get("stage", [1], Artifact, file_with("content"))
    (store.root / ".format").unlink()
    if said is not None:
        (store.root / ".format").write_text(said)

    assert Store(store.root).get("stage", [1], Artifact, must_not_run).reused


def test_a_store_of_a_newer_version_is_refused_in_one_line(store: Store) -> None:
    store.root.mkdir()
    (store.root / ".format").write_text(f"{FORMAT + 1}\n")

    with pytest.raises(SpecError) as refusal:
        store.get("stage", [1], Artifact, must_not_run)
    assert str(refusal.value) == (
        f"the store at {store.root} has format {FORMAT + 1}, and secateur {__version__} reads up to {FORMAT}: "
        "pip install --upgrade secateur, or take another folder with outputs=…"
    )
    assert [path.name for path in store.root.iterdir()] == [".format"]


def test_a_format_that_is_none_is_refused(store: Store) -> None:
    store.root.mkdir()
    (store.root / ".format").write_text("two")

    with pytest.raises(SpecError, match=r"/\.format says 'two', which is no format; delete it if secateur made this"):
        store.get("stage", [1], Artifact, must_not_run)


def test_a_fetch_marks_what_it_gave_as_used(store: Store) -> None:
    entry = store.root / "stage" / store.get("stage", [1], Artifact, file_with("content")).key
    os.utime(entry / "meta.json", (1e9, 1e9))
    before = time.time() - 1.0  # of a file system's clock, which ticks coarsely

    store.get("stage", [1], Artifact, must_not_run)
    assert last_used(entry) > before


def test_a_clock_that_jumped_back_takes_no_mark_back(store: Store) -> None:
    entry = store.root / "stage" / store.get("stage", [1], Artifact, file_with("content")).key
    tomorrow = time.time() + 86_400
    os.utime(entry / "meta.json", (tomorrow, tomorrow))

    store.get("stage", [1], Artifact, must_not_run)
    assert last_used(entry) == pytest.approx(tomorrow)


def test_a_mark_that_cannot_be_set_does_not_fail_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.get("stage", [1], Artifact, file_with("content"))

    def somebody_elses(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", somebody_elses)
    assert store.get("stage", [1], Artifact, must_not_run).reused


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


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    """A store on a disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "secateur-test", disk)
    yield Store(disk / "store")
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def read_only(store: Store, tmp_path: Path) -> Iterator[Store]:
    """A store with one entry, as seen through a mount that takes no writes."""
    store.get("stage", [1], Artifact, file_with("content"))
    seen = tmp_path / "seen"
    seen.mkdir()
    mount("--bind", store.root, seen)
    mount("-o", "remount,bind,ro", seen)
    yield Store(seen)
    subprocess.run(["umount", "--lazy", seen], check=True)


def grow(store: Store) -> None:
    mount("-o", "remount,size=8m", store.root.parent)


def test_a_disk_that_fills_up_while_a_stage_writes_is_one_line_and_with_more_room_the_same_call_works(
    small: Store,
) -> None:
    make = file_with("x" * 2_000_000)

    with pytest.raises(StageError) as refusal:
        small.get("stage", [1], Artifact, make)
    assert str(refusal.value) == (
        f"stage: cannot write to the store at {small.root}: [Errno 28] No space left on device; "
        f"make room, for instance with secateur store gc --days 30 --outputs {small.root.parent}, "
        "and start again: what is done stays"
    )
    assert leftovers(small) == []
    assert not (small.root / "stage").exists()
    grow(small)
    assert not small.get("stage", [1], Artifact, make).reused


def test_a_disk_that_fills_up_before_a_result_is_published_leaves_nothing_half(small: Store) -> None:
    filler = small.root.parent / "filler"

    def make(out: Path) -> Artifact:
        made = file_with("content")(out)
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return made

    with pytest.raises(StageError, match=r"^stage: cannot write to the store at .+No space left on device"):
        small.get("stage", [1], Artifact, make)
    assert leftovers(small) == []
    filler.unlink()
    assert not small.get("stage", [1], Artifact, file_with("content")).reused


def test_a_read_only_store_gives_what_it_has(read_only: Store) -> None:
    stored = read_only.get("stage", [1], Artifact, must_not_run)

    assert stored.reused
    assert stored.outputs.path.read_text() == "content"


def test_a_read_only_store_that_lacks_something_is_one_line(read_only: Store) -> None:
    with pytest.raises(StageError) as refusal:
        read_only.get("stage", [2], Artifact, must_not_run)

    assert str(refusal.value).startswith(f"stage: cannot write to the store at {read_only.root}: [Errno 30] Read-only")
    assert str(refusal.value).endswith("; take another folder with outputs=…")


def test_a_damaged_entry_of_a_read_only_store_is_one_line(read_only: Store, store: Store) -> None:
    (entry,) = (store.root / "stage").iterdir()
    change(entry)

    with pytest.raises(StageError, match=rf"^stage/{entry.name[:12]} is damaged \(file.txt\)$"):
        read_only.get("stage", [1], Artifact, must_not_run)


def test_a_result_that_another_process_published_meanwhile_stays_whole(store: Store) -> None:
    def make(out: Path) -> Artifact:
        store.lock_of(out.name).unlink()  # as if locks did not reach that process
        Store(store.root).get("stage", [1], Artifact, file_with("theirs"))
        out.mkdir()
        return file_with("ours")(out)

    with pytest.raises(StageError, match=r"^stage: cannot write to the store at [^\n]+not empty[^\n]+$"):
        store.get("stage", [1], Artifact, make)
    assert leftovers(store) == []
    assert store.get("stage", [1], Artifact, must_not_run).outputs.path.read_text() == "theirs"
