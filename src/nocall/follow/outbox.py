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
        """Hand the message over; `name` is the same each time the message is sent."""

    async def settle(self) -> None:
        """Everything that was sent is where no crash takes it away."""


class SmtpOutbox:
    """One connection to the SMTP server."""

    mails_per_commit = 1

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client

    async def send(self, message: EmailMessage, name: str) -> None:
        del name
        await self._client.send_message(message)

    async def settle(self) -> None:
        """The server's 250 has said so of each."""


class FolderOutbox:
    """Files named by organization and seq: sending again overwrites the same file."""

    mails_per_commit = 10

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unwritten: list[tuple[str, bytes]] = []

    async def send(self, message: EmailMessage, name: str) -> None:
        self._unwritten.append((f"{name}.eml", message.as_bytes()))

    async def settle(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if unwritten:
            # In a thread: a slow disk must not hold up the requests of this process.
            await asyncio.to_thread(self._write, unwritten)

    def _write(self, mails: list[tuple[str, bytes]]) -> None:
        """All are written before the first is synced: the disk's journal, which every add waits
        for too, is then written once for many and not for each.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for name, data in mails:
            (self._folder / f"{name}.tmp").write_bytes(data)
        for name, _ in mails:
            with (self._folder / f"{name}.tmp").open("rb") as file:
                os.fsync(file.fileno())
        for name, _ in mails:
            (self._folder / f"{name}.tmp").rename(self._folder / name)
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
