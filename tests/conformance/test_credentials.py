"""The table of credentials: what `Credentials` promises, for every store."""

import asyncio

import pytest

from memsvc.errors import FailedPreconditionError
from memsvc.store.credentials import CredentialTable


async def test_a_new_deployment_has_none(store) -> None:
    assert await store.credentials() == CredentialTable(0, {})
    assert await store.credentials_version() == 0


async def test_what_was_put_is_there_after_a_restart(store, reopen) -> None:
    assert await store.change_credentials(0, {"a": b"one", "b": bytes(range(256))}) == 1
    assert await store.change_credentials(1, {"a": b"another"}, ["b", "nobody"]) == 2
    assert await store.change_credentials(2, {"c": b""}) == 3
    assert await store.credentials() == CredentialTable(3, {"a": b"another", "c": b""})
    store = await reopen()
    assert await store.credentials() == CredentialTable(3, {"a": b"another", "c": b""})
    assert await store.credentials_version() == 3


async def test_a_change_that_rests_on_an_older_table_changes_nothing(store) -> None:
    await store.change_credentials(0, {"a": b"one"})
    for version in (0, 2):
        with pytest.raises(FailedPreconditionError) as caught:
            await store.change_credentials(version, {"a": b"two", "b": b"two"}, ["a"])
        assert caught.value.reason == "CREDENTIALS_CHANGED"
    assert await store.credentials() == CredentialTable(1, {"a": b"one"})


async def test_of_many_at_once_one_succeeds(store) -> None:
    done = await asyncio.gather(*(store.change_credentials(0, {str(i): b""}) for i in range(8)), return_exceptions=True)
    made = [i for i, outcome in enumerate(done) if outcome == 1]
    assert all(isinstance(outcome, FailedPreconditionError) for outcome in done if outcome != 1)
    assert await store.credentials() == CredentialTable(1, {str(i): b"" for i in made})
    assert len(made) == 1


async def test_tenants_do_not_touch_it(store, reopen) -> None:
    await store.change_credentials(0, {"a": b"one"})
    row = await store.create_tenant("t", b"", b"", "")
    await store.delete_tenant(row.uid, "r")
    assert (await (await reopen()).credentials()).bodies == {"a": b"one"}
