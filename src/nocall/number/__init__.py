"""Telephone numbers: text to E.164, as phonenumbers reads it, and every way it may be meant."""

from nocall.number.reading import (
    Reading,
    Readings,
    e164,
    from_query,
    is_region,
    metadata_version,
    number_text,
    prepare,
    read,
)

__all__ = (
    "Reading",
    "Readings",
    "e164",
    "from_query",
    "is_region",
    "metadata_version",
    "number_text",
    "prepare",
    "read",
)
