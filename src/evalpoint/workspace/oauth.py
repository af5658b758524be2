"""Which logins give OAuth tokens, which apps and data planes take; the others are refused when something is opened, with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalpoint.errors import ConfigurationError
from evalpoint.workspace.opening import Workspace, workspace

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

__all__ = ["oauth_workspace"]

_NOTEBOOK = "runtime"
_SCOPES = ("all-apis",)
_REFUSED = {
    "pat": "a personal access token",
    "basic": "a user name and a password",
    "azure-cli": "a token of Azure's command line",
    "azure-client-secret": "a token of an Azure service principal (ARM_CLIENT_SECRET)",
    "github-oidc-azure": "a token of Azure for a GitHub workflow",
}
_INSTEAD = (
    "Log in with 'databricks auth login --profile NAME' and pass workspace='NAME', or use a Databricks service principal: "
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET (and unset DATABRICKS_TOKEN)."
)


def oauth_workspace(where: str | Config | WorkspaceClient | None, *, what: str) -> Workspace:
    """The workspace, with a login that gives Databricks OAuth tokens. A notebook's own token is exchanged for one.

    Args:
        where: As `workspace` takes it.
        what: What needs the token, as the beginning of a sentence, such as `App 'agent'`.

    Raises:
        ConfigurationError: No workspace can be opened, or its login gives other tokens.
    """
    opened = workspace(where)
    if opened.auth_type == _NOTEBOOK:
        opened = workspace(where, scopes=_SCOPES)
        if opened.auth_type == _NOTEBOOK:
            raise ConfigurationError(
                f"{what} takes OAuth tokens only, and this version of databricks-sdk cannot exchange the notebook's token for one. "
                "Upgrade it (%pip install -U databricks-sdk, 0.74 or later) and restart Python, or use a service principal: "
                "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET."
            )
    kind = _REFUSED.get(opened.auth_type)
    if kind is not None:
        raise ConfigurationError(
            f"{what} takes Databricks OAuth tokens only, and the credentials for {opened.host} are {kind} "
            f"(auth type {opened.auth_type!r}), which it refuses. {_INSTEAD}"
        )
    return opened
