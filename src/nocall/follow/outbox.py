"""Where mails go: an SMTP server, or a folder of .eml files when none is set."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

import aiosmtplib

from nocall.config import Settings
from nocall.store.cluster import sync_folder

_PATIENCE_SECONDS = 10


class Outbox(Protocol):
    mails_per_commit: int
    """How many mails a crash may cause to be sent again."""

    async def send(self, message: EmailMessage, name: str) -> None:
        """Hand the message over for good; `name` is the same each time the message is sent."""


class SmtpOutbox:
    """One connection to the SMTP server."""

    mails_per_commit = 1

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client

    async def send(self, message: EmailMessage, name: str) -> None:
        del name
        await self._client.send_message(message)


class FolderOutbox:
    """Files named by organization and seq: sending again overwrites the same file."""

    mails_per_commit = 50

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage, name: str) -> None:
        # In a thread: a slow disk must not hold up the requests of this process.
        await asyncio.to_thread(self._write, message.as_bytes(), f"{name}.eml")

    def _write(self, data: bytes, name: str) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / f"{name}.tmp"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
        sync_folder(self._folder)


@asynccontextmanager
async def open_outbox(settings: Settings) -> AsyncIterator[Outbox]:
    """An outbox as the settings say; raises `aiosmtplib.SMTPException` or `OSError`."""
    if settings.smtp_host is None:
        yield FolderOutbox(settings.mail_folder)
        return
    client = aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_user,
        password=settings.smtp_password,
        use_tls=settings.smtp_tls == "tls",
        start_tls=settings.smtp_tls == "starttls",
        timeout=_PATIENCE_SECONDS,
    )
    await client.connect()
    try:
        yield SmtpOutbox(client)
        await client.quit()
    finally:
        # Without a farewell where something went wrong: a server that hangs would hold that up.
        client.close()
