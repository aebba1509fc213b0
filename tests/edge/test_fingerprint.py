import json
import os
from dataclasses import asdict

import pytest

from secateur.edge.fingerprint import fingerprint, parse_cpuinfo, speed_flags, usable_cores

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


def test_the_same_device_has_the_same_fingerprint() -> None:
    assert fingerprint() == fingerprint()


def test_a_fingerprint_survives_json() -> None:
    device = asdict(fingerprint())

    assert json.loads(json.dumps(device)) == {**device, "flags": list(device["flags"])}


def test_no_field_of_a_fingerprint_is_empty() -> None:
    device = fingerprint()

    assert all((device.machine, device.processor, device.cores, device.system))


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
