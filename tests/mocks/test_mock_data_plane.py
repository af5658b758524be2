"""The real SDK's data plane finds what it looks for in a mock workspace, and tokens run out as they do."""

from __future__ import annotations

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service.serving import DataframeSplitInput

from evalpoint.mocks import MockWorkspace

MESSAGES = [{"role": "user", "content": "What is MLflow?"}]


def plane_token(workspace: MockWorkspace, details: str | None, assertion: str | None = None) -> requests.Response:
    """A token in exchange for one of the service principal."""
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion or workspace.identity.issue_token()}
    given = form if details is None else {**form, "authorization_details": details}
    return requests.post(f"{workspace.url}/oidc/v1/token", data=given, timeout=10)


def post(url: str, token: str) -> requests.Response:
    return requests.post(
        url, json={"dataframe_split": {"columns": ["a"], "data": [[1]]}}, headers={"Authorization": f"Bearer {token}"}, timeout=10
    )


@pytest.mark.skipif(not hasattr(WorkspaceClient, "serving_endpoints_data_plane"), reason="this databricks-sdk has no data plane yet")
@pytest.mark.parametrize("when", ["before", "after"])
def test_data_plane(when: str) -> None:
    """The real SDK finds the data-plane host, exchanges its token, and is answered there."""
    workspace = MockWorkspace()
    if when == "before":
        workspace.custom("fast", [7], route_optimized=True)
    with workspace:
        if when == "after":
            workspace.custom("fast", [7], route_optimized=True)
        environ = workspace.oauth_environ
        config = Config(host=workspace.url, client_id=environ["DATABRICKS_CLIENT_ID"], client_secret=environ["DATABRICKS_CLIENT_SECRET"])
        reply = WorkspaceClient(config=config).serving_endpoints_data_plane.query(
            "fast", dataframe_split=DataframeSplitInput(columns=["a"], data=[[1]])
        )
        assert reply.predictions == [7]
        assert workspace.requests[-1].headers["host"] != workspace.url.removeprefix("http://")
        with pytest.raises(DatabricksError, match="route-optimized"):
            WorkspaceClient(config=Config(host=workspace.url, token=workspace.token)).serving_endpoints.query("fast", instances=[1])


def test_data_plane_tokens(workspace: MockWorkspace) -> None:
    """There, only a token made for this endpoint opens: no personal one, no workspace's own, none made for another endpoint."""
    workspace.custom("fast", "yes", route_optimized=True)
    workspace.custom("other", route_optimized=True)
    headers = {"Authorization": f"Bearer {workspace.token}"}
    described = {
        name: requests.get(f"{workspace.url}/api/2.0/serving-endpoints/{name}", headers=headers, timeout=10).json()
        for name in ("fast", "other")
    }
    url = described["fast"]["endpoint_url"]
    details = {name: body["data_plane_info"]["query_info"]["authorization_details"] for name, body in described.items()}
    tokens = {name: plane_token(workspace, details[name]).json()["access_token"] for name in described}
    personal = post(url, workspace.token)
    assert (personal.status_code, "Personal access tokens" in personal.json()["message"]) == (403, True)
    assert post(url, workspace.identity.issue_token()).status_code == 403
    assert post(url, tokens["other"]).status_code == 403
    assert post(url, "wrong").status_code == 401
    assert post(url, tokens["fast"]).json() == {"predictions": ["yes"]}
    assert post(url.replace("/fast/", "/nobody/"), tokens["fast"]).status_code == 404
    assert post(f"{url}/more", tokens["fast"]).json()["error_code"] == "ENDPOINT_NOT_FOUND"
    listing = requests.get(f"{workspace.url}/api/2.0/serving-endpoints", headers={"Authorization": f"Bearer {tokens['fast']}"}, timeout=10)
    assert listing.status_code == 401
    workspace.identity.expire_tokens()
    assert post(url, tokens["fast"]).status_code == 401


def test_no_exchange(workspace: MockWorkspace) -> None:
    """A personal token, a token made for one endpoint, and a request without details are not exchanged."""
    made = plane_token(workspace, "[]").json()["access_token"]
    assert plane_token(workspace, "[]", workspace.token).json()["error"] == "invalid_grant"
    assert plane_token(workspace, "[]", made).json()["error"] == "invalid_grant"
    assert plane_token(workspace, None).json()["error"] == "invalid_request"
    assert plane_token(workspace, "{").json()["error"] == "invalid_request"


def test_answers_that_break_on_the_data_plane() -> None:
    """An error of the answering function fails the test there too."""
    workspace = MockWorkspace().start()
    workspace.custom("fast", lambda record: 1 // 0, route_optimized=True)
    details = workspace.endpoint("fast").authorization_details
    url = workspace.endpoint("fast").describe()["endpoint_url"]
    assert post(url, plane_token(workspace, details).json()["access_token"]).status_code == 500
    with pytest.raises(ZeroDivisionError):
        workspace.stop()


def test_tokens_run_out() -> None:
    """A token may be good for so many requests only, so that it expires in the middle of a run; a principal may be switched off."""
    with MockWorkspace(token_uses=2) as workspace:
        workspace.chat("bot")
        url, body = f"{workspace.url}/serving-endpoints/bot/invocations", {"messages": MESSAGES}
        headers = {"Authorization": f"Bearer {workspace.identity.issue_token()}"}
        assert [requests.post(url, json=body, headers=headers, timeout=10).status_code for _ in range(3)] == [200, 200, 401]
        headers = {"Authorization": f"Bearer {workspace.identity.issue_token()}"}
        assert requests.post(url, json=body, headers=headers, timeout=10).status_code == 200
        workspace.identity.disable_principal()
        assert requests.post(url, json=body, headers=headers, timeout=10).status_code == 401
        auth = (workspace.identity.client_id, workspace.identity.client_secret)
        refused = requests.post(f"{workspace.url}/oidc/v1/token", data={"grant_type": "client_credentials"}, auth=auth, timeout=10)
        assert refused.json()["error"] == "invalid_client"
