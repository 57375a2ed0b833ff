"""Settings: one frozen value built at start from the environment and flags, then passed down.

No other module reads the environment. docs/configuration.md lists every option.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from nocall.errors import ConfigInvalid

_PREFIX = "NOCALL_"
_SECRETS = ("database_url", "database_owner_url", "smtp_password")


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path
    database_url: str | None = None
    """The application's login; None means the embedded PostgreSQL in `data`."""
    database_owner_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    trusted_proxies: tuple[str, ...] = ()
    body_limit_bytes: int = 8 * 1024 * 1024
    rate_limit_per_second: int = 20_000
    """Requests per second and token, per process; 0 means no limit."""
    pool_size: int = 10
    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_user: str | None = None
    smtp_password: str | None = None
    smtp_tls: str = "starttls"
    """`starttls`, `tls` or `none`."""
    mail_from: str = "nocall@localhost"
    worker: bool = True
    """Whether `serve` also does the background work."""

    @property
    def mail_folder(self) -> Path:
        """Where mails are written as .eml files when no SMTP server is set."""
        return self.data / "mail"


def load_settings(environment: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Settings from `environment`, overridden by the `flags` that are not None.

    Raises `ConfigInvalid` in one sentence for an unknown, malformed or half-set option.
    """
    values: dict[str, object] = {}
    known = {item.name for item in fields(Settings)}
    for name, text in environment.items():
        if not name.startswith(_PREFIX):
            continue
        option = name[len(_PREFIX) :].lower()
        if option.endswith("_file") and option[:-5] in _SECRETS:
            option = option[:-5]
            if _PREFIX + option.upper() in environment:
                raise ConfigInvalid(f"set {_PREFIX}{option.upper()} or {name}, not both")
            text = _read_secret(name, text)  # noqa: PLW2901 - the file's content takes its place
        if option not in known:
            raise ConfigInvalid(f"unknown option {name}")
        values[option] = _parse(option, name, text)
    values.update({name: value for name, value in flags.items() if value is not None})
    values.setdefault("data", default_data_folder(environment))
    settings = Settings(**values)  # type: ignore[arg-type]  # _parse gave each option its type
    _refuse_half_set(settings, values)
    return settings


def default_data_folder(environment: Mapping[str, str]) -> Path:
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/nocall")
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "nocall"


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{name}: cannot read {path}: {error}") from None


_INTEGERS = {
    "port": (0, 65_535),
    "body_limit_bytes": (1024, 1 << 30),
    "rate_limit_per_second": (0, 1_000_000),
    "pool_size": (2, 200),
    "smtp_port": (1, 65_535),
}


def _parse(option: str, name: str, text: str) -> object:
    if not text and option != "trusted_proxies":
        raise ConfigInvalid(f"{name} is set but empty")
    if option in _INTEGERS:
        low, high = _INTEGERS[option]
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ConfigInvalid(f"{name} must be a whole number from {low} to {high}, not {text!r}")
        return int(text)
    if option == "data":
        return Path(text)
    if option == "worker":
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigInvalid(f"{name} must be true or false, not {text!r}")
        return text.lower() in ("true", "1")
    if option == "trusted_proxies":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _refuse_half_set(settings: Settings, given: Mapping[str, object]) -> None:
    if settings.database_owner_url and not settings.database_url:
        raise ConfigInvalid(
            "NOCALL_DATABASE_OWNER_URL is set without NOCALL_DATABASE_URL: "
            "set both for your own server, or neither for the embedded one"
        )
    for name in ("database_url", "database_owner_url"):
        url = getattr(settings, name)
        if url and urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise ConfigInvalid(f"{_PREFIX}{name.upper()} must start with postgresql://")
    if (settings.smtp_user is None) != (settings.smtp_password is None):
        raise ConfigInvalid("set both NOCALL_SMTP_USER and NOCALL_SMTP_PASSWORD, or neither")
    for name in ("smtp_user", "smtp_port", "smtp_tls"):
        if name in given and not settings.smtp_host:
            raise ConfigInvalid(f"{_PREFIX}{name.upper()} is set without NOCALL_SMTP_HOST")
    if settings.smtp_tls not in ("starttls", "tls", "none"):
        raise ConfigInvalid(
            f"NOCALL_SMTP_TLS must be starttls, tls or none, not {settings.smtp_tls!r}"
        )
    if not re.fullmatch(r"[^@\s]+@[^@\s]+|[^@<>]*<[^@\s]+@[^@\s]+>", settings.mail_from) or (
        not settings.mail_from.isprintable()
    ):
        raise ConfigInvalid(
            f"NOCALL_MAIL_FROM must be one e-mail address, not {settings.mail_from!r}"
        )
    if settings.smtp_user and settings.smtp_tls == "none":
        raise ConfigInvalid(
            "NOCALL_SMTP_TLS=none would send the password in clear text: use starttls or tls"
        )
