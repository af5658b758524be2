"""Opening a workspace with the real databricks-sdk: which one, who is calling, and once per process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from evalpoint.calls import account
from evalpoint.errors import AccessDenied, ConfigurationError
from evalpoint.workspace import Workspace, workspace
from evalpoint.workspace.credentials import SdkCredentials
from evalpoint.workspace.profiles import configured
from evalpoint.workspace.sdk import fresh_login, new_config

INTRODUCTION = "/.well-known/databricks-config"
ENDPOINTS = "/api/2.0/serving-endpoints"


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """The results of the same work in many threads that start together."""
    barrier = threading.Barrier(count)
    results: list[Any] = []

    def run() -> None:
        barrier.wait()
        results.append(work())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_token_from_the_environment(pat: Any) -> None:
    """A host and a token in the environment are enough; every request carries the token and says who we are."""
    opened = workspace()
    assert (opened.host, opened.auth_type) == (pat.url, "pat")
    assert opened.get(ENDPOINTS) == {"endpoints": []}
    sent = pat.sent(ENDPOINTS)[0]
    assert sent["authorization"] == "Bearer dapi-good"
    assert "databricks-sdk-py/" in sent["user-agent"]
    assert " evalpoint/" in sent["user-agent"]
    assert "x-databricks-workspace-id" not in sent


def test_service_principal(m2m: Any) -> None:
    """OAuth for machines: one token, asked for once, sent with every request."""
    opened = workspace()
    assert opened.auth_type == "oauth-m2m"
    opened.get(ENDPOINTS)
    opened.get(ENDPOINTS)
    assert [sent["authorization"] for sent in m2m.sent(ENDPOINTS)] == ["Bearer oauth-1", "Bearer oauth-1"]
    assert m2m.count("/oidc/v1/token") == 1


def test_opened_once(pat: Any) -> None:
    """Many threads that open the same workspace at once get the same one, with one Config."""
    opened = in_threads(16, workspace)
    assert len({id(each) for each in opened}) == 1
    once = pat.count(INTRODUCTION)
    assert workspace() is opened[0]
    assert pat.count(INTRODUCTION) == once <= 2


def test_environment_that_changes(pat: Any, make_workspace: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that sets another host or token gets another workspace; setting it back gets the first."""
    first, other = workspace(), make_workspace()
    monkeypatch.setenv("DATABRICKS_HOST", other.url)
    second = workspace()
    assert (first.host, second.host) == (pat.url, other.url)
    monkeypatch.setenv("DATABRICKS_HOST", pat.url)
    assert workspace() is first


def profile_file(home: Path, **sections: dict[str, str]) -> Path:
    text = "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in fields.items()) for name, fields in sections.items())
    file = home / ".databrickscfg"
    file.write_text(text)
    return file


def test_profiles(fake: Any, make_workspace: Callable[[], Any], home: Path) -> None:
    """Without a name the DEFAULT profile holds; a named one is another workspace, at the same time."""
    other = make_workspace()
    other.tokens = {"dapi-other%"}
    profile_file(home, DEFAULT={"host": fake.url, "token": "dapi-good"}, judges={"host": other.url, "token": "dapi-other%"})
    main, judges = workspace(), workspace("judges")
    assert (main.host, judges.host) == (fake.url, other.url)
    assert main.get(ENDPOINTS) == judges.get(ENDPOINTS) == {"endpoints": []}
    assert workspace("judges") is judges
    assert main.credentials.key != judges.credentials.key


def test_named_profile_wins_over_the_environment(pat: Any, make_workspace: Callable[[], Any], home: Path) -> None:
    """What the caller names is not overridden by DATABRICKS_HOST and DATABRICKS_TOKEN, and no token goes to the other workspace."""
    other = make_workspace()
    profile_file(home, judges={"host": other.url, "client_id": "my-client", "client_secret": "my-secret"})
    judges = workspace("judges")
    assert (judges.host, judges.auth_type) == (other.url, "oauth-m2m")
    judges.get(ENDPOINTS)
    assert other.sent(ENDPOINTS)[0]["authorization"] == "Bearer oauth-1"
    assert workspace().host == pat.url


