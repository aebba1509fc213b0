import json
from dataclasses import asdict

from secateur.edge.fingerprint import fingerprint


def test_the_same_device_has_the_same_fingerprint() -> None:
    assert fingerprint() == fingerprint()


def test_a_fingerprint_survives_json() -> None:
    device = asdict(fingerprint())

    assert json.loads(json.dumps(device)) == {**device, "flags": list(device["flags"])}


def test_no_field_of_a_fingerprint_is_empty() -> None:
    device = fingerprint()

    assert all((device.machine, device.processor, device.cores, device.system))
