"""A running mock workspace, and a caller that is no code of ours: plain requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from evalpoint.mocks import Ids, MockWorkspace

Caller = Callable[..., requests.Response]


@pytest.fixture
def workspace() -> Iterator[MockWorkspace]:
    with MockWorkspace(ids=Ids(1)) as running:
        yield running


@pytest.fixture
def call(workspace: MockWorkspace) -> Iterator[Caller]:
    """POSTs a body to an endpoint, with the workspace's token."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {workspace.token}"

        def post(name: str, body: Any, path: str = "invocations") -> requests.Response:
            url = f"{workspace.url}/serving-endpoints/{name}/{path}"
            response = session.post(url, json=body, timeout=10, allow_redirects=False, stream=True)
            response.raw.enforce_content_length = True  # urllib3 1.26 takes a body that is cut off for a whole one
            _ = response.content
            return response

        yield post


@pytest.fixture
def get(workspace: MockWorkspace) -> Iterator[Callable[[str], requests.Response]]:
    """GETs a path, with the workspace's token."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {workspace.token}"
        yield lambda path: session.get(workspace.url + path, timeout=10)
