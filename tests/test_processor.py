import os

import pytest

from secateur.processor import activations_for, parse_cpuinfo, saturates, speed_flags, usable_cores

RASPBERRY_PI_5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU part\t: 0xd0b

processor\t: 1
BogoMIPS\t: 108.00
Features\t: fp asimd

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_flags_of_an_x86_processor_are_those_that_speed_depends_on() -> None:
    assert speed_flags({"flags": "fpu mmx avx2 sse4_2 rdtscp avx512_vnni"}) == ("avx2", "avx512_vnni", "sse4_2")


def test_flags_of_an_arm_processor_are_found_under_features() -> None:
    assert speed_flags(parse_cpuinfo(RASPBERRY_PI_5)) == ("asimd", "asimddp", "asimdhp")


def test_a_board_names_itself_in_cpuinfo() -> None:
    assert parse_cpuinfo(RASPBERRY_PI_5)["Model"] == "Raspberry Pi 5 Model B Rev 1.0"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to cores")
def test_only_cores_this_process_may_run_on_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        cores = usable_cores()
    finally:
        os.sched_setaffinity(0, allowed)

    assert cores == 1


@pytest.mark.parametrize(
    ("machine", "kind"), [("x86_64", "uint8"), ("AMD64", "uint8"), ("aarch64", "int8"), ("arm64", "int8")]
)
def test_activations_are_what_the_processors_kernels_are_made_for(machine: str, kind: str) -> None:
    assert activations_for(machine) == kind


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni"])
def test_x86_with_vnni_takes_weights_of_8_bits(flag: str) -> None:
    assert not saturates("x86_64", ("avx2", flag))


@pytest.mark.parametrize("flags", [("avx2", "fma"), ()], ids=["known", "unknown"])
def test_x86_without_vnni_wants_weights_of_7_bits(flags: tuple[str, ...]) -> None:
    assert saturates("x86_64", flags)


def test_arm_takes_weights_of_8_bits() -> None:
    assert not saturates("aarch64", ("asimd",))
