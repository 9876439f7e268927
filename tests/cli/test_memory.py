"""`memsvc verify` and `memsvc restart`."""

import pytest
from memsvc_client import Verification


@pytest.fixture
def ada(fake):
    fake.create_tenant("ada")
    return fake


def test_verify_succeeds_if_the_hashes_are_equal(ada, memsvc):
    ran = memsvc("verify", "ada")
    assert ran.code == 0
    assert "folded hash" in ran.out
    assert "yes" in ran.out
    assert memsvc("verify", "ada", "--json").json == {"seq": 7, "state_hash": "ab", "folded_hash": "ab", "equal": True}


def test_verify_fails_if_they_are_not(ada, memsvc):
    ada.verification = Verification(seq=7, state_hash="ab", folded_hash="cd", equal=False)
    ran = memsvc("verify", "ada")
    assert ran.code == 1
    assert "cd" in ran.out
    ran = memsvc("verify", "ada", "--json")
    assert (ran.code, ran.json["equal"]) == (1, False)


def test_verify_waits_as_long_as_it_takes(ada, memsvc):
    memsvc("verify", "ada")
    assert ada.options["timeout"] >= 3600


def test_restart_says_its_record(ada, memsvc):
    ran = memsvc("restart", "ada")
    assert ran.code == 0
    assert "(record 1)" in ran.out
    assert memsvc("restart", "ada", "--json").json == {"tenant": "ada", "seq": 2}


@pytest.mark.parametrize("command", ["verify", "restart", "watch"])
def test_an_unknown_tenant_is_said(fake, memsvc, command):
    ran = memsvc(command, "nobody")
    assert (ran.code, ran.err) == (1, "error: tenant: there is none of that id\n")
