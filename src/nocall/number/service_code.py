"""Emergency and service numbers: never to be called, whatever the list says.

A code has at most six digits without its country code, and is one of these:

- `EVERYWHERE`: 112 and 911, which ITU-T E.161.1 recommends and mobile networks connect away from
  home, 999 (United Kingdom and others) and 000 (Australia);
- `NORTH_AMERICA`, for the regions of country code 1: the N11 codes, 988 (Suicide & Crisis Lifeline,
  FCC 20-100) and 933 (test of a 911 line). libphonenumber has the N11 codes for some of these
  regions only, and counts 988 as an emergency number in none;
- `EUROPE`: the harmonised numbers of social value (Commission Decision 2007/116/EC);
- an emergency number of the region in libphonenumber's short-number metadata, at home also with
  digits behind it where networks connect it all the same;
- another short code of the region in that metadata. Of those with four digits or more the carriers'
  own and those for text messages do not count: their patterns are as wide as "any five digits".
"""

import re

import phonenumbers
from phonenumbers import PhoneNumber, shortnumberinfo

from nocall.number import plan

EVERYWHERE = frozenset(("000", "112", "911", "999"))
NORTH_AMERICA = frozenset(("211", "311", "411", "511", "611", "711", "811", "911", "933", "988"))
EUROPE = frozenset(("116000", "116006", "116111", "116117", "116123"))

LONGEST = 6
"""Digits without country code: a longer number is never taken for a code."""


def is_emergency_code(digits: str, region: str) -> bool:
    """Whether exactly these digits call for help in `region`."""
    return digits in EVERYWHERE or shortnumberinfo.is_emergency_number(digits, region)


def is_international_service_code(digits: str) -> bool:
    """Whether the digits of an international number name a service of their country."""
    return _is_behind_country_code(digits, emergency_only=False)


def is_service_code(digits: str, region: str) -> bool:
    """Whether digits written without `+` name a service in `region`, or in another country.

    A country code may come first. Where no international prefix says so (those of a few regions
    begin with other digits than 0, as country codes do), only emergency numbers count behind it:
    the rest is more likely part of an ordinary number.
    """
    metadata = plan.metadata_of(phonenumbers.country_code_for_region(region), region)
    # Some put the national prefix before a code, which needs none.
    for code in (digits, digits.removeprefix(metadata.national_prefix or "")):
        if _is_code(code, region) or _is_connected_early(code, region):
            return True
    prefix = metadata.international_prefix
    dialled = re.match(prefix, digits) if prefix and digits[0] == "0" else None
    if dialled:
        return _is_behind_country_code(digits[dialled.end() :], emergency_only=False)
    return _is_behind_country_code(digits, emergency_only=True)


def _is_behind_country_code(digits: str, *, emergency_only: bool) -> bool:
    for length in (1, 2, 3):
        country_code = int(digits[:length] or 0)
        regions = plan.COUNTRY_REGIONS.get(country_code, ())
        if regions and digits[0] != "0":
            is_one = is_emergency_code if emergency_only else _is_code
            return any(is_one(digits[length:], home) for home in regions)
    return False


def _is_code(digits: str, region: str) -> bool:
    return 1 < len(digits) <= LONGEST and (
        digits in EVERYWHERE
        or digits in EUROPE
        or (digits in NORTH_AMERICA and region in plan.COUNTRY_REGIONS[1])
        or shortnumberinfo.is_emergency_number(digits, region)
        or _is_short_code(digits, region)
    )


def _is_connected_early(digits: str, region: str) -> bool:
    """Whether networks connect an emergency number's digits without waiting for these to end."""
    return len(digits) <= LONGEST and shortnumberinfo.connects_to_emergency_number(digits, region)


def _is_short_code(code: str, region: str) -> bool:
    zeros = len(code) - len(code.lstrip("0") or "0")
    number = PhoneNumber(
        country_code=phonenumbers.country_code_for_region(region),
        national_number=int(code),
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros,
    )
    if not shortnumberinfo.is_valid_short_number_for_region(number, region):
        return False
    return len(code) <= 3 or not (
        shortnumberinfo.is_carrier_specific_for_region(number, region)
        or shortnumberinfo.is_sms_service_for_region(number, region)
    )
