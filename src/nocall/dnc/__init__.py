"""The organization's Do-Not-Call list: the only package in which a number becomes blocked or free.

`add`, `delete` and `switch` change it, `get`, `page` and `read_on` read it.
"""

from nocall.dnc.add import AddOutcome, AddRequest, add
from nocall.dnc.delete import delete
from nocall.dnc.evidence import attach_evidence, purge_evidence
from nocall.dnc.find import (
    Cursor,
    ListPage,
    ReadOn,
    get,
    get_by_number,
    newest,
    page,
    parse_cursor,
    read_on,
)
from nocall.dnc.offboard import export_lines, purge
from nocall.dnc.state import open_list
from nocall.dnc.switch import is_on, switch

__all__ = [
    "AddOutcome",
    "AddRequest",
    "Cursor",
    "ListPage",
    "ReadOn",
    "add",
    "attach_evidence",
    "delete",
    "export_lines",
    "get",
    "get_by_number",
    "is_on",
    "newest",
    "open_list",
    "page",
    "parse_cursor",
    "purge",
    "purge_evidence",
    "read_on",
    "switch",
]
