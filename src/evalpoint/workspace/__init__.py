"""A Databricks workspace: where it is, who is calling, and a server to call. Authentication is databricks-sdk's."""

from evalpoint.workspace.opening import Workspace, workspace

__all__ = ["Workspace", "workspace"]
