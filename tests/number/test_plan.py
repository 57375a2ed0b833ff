"""What the plans call valid is what phonenumbers calls valid, of every country and length."""

import itertools

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumber
from phonenumbers.phonemetadata import PhoneNumberDesc

from nocall.number import plan


def test_every_boundary_of_every_plan():
    """Though the tables use the plans for ten digits only."""
    for country_code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        for length in range(2, 16 - len(str(country_code))):
            for number, valid in edges(plan.valid_spans(country_code, length), 10**length):
                parsed = national(country_code, f"{number:0{length}}")
                assert phonenumbers.is_valid_number(parsed) == valid, parsed


def test_the_region_that_claims_a_number_decides_alone(monkeypatch):
    """Cases that today's plans do not have, and tomorrow's may."""
    regions = {
        "XA": made_up("XA", fixed_line=desc("1[0-4]")),
        "XB": made_up("XB", fixed_line=desc("2[0-4]"), leading_digits="2"),
        "XC": made_up("XC", fixed_line=desc(r"[12]\d"), toll_free=desc(r"9\d", 3)),
        "XD": made_up("XD", fixed_line=desc(r"[23]\d"), leading_digits="1|3"),
        "XE": made_up("XE", general=desc("4[0-4]"), pager=desc(r"4\d"), mobile=desc("[46]5")),
    }
    monkeypatch.setitem(phonenumbers.COUNTRY_CODE_TO_REGION_CODE, 999, tuple(regions))
    for region, metadata in regions.items():
        monkeypatch.setitem(PhoneMetadata._region_metadata, region, metadata)
    valid = {
        number
        for number in range(100)
        if phonenumbers.is_valid_number(national(999, f"{number:02}"))
    }
    assert {25, 29}.isdisjoint(valid)
    assert {
        number for low, high in plan.valid_spans(999, 2) for number in range(low, high)
    } == valid


def made_up(region, general=None, **types):
    return PhoneMetadata(
        id=region, country_code=999, general_desc=general or desc(r"\d\d"), register=False, **types
    )


def desc(pattern, *lengths):
    return PhoneNumberDesc(national_number_pattern=pattern, possible_length=lengths)


def edges(found, end):
    """The numbers on both sides of every boundary, and whether they are within."""
    for low, high in found:
        yield from ((low, True), (high - 1, True))
    for (_, low), (high, _) in itertools.pairwise(((0, 0), *found, (end, end))):
        if low < high:
            yield from ((low, False), (high - 1, False))


def national(country_code, digits):
    zeros = len(digits) - len(digits.lstrip("0") or "0")
    return PhoneNumber(
        country_code=country_code,
        national_number=int(digits),
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros,
    )
