"""What must not come between a backbone and a stub of its server."""

import pytest


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    """No proxy; and a key and names that are for another server."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", "of-the-environment")
