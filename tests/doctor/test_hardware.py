import pytest

from secateur.doctor.hardware import checks, cores, halves, int8, memory

MEMINFO = (
    "MemTotal:       16000000 kB\nMemFree:         100000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0"
)


@pytest.mark.parametrize(
    ("machine", "flags", "state", "said"),
    [
        ("x86_64", ("avx2", "avx512_vnni"), "ok", "avx512_vnni: products are added up in 32 bits"),
        ("x86_64", ("avx2",), "note", "added up in 16 bits, so that weights get 7"),
        ("AMD64", (), "note", "does not tell the processor's flags: products are added up in 16 bits"),
        ("aarch64", ("asimddp",), "ok", "asimddp: products are added up in 32 bits"),
        ("aarch64", ("asimd",), "note", "takes several instructions"),
    ],
)
def test_int8_is_told_by_what_adds_up_its_products(machine: str, flags: tuple[str, ...], state: str, said: str) -> None:
    found = int8(machine, flags)

    assert found.state == state
    assert said in found.text
    assert (found.remedy is None) == (state == "ok")


@pytest.mark.parametrize(
    ("flags", "state", "said"),
    [(("amx_bf16",), "ok", "amx_bf16"), (("avx2",), "note", "none of"), (("asimdhp",), "note", "precision=f16")],
)
def test_bf16_is_told_by_what_multiplies_it(flags: tuple[str, ...], state: str, said: str) -> None:
    assert halves(flags).state == state
    assert said in halves(flags).text


@pytest.mark.parametrize("quota", [None, "max 100000", "800000 100000"])
def test_cores_that_no_quota_limits_are_fine(quota: str | None) -> None:
    assert cores(8, 64, quota).state == "ok"
    assert cores(8, 64, quota).text == "8 usable of 64"


def test_a_containers_quota_below_its_cores_says_how_many_threads_it_takes() -> None:
    found = cores(64, 64, "250000 100000")

    assert (found.state, found.remedy) == ("note", "runtime.threads=2 or fewer")
    assert "may use 2.5 at a time" in found.text


def test_memory_is_what_is_available_not_what_is_unused() -> None:
    (found,) = memory(MEMINFO, None)

    assert (found.state, found.text) == ("ok", "8.2 GB free of 16.4 GB")  # by hand: kB of 1024 bytes, GB of 10⁹


def test_memory_ends_where_the_containers_limit_does() -> None:
    (found,) = memory(MEMINFO, "500000000")

    assert found.state == "note"
    assert "0.5 GB free of 0.5 GB that the container may use" in found.text


def test_a_system_that_does_not_tell_of_its_memory_is_not_asked() -> None:
    assert list(memory(None, None)) == []


def test_this_machine_is_told_with_its_providers() -> None:
    found = {check.name: check for check in checks()}

    assert {"processor", "INT8", "bf16", "cores", "onnxruntime"} <= found.keys()
    assert "CPUExecutionProvider" in found["onnxruntime"].text