def test_profile_of_the_environment(fake: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABRICKS_CONFIG_FILE and DATABRICKS_CONFIG_PROFILE are honoured."""
    profile_file(home, night={"host": fake.url, "token": "dapi-good"}).rename(home / "elsewhere.cfg")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(home / "elsewhere.cfg"))
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "night")
    assert workspace().host == fake.url


def test_file_that_changes(fake: Any, make_workspace: Callable[[], Any], home: Path) -> None:
    """A profile that is edited is another workspace."""
    other = make_workspace()
    profile_file(home, dev={"host": fake.url, "token": "dapi-good"})
    first = workspace("dev")
    profile_file(home, dev={"host": other.url, "token": "dapi-good", "unused": "x"})
    assert (first.host, workspace("dev").host) == (fake.url, other.url)


def test_config_and_client(fake: Any) -> None:
    """A Config or a WorkspaceClient is taken as it is, and is opened once."""
    config = Config(host=fake.url, token="dapi-good")
    opened = workspace(config)
    assert opened.get(ENDPOINTS) == {"endpoints": []}
    assert workspace(config) is opened
    client = WorkspaceClient(host=fake.url, token="dapi-good")
    assert workspace(client) is workspace(client)
    assert workspace(client).host == fake.url


def test_three_workspaces_at_once(make_workspace: Callable[[], Any]) -> None:
    """Endpoint, judges and tracking may be three workspaces, used from many threads at the same time."""
    fakes = [make_workspace() for _ in range(3)]
    for number, each in enumerate(fakes):
        each.tokens = {f"dapi-{number}"}
    opened = [workspace(Config(host=each.url, token=f"dapi-{number}")) for number, each in enumerate(fakes)]
    results = in_threads(12, lambda: [each.get(ENDPOINTS) for each in opened])
    assert results == [[{"endpoints": []}] * 3] * 12
    for number, each in enumerate(fakes):
        assert {sent["authorization"] for sent in each.sent(ENDPOINTS)} == {f"Bearer dapi-{number}"}


def test_workspace_id_is_sent(pat: Any) -> None:
    """A host that serves several workspaces is told which one."""
    pat.workspace_id = "4711"
    opened = workspace()
    if not hasattr(Config, "workspace_id"):
        pytest.skip("this databricks-sdk knows no workspace ids")
    opened.get(ENDPOINTS)
    assert pat.sent(ENDPOINTS)[0]["x-databricks-workspace-id"] == "4711"


def test_scopes_are_another_login(m2m: Any) -> None:
    """Other OAuth scopes are a Config of their own; the same ones are not, in any order."""
    if not hasattr(Config, "scopes"):
        pytest.skip("this databricks-sdk knows no scopes")
    plain, scoped = workspace(), workspace(scopes=["b", "a"])
    assert plain is not scoped
    assert workspace(scopes=["a", "b"]) is scoped
    assert [form["scope"] for form in m2m.forms] == [["all-apis"], ["a b"]]
    config = Config(host=m2m.url, client_id="my-client", client_secret="my-secret")
    workspace(config, scopes=["c"]).get(ENDPOINTS)
    assert m2m.forms[-1]["scope"] == ["c"]
    assert config.scopes is None


def test_refused_token_is_renewed_once(m2m: Any) -> None:
    """Twenty threads whose token has been revoked make one new one between them, and all get their answer."""
    opened = workspace()
    m2m.tokens.clear()
    with account() as used:
        opened.get(ENDPOINTS)
    assert (used.corrections, used.retries) == (1, 0)
    m2m.tokens.clear()
    before = m2m.issued
    assert in_threads(20, lambda: opened.get(ENDPOINTS)) == [{"endpoints": []}] * 20
    assert m2m.issued == before + 1


def test_latecomers_take_what_was_renewed(fake: Any) -> None:
    """Who is refused with an old token long after it was replaced takes the new one, without another login."""
    now = [0.0]
    config = Config(host=fake.url, client_id="my-client", client_secret="my-secret")
    credentials = SdkCredentials(config, fresh_login, clock=lambda: now[0])
    old = credentials.headers()
    credentials.refresh(old)
    now[0] = 1000.0
    credentials.refresh(old)
    assert (credentials.headers(), fake.issued) == ({"Authorization": "Bearer oauth-2"}, 2)


def test_the_sdks_own_patience_is_bounded(pat: Any) -> None:
    """The Config that we make gives up after seconds, not after the SDK's five minutes."""
    config = new_config(configured(None, os.environ), None)
    assert config.retry_timeout_seconds == config.http_timeout_seconds == 5


def test_callers_config_is_not_changed_by_renewal(fake: Any) -> None:
    """A Config that was passed keeps its own login; the fresh one is ours."""
    config = Config(host=fake.url, client_id="my-client", client_secret="my-secret")
    opened = workspace(config)
    fake.tokens.clear()
    assert opened.get(ENDPOINTS) == {"endpoints": []}
    assert config.authenticate() == {"Authorization": "Bearer oauth-1"}
    assert opened.credentials.headers() == {"Authorization": "Bearer oauth-2"}


def test_replaced_token_is_read_again(fake: Any, home: Path) -> None:
    """A token that was replaced in the profile's file is found when the old one is refused."""
    profile_file(home, dev={"host": fake.url, "token": "dapi-good"})
    opened = workspace("dev")
    fake.tokens = {"dapi-new"}
    profile_file(home, dev={"host": fake.url, "token": "dapi-new"})
    assert opened.get(ENDPOINTS) == {"endpoints": []}


def test_renewal_never_takes_another_workspaces_token(pat: Any, make_workspace: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """When the environment names another workspace by then, its token is not sent to this one."""
    opened, other = workspace(), make_workspace()
    pat.tokens.clear()
    monkeypatch.setenv("DATABRICKS_HOST", other.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-of-other")
    with pytest.raises(AccessDenied):
        opened.get(ENDPOINTS)
    assert {sent["authorization"] for sent in pat.sent(ENDPOINTS)} == {"Bearer dapi-good"}


def test_dead_token_is_refused_twice(pat: Any) -> None:
    """A token that stays refused ends in one clear error, after one renewal for all who were refused."""
    opened = workspace()
    pat.tokens.clear()
    before = pat.count(INTRODUCTION)

    def ask() -> str:
        with pytest.raises(AccessDenied, match="The credentials were refused") as caught:
            opened.get(ENDPOINTS)
        return str(caught.value)

    assert len(set(in_threads(8, ask))) == 1
    assert pat.count(INTRODUCTION) - before <= 2


def test_principal(pat: Any) -> None:
    """Who is calling is asked for only when wanted, and its lack is no error."""
    opened = workspace()
    assert pat.count("/api/2.0/preview/scim/v2/Me") == 0
    assert opened.principal() == "ada@example.com"
    pat.me = {"displayName": "nightly"}
    assert opened.principal() == "nightly"
    pat.me = ["nonsense"]
    assert opened.principal() is None
    pat.tokens.clear()
    assert opened.principal() is None


def test_older_workspace(pat: Any) -> None:
    """A workspace that does not introduce itself is one all the same when its API answers."""
    pat.introduces_itself = False
    assert workspace().get(ENDPOINTS) == {"endpoints": []}


def test_host_from_an_address_bar(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a browser puts behind the host is dropped."""
    monkeypatch.setenv("DATABRICKS_HOST", f"{fake.url}/?o=123#job")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-good")
    opened = workspace()
    assert opened.host == fake.url
    assert opened.get(ENDPOINTS) == {"endpoints": []}


def test_no_secrets_shown(pat: Any, m2m: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the workspace nor its credentials show a token, and the identity's key gives none away."""
    monkeypatch.delenv("DATABRICKS_CLIENT_ID")
    monkeypatch.delenv("DATABRICKS_CLIENT_SECRET")
    opened = workspace()
    shown = f"{opened!r} {opened.credentials!r} {opened.server!r} {opened.credentials.key}"
    assert "dapi-good" not in shown
    assert isinstance(opened, Workspace)


def test_nothing_is_logged(pat: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """The SDK's warnings of its own probing do not reach the user; other threads' lines do."""
    pat.introduces_itself = False
    with caplog.at_level(logging.DEBUG):
        workspace()
    assert [record for record in caplog.records if record.name.startswith("databricks")] == []
    logging.getLogger("databricks.sdk").warning("the user's own")
    assert "the user's own" in caplog.text
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("where", [42, object(), {"host": "x"}], ids=["number", "object", "dict"])
def test_what_is_no_workspace(where: Any) -> None:
    """Anything else is refused by its type."""
    with pytest.raises(ConfigurationError, match=r"takes a profile.s name, a databricks\.sdk Config or a WorkspaceClient"):
        workspace(where)
