"""`secateur store`: what it tells of a store, and that it removes what nobody needs and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from secateur import cli, housekeeping
from secateur.errors import SpecError
from secateur.locking import held
from secateur.results import Artifact
from secateur.store import Store, artifact

Say = Callable[..., tuple[int, str, str]]

DAY = 86_400
USES = """
import sys
from pathlib import Path
from secateur.results import Artifact
from secateur.store import Store
store = Store(Path(sys.argv[1]))
store.get("prune", ["prune", 1, {}, {"rate": 0.1}], Artifact, sys.exit)
print("has it", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def store(outputs: Path) -> Store:
    return Store(outputs / "store")


@pytest.fixture
def secateur(outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`secateur store …` on the outputs: its exit code, and what it wrote to stdout and stderr."""

    def say(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["secateur", "store", *arguments, "--outputs", str(outputs)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return code, *capsys.readouterr()

    return say


def made(store: Store, stage: str = "prune", rate: float = 0.1, text: str = "content", days: float = 0) -> Path:
    """An entry that was last used so many days ago, by a run that has ended."""

    def make(out: Path) -> Artifact:
        (out / "file.txt").write_text(text)
        return artifact(out / "file.txt")

    stored = Store(store.root).get(stage, [stage, 1, {}, {"rate": rate}], Artifact, make)
    entry = store.root / stage / stored.key
    aged(entry / "meta.json", days)
    return entry


def aged(path: Path, days: float) -> None:
    moment = time.time() - days * DAY
    os.utime(path, (moment, moment))


def use(store: Store) -> subprocess.Popen[str]:
    """A run that has fetched the first entry, and goes on."""
    command = [sys.executable, "-c", USES, str(store.root)]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout
    assert run.stdout.readline() == "has it\n"
    return run


def collect(store: Store, days: float = 7) -> dict[str, int]:
    """How many of what gc removed."""
    gone = housekeeping.summed(housekeeping.collected(store, housekeeping.cutoff(days)))
    return {kind: total.entries for kind, total in gone.items()}


# ---- gc -------------------------------------------------------------------------------------------


def test_what_no_run_of_the_last_days_has_used_goes_with_its_lock(store: Store) -> None:
    old, young = made(store, rate=0.1, days=8), made(store, rate=0.2, days=6)

    assert collect(store, days=7) == {"prune": 1}
    assert not old.exists()
    assert young.exists()
    assert [lock.stem for lock in (store.root / ".locks").iterdir()] == [young.name]
    assert list((store.root / ".tmp").iterdir()) == []


def test_what_went_is_made_anew(store: Store) -> None:
    entry = made(store, days=8)
    collect(store)

    assert made(store) == entry
    assert (entry / "file.txt").read_text() == "content"


def test_what_a_live_run_has_fetched_stays_however_long_ago(store: Store) -> None:
    entry = made(store)
    run = use(store)
    aged(entry / "meta.json", days=100)

    assert collect(store, days=0) == {}
    assert entry.exists()
    run.communicate("")
    assert collect(store, days=0) == {"prune": 1}


def test_what_this_very_process_has_fetched_stays_as_long_as_its_store(store: Store) -> None:
    entry = made(store)
    store.get("prune", ["prune", 1, {}, {"rate": 0.1}], Artifact, pytest.fail)
    aged(entry / "meta.json", days=100)

    assert collect(Store(store.root), days=0) == {}
    assert entry.exists()


def test_what_only_a_killed_run_relied_on_goes(store: Store) -> None:
    entry = made(store)
    run = use(store)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    aged(entry / "meta.json", days=8)

    assert collect(store) == {"prune": 1}
    assert list(store.runs.iterdir()) == []


def test_what_somebody_looks_at_just_now_stays(store: Store) -> None:
    entry = made(store, days=8)

    with held(store.lock_of(entry.name)):
        assert collect(store) == {}
    assert entry.exists()


def test_what_is_used_between_the_look_and_the_removal_stays(store: Store) -> None:
    entry = made(store, days=8)
    going = housekeeping.waste(store, housekeeping.cutoff(7))
    found = next(going)
    made(store)

    assert not housekeeping._removed(store, found, housekeeping.cutoff(7))
    assert entry.exists()


def test_a_mark_of_a_clock_that_was_ahead_keeps_its_entry(store: Store) -> None:
    entry = made(store, days=-30)

    assert collect(store, days=0) == {}
    assert entry.exists()


def test_what_a_builder_left_goes_when_it_is_old_and_the_builder_dead(store: Store) -> None:
    made(store)
    old, young, building = (store.root / ".tmp" / name for name in ("a" * 64, "b" * 64, "c" * 64))
    for folder in (old, young, building):
        folder.mkdir(parents=True)
        (folder / "epoch.pt").write_text("3")
    for path in (old / "epoch.pt", old, building / "epoch.pt", building):
        aged(path, days=8)

    with held(store.lock_of(building.name)):
        assert collect(store) == {".tmp": 1}
    assert sorted((store.root / ".tmp").iterdir()) == [young, building]


def test_what_an_interrupted_gc_left_goes_at_once(store: Store) -> None:
    made(store)
    (store.root / ".tmp").joinpath("gone-abc-1").mkdir(parents=True)

    assert collect(store) == {".tmp": 1}
    assert list((store.root / ".tmp").iterdir()) == []


def test_what_was_moved_aside_goes_after_as_many_days(store: Store) -> None:
    for rate in (0.1, 0.2):
        entry = made(store, rate=rate)
        (entry / "file.txt").write_text("by hand")
    list(housekeeping.verified(store, lambda done, total: None))
    old, young = sorted((store.root / ".damaged").iterdir())
    aged(old, days=8)

    assert collect(store) == {".damaged": 1, ".locks": 2}
    assert list((store.root / ".damaged").iterdir()) == [young]


def test_locks_of_results_that_never_came_go_unless_they_are_held(store: Store) -> None:
    kept = made(store)
    for name in ("failed", "held"):
        store.lock_of(name).touch()
    store.lock_of("failed").with_suffix(".json").touch()

    with held(store.lock_of("held")):
        assert collect(store) == {".locks": 1}
    assert sorted(path.name for path in (store.root / ".locks").iterdir()) == [f"{kept.name}.lock", "held.lock"]


def test_of_two_gcs_the_second_is_refused(store: Store) -> None:
    for rate in (0.1, 0.2):
        made(store, rate=rate, days=8)
    first = housekeeping.collected(store, housekeeping.cutoff(7))
    next(first)

    with pytest.raises(SpecError, match=r"^another secateur store gc is at work in .+; wait for it$"):
        collect(store)
    assert len(list(first)) == 1


def test_gc_tells_what_went_by_stage(store: Store, secateur: Say) -> None:
    made(store, "prune", text="x" * 300_000, days=8)
    made(store, "evaluate", days=8)

    code, said, _ = secateur("gc", "--days", "7")
    rows = [line.split() for line in said.splitlines()]
    assert code == 0
    assert ["prune", "1", "0.3"] in rows
    assert said.endswith("\n0.3 MB in 2 entries removed\n")


def test_a_dry_run_only_tells(store: Store, secateur: Say) -> None:
    entry = made(store, days=8)

    _, said, _ = secateur("gc", "--days", "7", "--dry-run")
    assert said.endswith("MB in 1 entries would be removed\n")
    assert entry.exists()
    assert collect(store) == {"prune": 1}


# ---- ls, show, verify -----------------------------------------------------------------------------


def test_ls_adds_up_by_stage(store: Store, secateur: Say) -> None:
    for rate in (0.1, 0.2):
        made(store, "prune", rate, "x" * 1_000_000)
    made(store, "evaluate")

    code, said, _ = secateur("ls")
    rows = [line.split()[:3] for line in said.splitlines() if line.strip()]
    assert code == 0
    assert rows[0] == ["stage", "entries", "MB"]
    assert [row[:2] for row in rows[1:]] == [["prune", "2"], ["evaluate", "1"], ["all", "3"]]
    assert rows[1][2] == "2.0"


def test_ls_lists_the_entries_of_a_stage_the_last_used_first(store: Store, secateur: Say) -> None:
    old, young = made(store, rate=0.1, days=30), made(store, rate=0.2, days=3)

    _, said, _ = secateur("ls", "--stage", "prune")
    rows = [line for line in said.splitlines() if line.strip()]
    assert [row.split()[0] for row in rows] == ["key", young.name[:12], old.name[:12]]
    assert "30 days ago" in rows[2]


def test_ls_of_an_unknown_stage_says_which_there_are(store: Store, secateur: Say) -> None:
    made(store)

    code, _, said = secateur("ls", "--stage", "prun")
    assert code == 2
    assert said == f"secateur: nothing of a stage 'prun' in {store.root}; there are prune; did you mean 'prune'?\n"


def test_ls_of_a_run_adds_up_what_it_needs_and_what_of_that_is_gone(store: Store, outputs: Path, secateur: Say) -> None:
    here, gone = made(store, rate=0.1), made(store, rate=0.2)
    made(store, rate=0.3)
    shutil.rmtree(gone)
    for number, entries in enumerate(([here], [here, gone])):
        job = outputs / "sweeps" / "s" / str(number)
        job.mkdir(parents=True)
        lines = [msgspec.json.encode({"stage": "prune", "key": entry.name}) for entry in entries]
        (job / "records.jsonl").write_bytes(b"\n".join(lines))

    code, said, _ = secateur("ls", "--run", str(outputs / "sweeps" / "s"))
    rows = {row.split()[0]: row.split()[1] for row in said.splitlines()[1:]}
    assert code == 0
    assert rows == {"prune": "1", "(gone)": "1", "all": "2"}


def test_ls_of_a_folder_without_runs_is_one_line(store: Store, outputs: Path, secateur: Say) -> None:
    made(store)

    code, _, errors = secateur("ls", "--run", str(outputs / "nothing"))
    assert (code, errors) == (2, f"secateur: no run has recorded anything in {outputs / 'nothing'}\n")


def test_show_tells_what_an_entry_is_and_which_runs_name_it(store: Store, outputs: Path, secateur: Say) -> None:
    entry = made(store)
    for run, key in (("runs/one", entry.name), ("sweeps/two/0", entry.name), ("runs/other", "0" * 64)):
        (outputs / run).mkdir(parents=True)
        (outputs / run / "records.jsonl").write_text(f'{{"stage":"prune","key":"{key}"}}\n')

    code, said, _ = secateur("show", entry.name[:6])
    assert code == 0
    for told in ("prune, version 1", entry.name, '"rate": 0.1', "file.txt", "/runs/one", "/sweeps/two/0"):
        assert told in said
    assert "/runs/other" not in said


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("ab", "'ab' is too short for a key; give at least 4 of its digits"),
        ("zzzz", "no entry 'zzzz' in {root}; secateur store ls --stage NAME lists those of a stage"),
        ("abcd", "2 entries begin with 'abcd': prune/abcd1, prune/abcd2; give more digits"),
        ("abcd1", "{root}/prune/abcd1 does not say what it is"),
    ],
)
def test_show_refuses_what_names_no_single_entry_in_one_line(
    prefix: str, told: str, store: Store, secateur: Say
) -> None:
    made(store)
    for name in ("abcd1", "abcd2"):
        (store.root / "prune" / name).mkdir()

    code, _, said = secateur("show", prefix)
    assert code == 2
    assert said.startswith(f"secateur: {told.format(root=store.root)}")
    assert said.count("\n") == 1


def test_verify_finds_all_whole(store: Store, secateur: Say) -> None:
    made(store)

    assert secateur("verify") == (0, "all whole\n", "")


def test_verify_moves_aside_what_is_damaged_tells_each_and_exits_with_2(store: Store, secateur: Say) -> None:
    whole, changed, lost = (made(store, rate=rate) for rate in (0.1, 0.2, 0.3))
    (changed / "file.txt").write_text("by hand")
    (lost / "meta.json").unlink()

    code, said, told = secateur("verify")
    assert (code, said) == (2, "2 damaged\n")
    assert len(told.splitlines()) == 2
    assert f"secateur: prune/{changed.name[:12]} is damaged (file.txt): moved aside, into {store.root}/.damaged" in told
    assert list((store.root / "prune").iterdir()) == [whole]


def test_verify_looks_into_folders_and_nested_outputs(store: Store, secateur: Say) -> None:
    def make(out: Path) -> dict[str, list[Artifact]]:
        (out / "folder").mkdir()
        (out / "folder" / "file").write_text("content")
        return {"all": [artifact(out / "folder")]}

    key = store.get("convert", [1], dict[str, list[Artifact]], make).key
    (store.root / "convert" / key / "folder" / "file").write_text("by hand")

    assert secateur("verify")[0] == 2


# ---- one line -------------------------------------------------------------------------------------

COMMANDS = [("ls",), ("show", "abcd"), ("verify",), ("gc", "--days", "7")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_of_a_newer_version_is_left_alone(command: tuple[str, ...], store: Store, secateur: Say) -> None:
    entry = made(store, days=100)
    (store.root / ".format").write_text("99\n")

    code, _, said = secateur(*command)
    assert code == 2
    assert said.startswith(f"secateur: the store at {store.root} has format 99, and secateur ")
    assert entry.exists()


# ---- many -----------------------------------------------------------------------------------------


def fill(store: Store, count: int) -> None:
    """Entries as the store writes them, without waiting for the disk."""
    pattern = made(store, rate=0.0)
    content = (pattern / "file.txt").read_bytes()
    meta = msgspec.json.decode((pattern / "meta.json").read_bytes())
    for number in range(1, count):
        entry = store.root / "prune" / f"{number:064x}"
        entry.mkdir()
        (entry / "file.txt").write_bytes(content)
        (entry / "meta.json").write_bytes(msgspec.json.encode(meta))
        aged(entry / "meta.json", days=8)
    aged(pattern / "meta.json", days=8)


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Of the memory that Python takes inside, bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def look(store: Store) -> int:
    """Peak of the memory that listing, verifying and removing takes, bytes."""
    with peak() as bytes_taken:
        housekeeping.totals(store)
        list(housekeeping.verified(store, lambda done, total: None))
        housekeeping.summed(housekeeping.collected(store, housekeeping.cutoff(7)))
        return bytes_taken()


def test_memory_does_not_grow_with_the_store(store: Store, tmp_path: Path) -> None:
    few, many = Store(tmp_path / "few"), Store(tmp_path / "many")
    fill(few, 50)
    fill(many, 400)
    look(few)  # what the first call imports and keeps
    shutil.rmtree(few.root)
    fill(few, 50)

    assert look(many) < look(few) + 60_000  # 350 paths alone would take more
    assert not list((many.root / "prune").iterdir())


def test_a_thousand_entries_are_quick_to_look_up_in_and_to_remove(store: Store) -> None:
    fill(store, 1_000)

    started = time.perf_counter()
    for _ in range(20):
        made(store, rate=0.0)
    looked_up = time.perf_counter()
    collect(store)
    # ten times what the goals of `make bench` allow, as other tests may run beside
    assert looked_up - started < 20 * 0.05
    assert time.perf_counter() - looked_up < 10
