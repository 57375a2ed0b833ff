"""The mail of an entry, made from the entry alone: the same each time it is made."""

from email.message import EmailMessage
from email.utils import format_datetime

from nocall.model import Entry, Kind, Organization, instant_text

_SUBJECTS = {
    Kind.ADD: "{number} added to the Do-Not-Call list",
    Kind.SWITCHED_ON: "Do-Not-Call list switched ON",
    Kind.SWITCHED_OFF: "Do-Not-Call list switched OFF",
}
MAILED_KINDS = tuple(_SUBJECTS)


def compose(organization: Organization, entry: Entry, sender: str) -> EmailMessage:
    """A mail for an entry of one of `MAILED_KINDS`.

    The Message-ID comes from organization and seq, so a mail that had to be sent twice is known.
    """
    number = f"+{entry.items[0].number}" if entry.items else ""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = organization.admin_email
    message["Subject"] = _plain(
        f"[nocall] {_SUBJECTS[Kind(entry.kind)].format(number=number)} of {organization.name}"
    )
    message["Date"] = format_datetime(entry.at)
    domain = sender.rsplit("@", 1)[-1].rstrip(">").strip()
    message["Message-ID"] = f"<{entry.org_id}.{entry.seq}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(organization, entry, number)))
    return message


def _plain(text: str) -> str:
    """`text` as a header can carry it: one line, and nothing that is decoded into another text.

    The email package decodes what looks like an encoded word, line breaks and all, so a name could
    put headers of its own into the mail; and it refuses every line separator Unicode knows.
    """
    return " ".join(text.splitlines()).replace("=?", "= ?")


def _lines(organization: Organization, entry: Entry, number: str) -> list[str]:
    if entry.kind == Kind.ADD:
        item = entry.items[0]
        happened = [
            f"{number} was added to the Do-Not-Call list of {organization.name}.",
            "While the list is switched on, no check answers callable for it.",
            "",
            f"Type:        {item.type or '-'}",
            f"Source:      {entry.source}",
            f"Batch:       {item.batch_id or '-'}",
            f"Call:        {item.request_uuid or '-'}",
            f"Record:      {item.record_id}",
        ]
    elif entry.kind == Kind.SWITCHED_OFF:
        happened = [
            f"The Do-Not-Call list of {organization.name} was switched OFF.",
            "Until it is on again, listed numbers may be called.",
            "",
        ]
    else:
        happened = [
            f"The Do-Not-Call list of {organization.name} was switched ON.",
            "Listed numbers are blocked.",
            "",
        ]
    return [
        *happened,
        f"By:          {entry.actor_name} ({entry.actor_kind})",
        f"At:          {instant_text(entry.at)}",
        f"Reason:      {entry.reason or '-'}",
        f"Ledger head: {entry.seq}:{entry.hash.hex()}",
        "",
        "Keep this mail: nocall ledger verify --expect-head takes the ledger head.",
    ]
