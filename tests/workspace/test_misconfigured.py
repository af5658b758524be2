"""What does not fit is a sentence that says what to set, at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.core import Config

from evalpoint.errors import ConfigurationError
from evalpoint.workspace import probing, sdk, workspace


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """No mistake takes long to be told."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, shorter, so that the test is."""
    monkeypatch.setattr(sdk, "_PATIENCE", 0.5)
    swift = probing.Settings(max_retries=1, connect_timeout=0.4, attempt_timeout=0.4, call_timeout=0.8)
    monkeypatch.setattr(probing, "_SWIFT", swift)


def refused(where: Any = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        workspace(where)
    return str(caught.value)


def test_nothing_configured(home: Path) -> None:
    """With nothing configured the message says which variables to set, and where profiles live."""
    message = refused()
    assert message.startswith("No Databricks workspace is configured. Set DATABRICKS_HOST and DATABRICKS_TOKEN")
    assert str(home / ".databrickscfg") in message


def test_host_only(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without credentials says which to add."""
    monkeypatch.setenv("DATABRICKS_HOST", fake.url)
    message = refused()
    assert message.startswith(
        f"Nothing is configured to authenticate to workspace {fake.url}. Set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID"
    )


def test_token_without_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token without a host is no workspace, and is not shown."""
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    message = refused()
    assert "DATABRICKS_HOST" in message
    assert "dapi-good" not in message


def test_two_methods(pat: Any, m2m: Any) -> None:
    """Two methods at once: both are named, with the variables that are set and the one that decides."""
    message = refused()
    assert message.startswith(f"Two ways to authenticate to workspace {pat.url} are configured at once: oauth and pat.")
    assert "DATABRICKS_TOKEN, DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET" in message
    assert "DATABRICKS_AUTH_TYPE" in message
    assert "dapi-good" not in message
    assert "my-secret" not in message


def test_two_methods_with_a_decision(pat: Any, m2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABRICKS_AUTH_TYPE decides between two methods."""
    monkeypatch.setenv("DATABRICKS_AUTH_TYPE", "oauth-m2m")
    assert workspace().auth_type == "oauth-m2m"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        pytest.param("night", "[DEFAULT]\nhost=http://h\n[dev]\nhost=http://h\n", "has 'DEFAULT', 'dev'.", id="others exist"),
        pytest.param("night", "", "has none.", id="empty file"),
        pytest.param("night", None, "databricks configure --profile night", id="no file"),
        pytest.param("__settings__", "[__settings__]\ndefault_profile=x\n", "has none.", id="reserved"),
        pytest.param("https://adb-1.example", None, "is an address and no profile", id="an address"),
    ],
)
def test_unknown_profile(home: Path, name: str, text: str | None, says: str) -> None:
    """An unknown profile is named, with those that exist."""
    if text is not None:
        (home / ".databrickscfg").write_text(text)
    message = refused(name)
    assert repr(name) in message
    assert says in message


def test_unknown_profile_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that names an unknown profile is named itself."""
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "night")
    assert "which DATABRICKS_CONFIG_PROFILE names" in refused()


@pytest.mark.parametrize(
    "text", ["token = dapi-secret-word\n", "[a]\nx=1\n[a]\ny=2\n", "[a\nbroken\n"], ids=["no section", "twice", "no bracket"]
)
def test_broken_file(home: Path, text: str) -> None:
    """A file that cannot be read is named with the line, and none of its lines is shown."""
    (home / ".databrickscfg").write_text(text)
    message = refused()
    assert "cannot be read" in message
    assert "dapi-secret-word" not in message


def test_unreachable_host(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host where nothing listens is named, with the reason."""
    monkeypatch.setenv("DATABRICKS_HOST", closed_port)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    message = refused()
    assert message.startswith(f"Workspace {closed_port} does not answer")
    assert "refused" in message


def test_unreachable_config(fake: Any, closed_port: str) -> None:
    """The same for a Config that was passed."""
    config = Config(host=fake.url, token="dapi-good")  # with the closed port its own constructor would wait
    config.host = closed_port
    assert refused(config).startswith(f"Workspace {closed_port} does not answer")


def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that does not exist is named."""
    monkeypatch.setenv("DATABRICKS_HOST", "https://workspace.invalid")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    assert "Workspace https://workspace.invalid does not answer" in refused()


@pytest.mark.usefixtures("impatient")
def test_hanging_host(hanging: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that accepts connections and never answers is given up on in time, and named."""
    monkeypatch.setenv("DATABRICKS_HOST", hanging)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    begun = time.monotonic()
    assert f"Workspace {hanging} does not answer" in refused()
    assert time.monotonic() - begun < 1.5


def test_patience_is_well_under_15_seconds() -> None:
    """The limits that the tests shorten add up to less than fifteen seconds."""
    assert probing._SWIFT.call_timeout + sdk._PATIENCE < 15


@pytest.mark.usefixtures("impatient")
def test_hanging_token_endpoint(m2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token endpoint that never answers is given up on, although the SDK would wait for ever."""
    release = threading.Event()
    monkeypatch.setattr(m2m, "_token", lambda *_: (release.wait(5), {})[1:] and (500, {}))
    message = refused()
    release.set()
    assert "took longer than" in message
    assert m2m.url in message


def test_wrong_client_secret(m2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that the token endpoint refuses are told at once, without the secret that it repeats."""
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "wrong-secret-word")
    message = refused()
    assert f"Authenticating to workspace {m2m.url} failed" in message
    assert "invalid_client" in message
    assert "wrong-secret-word" not in message
    assert "Basic [hidden]" in message
    assert "Config:" not in message


def test_wrong_client_secret_of_a_config(fake: Any) -> None:
    """The same for a Config that was passed."""
    message = refused(Config(host=fake.url, client_id="my-client", client_secret="wrong-secret-word"))
    assert message.startswith(f"No token could be had for workspace {fake.url} by oauth-m2m authentication")
    assert "wrong-secret-word" not in message


def test_host_that_shows_pages(pat: Any) -> None:
    """A host that answers its API with web pages is no workspace."""
    pat.introduces_itself = False
    pat.api_page = True
    assert (
        f"{pat.url} answers, but not as a Databricks workspace: GET /api/2.0/serving-endpoints gave status 200 and a web page" in refused()
    )


def test_host_that_speaks_something_else(hanging: str, monkeypatch: pytest.MonkeyPatch, make_talker: Callable[[bytes], str]) -> None:
    """A host that does not speak HTTP is named."""
    monkeypatch.setenv("DATABRICKS_HOST", make_talker(b"SSH-2.0-OpenSSH_9.0\r\n"))
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    assert "does not answer" in refused()


def test_a_failure_is_not_remembered(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed once is tried again: the network may be back."""
    monkeypatch.setenv("DATABRICKS_HOST", fake.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    fake.introduces_itself, fake.api_page = False, True
    refused()
    fake.introduces_itself, fake.api_page = True, False
    assert workspace().host == fake.url
