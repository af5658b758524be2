"""A Databricks workspace: where it is, who is calling, and a server to call. Authentication is databricks-sdk's."""

from evalpoint.workspace.oauth import oauth_workspace
from evalpoint.workspace.opening import Workspace, own_workspace, workspace

__all__ = ["Workspace", "oauth_workspace", "own_workspace", "workspace"]
