"""What the environment and the configuration file say about workspaces, read before the SDK is asked."""

from __future__ import annotations

import configparser
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalpoint.errors import ConfigurationError

__all__ = ["Configured", "configured"]

_PREFIXES = ("DATABRICKS_", "ARM_", "AZURE_", "GOOGLE_", "CLOUDSDK_")
_OTHERS = frozenset({"home", "userprofile", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"})
_SECRET_FIELDS = ("token", "password", "client_secret", "azure_client_secret", "google_credentials")
_SECRET_VARIABLES = ("DATABRICKS_TOKEN", "DATABRICKS_PASSWORD", "DATABRICKS_CLIENT_SECRET", "ARM_CLIENT_SECRET", "GOOGLE_CREDENTIALS")
_AUTH_VARIABLES = (
    "DATABRICKS_TOKEN",
    "DATABRICKS_USERNAME",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_CLIENT_ID",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
    "DATABRICKS_METADATA_SERVICE_URL",
    "GOOGLE_CREDENTIALS",
    "ARM_CLIENT_ID",
    "ARM_CLIENT_SECRET",
    "ARM_TENANT_ID",
    "ARM_USE_MSI",
)
_SETTINGS = "__settings__"
_AUTH_TYPES: Mapping[tuple[str, ...], str] = {
    ("token",): "pat",
    ("client_id", "client_secret"): "oauth-m2m",
    ("username", "password"): "basic",
    ("azure_client_id", "azure_client_secret"): "azure-client-secret",
    ("google_credentials",): "google-credentials",
    ("google_service_account",): "google-id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What is configured for one profile, or without one."""

    file: Path
    profiles: tuple[str, ...]
    """Every profile of the file."""
    profile: str | None
    """The one in force, if any."""
    host: str | None
    arguments: Mapping[str, str] = field(repr=False)
    """For the SDK's `Config`. Of a profile that the caller named, all its fields: what is named wins over the environment."""
    secrets: tuple[str, ...] = field(repr=False)
    """Values that no message may carry."""
    variables: tuple[str, ...]
    """The authenticating variables that are set."""
    fingerprint: str = field(repr=False)
    """Changes when the environment or the file does."""


def configured(profile: str | None, environ: Mapping[str, str]) -> Configured:
    """What is configured.

    Args:
        profile: The profile that the caller named.
        environ: The environment's variables.

    Raises:
        ConfigurationError: There is no such profile, or the file cannot be read.
    """
    file = Path(environ.get("DATABRICKS_CONFIG_FILE") or "~/.databrickscfg").expanduser()
    sections = _sections(file)
    wanted = profile or environ.get("DATABRICKS_CONFIG_PROFILE") or None
    if wanted is not None and (wanted not in sections or wanted == _SETTINGS):
        raise ConfigurationError(_unknown_profile(wanted, file, sections, named=profile is not None))
    default = sections.get(_SETTINGS, {}).get("default_profile", "").strip() or "DEFAULT"
    section = sections.get(wanted or default, {})
    arguments: dict[str, str] = {}
    if profile is not None:
        arguments = {"profile": profile, **section}
        kind = next((kind for fields, kind in _AUTH_TYPES.items() if all(section.get(name) for name in fields)), None)
        if kind and not section.get("auth_type"):
            arguments["auth_type"] = kind
    host = arguments.get("host") or environ.get("DATABRICKS_HOST") or section.get("host") or None
    return Configured(
        file=file,
        profiles=tuple(name for name in sections if name != _SETTINGS),
        profile=wanted,
        host=_with_scheme(host.strip()) if host else None,
        arguments=arguments,
        secrets=tuple(
            value
            for value in (*(section.get(name) for name in _SECRET_FIELDS), *(environ.get(name) for name in _SECRET_VARIABLES))
            if value
        ),
        variables=tuple(name for name in _AUTH_VARIABLES if environ.get(name)),
        fingerprint=_fingerprint(environ, file),
    )


def _sections(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0none")
    try:
        if file.is_file():
            parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        # The parser's own words may quote a line with a token.
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if isinstance(line, int) else ""
        raise ConfigurationError(
            f"The configuration file {file} cannot be read{where}: {type(error).__name__}. "
            "It should have sections like [DEFAULT] with lines like 'host = https://…' and 'token = …'."
        ) from None
    return {name: {key: value or "" for key, value in parser.items(name)} for name in parser.sections()}


def _unknown_profile(name: str, file: Path, sections: Mapping[str, object], *, named: bool) -> str:
    if "://" in name:
        return f"{name!r} is an address and no profile. Name a profile of {file}, or pass Config(host=…, token=…) of databricks.sdk.core."
    source = "" if named else ", which DATABRICKS_CONFIG_PROFILE names,"
    known = [repr(each) for each in sections if each != _SETTINGS]
    if not file.is_file():
        has = f"there is no file {file}. Create it with 'databricks configure --profile {name}', or set DATABRICKS_CONFIG_FILE"
    else:
        has = f"{file} has {', '.join(known[:20]) if known else 'none'}"
    return f"Profile {name!r}{source} does not exist: {has}."


def _with_scheme(host: str) -> str:
    host = host.partition("?")[0].partition("#")[0]
    return (host if "://" in host else f"https://{host}").rstrip("/")


def _fingerprint(environ: Mapping[str, str], file: Path) -> str:
    relevant = sorted((name, value) for name, value in environ.items() if name.startswith(_PREFIXES) or name.lower() in _OTHERS)
    try:
        stat = file.stat()
        identity = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except OSError:  # no file is an identity, too
        identity = None
    return hashlib.sha256(repr((relevant, str(file), identity)).encode("utf-8", "surrogatepass")).hexdigest()
