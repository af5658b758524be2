"""`endpoints:/name`: a serving endpoint of a workspace, described where that is allowed, at the address where it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from evalpoint.calls import Server, names_address
from evalpoint.endpoints.description import LARGE, SMALL, DataPlane, Description, Kind, read_description
from evalpoint.endpoints.endpoint import Endpoint, Target
from evalpoint.endpoints.listing import names_at, nearest
from evalpoint.endpoints.waking import FirstCall, Patience, until_ready
from evalpoint.errors import AccessDenied, ConfigurationError, NotFound, Rejected
from evalpoint.workspace import Workspace, oauth_workspace, workspace

__all__ = ["serving_endpoint"]

_LIST = "/api/2.0/serving-endpoints"
_FOUNDATION = "databricks-"
"""How the names of pay-per-token models begin; they take none of our options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    name: str
    where: Any
    """As `workspace` takes it."""
    opened: Workspace
    served_model: str | None

    @property
    def title(self) -> str:
        return f"Endpoint {self.name!r}"


def serving_endpoint(name: str, *, where: Any, kind: Kind | None, served_model: str | None, patience: Patience) -> Endpoint:
    """The endpoint of this name, able to answer as far as one can know.

    With a `kind` nothing is asked beforehand. Without one the endpoint is described; a caller who may not see it (403, or a 404 for a
    name that the list does not deny) gets it all the same, with a kind that is guessed from each request: whoever may query an endpoint
    may not always describe it.

    Raises:
        ConfigurationError: The endpoint cannot answer, or not with these credentials.
        NotFound: There is no such endpoint, or no such served model.
    """
    opened = workspace(where)
    wanted = _Wanted(name=name, where=where, opened=opened, served_model=served_model)
    description = None if kind is not None else _described(wanted)
    if description is None:
        return _undescribed(wanted, kind)
    description = until_ready(description, lambda: _describe(wanted), opened.host, patience)
    if description.ready and description.updating:
        patience.tell(
            f"{wanted.title} in workspace {opened.host} is being updated while its old version serves; answers may come from either."
        )
    return _from_description(wanted, description, patience)


def _describe(wanted: _Wanted) -> Description:
    body = wanted.opened.get(f"{_LIST}/{quote(wanted.name, safe='')}")
    return read_description(wanted.name, body)


def _described(wanted: _Wanted) -> Description | None:
    """The description; None where the caller may not see it."""
    try:
        return _describe(wanted)
    except Rejected as error:
        if error.status != 404:
            raise
        names = names_at(wanted.opened, _LIST, "endpoints")
        if names is not None and wanted.name not in names:
            raise NotFound(
                f"{wanted.title} does not exist in workspace {wanted.opened.host}, or you may not see it. "
                f"{nearest(wanted.name, names, plural='endpoints')} If you may call it without seeing it, say what it is with kind=."
            ) from error
    except AccessDenied as error:
        if error.status != 403 or names_address(error):
            raise
    return None


def _undescribed(wanted: _Wanted, kind: Kind | None) -> Endpoint:
    small = wanted.name.startswith(_FOUNDATION) or (kind is not None and kind.is_agent)

    def missing() -> str:
        names = names_at(wanted.opened, _LIST, "endpoints")
        served = f" Or it has no served model {wanted.served_model!r}." if wanted.served_model else ""
        return ("" if not names or wanted.name in names else nearest(wanted.name, names, plural="endpoints")) + served

    target = Target(
        name=wanted.name,
        server=wanted.opened.server,
        path=_path(wanted.name, wanted.served_model),
        title=wanted.title,
        takes_options=not wanted.name.startswith(_FOUNDATION),
        max_request=SMALL if small else LARGE,
        served_model=wanted.served_model,
        missing=missing,
    )
    return Endpoint(target, wanted.opened, kind=kind)


def _from_description(wanted: _Wanted, description: Description, patience: Patience) -> Endpoint:
    if wanted.served_model is not None and wanted.served_model not in description.served:
        raise NotFound(
            f"{wanted.title} in workspace {wanted.opened.host} has no served model {wanted.served_model!r}. "
            f"{nearest(wanted.served_model, description.served, plural='served models', owner='It')}"
        )
    opened, server, path = wanted.opened, wanted.opened.server, _path(description.name, wanted.served_model)
    if description.data_plane is not None:
        opened, server, path = _on_data_plane(wanted, description.data_plane)
    only = description.served[0] if len(description.served) == 1 else None
    target = Target(
        name=description.name,
        server=server,
        path=path,
        title=wanted.title,
        takes_options=description.takes_options,
        max_request=description.max_request,
        served_model=wanted.served_model or only,
    )
    sleeps = (description.scales_to_zero or description.asleep) and patience.wait > 0
    first_call = FirstCall(wanted.title, asleep=description.asleep, patience=patience) if sleeps else None
    return Endpoint(target, opened, kind=description.kind, description=description, first_call=first_call)


def _path(name: str, served_model: str | None) -> str:
    entity = f"/served-models/{quote(served_model, safe='')}" if served_model is not None else ""
    return f"/serving-endpoints/{quote(name, safe='')}{entity}/invocations"


def _on_data_plane(wanted: _Wanted, plane: DataPlane) -> tuple[Workspace, Server, str]:
    """Where a route-optimised endpoint answers: at its own URL, with a token that is exchanged for it."""
    parts = urlsplit(plane.url)
    if not parts.scheme or not parts.hostname:
        raise ConfigurationError(f"{wanted.title} is route-optimised, and the URL in its description is none: {plane.url[:200]!r}.")
    opened = oauth_workspace(wanted.where, what=f"{wanted.title} is route-optimised: its data plane")
    if plane.authorization_details is None:
        raise ConfigurationError(
            f"{wanted.title} in workspace {opened.host} is route-optimised, and its description does not say what a token for its data "
            "plane must have (data_plane_info). The caller needs the permission CAN QUERY on the endpoint."
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/invocations"):
        path += "/invocations"
    if wanted.served_model is not None:
        path = f"{path.removesuffix('/invocations')}/served-models/{quote(wanted.served_model, safe='')}/invocations"
    server = opened.data_plane(f"{parts.scheme}://{parts.netloc}", plane.authorization_details, name=f"the data plane of {wanted.title}")
    return opened, server, path
