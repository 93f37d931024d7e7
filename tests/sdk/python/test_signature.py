"""The signer of these tests signs as everyone's does."""

import json

from server import PROJECT, signature


def test_signatures_are_those_of_the_vectors():
    cases = json.loads((PROJECT / "tests/vectors/signatures.json").read_text())["cases"]
    valid = [case for case in cases if case["valid"]]
    assert len(valid) >= 4
    for case in valid:
        made = signature(case["secret"], case["id"], case["timestamp"], case["body"].encode())
        assert made in case["signature"].split(), case["name"]
