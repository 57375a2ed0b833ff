"""Emergency and service numbers are recognised however they are written, and nothing else is."""

import phonenumbers
import pytest

from nocall.number import Readings, read
from nocall.number.service_code import EUROPE, EVERYWHERE, LONGEST, NORTH_AMERICA

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
BLOCKED = Readings((), "service_code", service_code=True)

SERVICES = [
    ("911", "US", "as dialled"),
    ("9-1-1", "US", "punctuated"),
    ("(911)", "US", "in brackets"),
    ("*911", "US", "starred"),
    ("911#", "US", "with a hash"),
    ("\u096f\u0967\u0967", "US", "Devanagari digits"),
    ("\uff19\uff11\uff11", "US", "full-width digits"),
    ("911 ext 5", "US", "extension"),
    ("911x5", "US", "short extension"),
    ("911,5", "US", "pause"),
    ("911;ext=5", "US", "extension as in a tel: address"),
    ("tel:911", "US", "tel: address"),
    ("tel:911;phone-context=+1", "GB", "with a context"),
    ("tel:999;phone-context=+44", "US", "with another country's"),
    ("tel:911;phone-context=example.com", "US", "with a domain"),
    ("Call 911", "US", "words before"),
    ("911 (emergency)", "US", "words behind, which make it a number in India"),
    ("9115", "US", "connected after three digits"),
    ("+911", "US", "with a plus that makes it no number of any country"),
    ("+112", "DE", "likewise, abroad"),
    ("+1911", "US", "behind the country code"),
    ("+1 911", "GB", "behind another country's"),
    ("\uff0b1 911", "US", "full-width plus"),
    ("1911", "US", "without plus"),
    ("1 911", "GB", "without plus, abroad"),
    ("+1 988", "US", "lifeline behind the country code"),
    ("1988", "US", "lifeline without plus"),
    ("+1 211", "JM", "N11 where the metadata has none"),
    ("411", "PR", "likewise"),
    ("00 1 911", "GB", "behind an international prefix"),
    ("011 44 999", "US", "likewise"),
    ("44999", "US", "country code and nothing else"),
    ("999", "GB", "United Kingdom"),
    ("111", "GB", "health advice, no emergency in the metadata"),
    ("000", "AU", "Australia, all zeros"),
    ("+61 000", "US", "all zeros from abroad"),
    ("106", "AU", "for text telephones"),
    ("112", "DE", "European emergency number"),
    ("17", "FR", "two digits"),
    ("1-7", "FR", "two digits, punctuated"),
    ("0110", "DE", "a trunk zero that does not belong there"),
    ("011004", "DE", "a local number that dials 110 first"),
    ("+49110", "US", "behind the country code"),
    ("116117", "DE", "six digits, possible as a local number"),
    ("+49 116117", "US", "likewise from abroad"),
    ("+49 (0)116117", "US", "uncovered by reading"),
    ("+44 911", "US", "one that is known everywhere, in a country that has another"),
    ("90000", "SE", "five digits"),
    ("3114", "FR", "four digits, helpline"),
]


@pytest.mark.parametrize(("text", "region", "form"), SERVICES)
def test_a_service_is_blocked_not_invalid(text, region, form):
    assert read(text, region) == BLOCKED, form


@pytest.mark.parametrize("code", sorted(EVERYWHERE))
def test_known_everywhere(code):
    for region in REGIONS:
        assert read(code, region) == BLOCKED


@pytest.mark.parametrize("code", sorted(NORTH_AMERICA | {"911", "112"}))
def test_known_in_every_region_of_north_america(code):
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1]:
        assert read(code, region) == BLOCKED
        assert read(f"1{code}", region) == BLOCKED
        assert read(f"+1{code}", region) == BLOCKED


@pytest.mark.parametrize("code", sorted(EUROPE))
def test_known_in_europe(code):
    for region, country_code in (("DE", 49), ("FR", 33), ("PL", 48), ("SE", 46)):
        assert read(code, region) == BLOCKED
        assert read(f"+{country_code}{code}", "US") == BLOCKED


def test_every_regions_own_emergency_numbers():
    """By the metadata's examples, at home and behind the country code."""
    for region in REGIONS:
        metadata = phonenumbers.PhoneMetadata.short_metadata_for_region(region)
        if metadata is None or metadata.emergency is None:
            continue
        code = metadata.emergency.example_number
        country_code = phonenumbers.country_code_for_region(region)
        assert read(code, region) == BLOCKED, region
        assert read(f"+{country_code}{code}", "US") == BLOCKED, region


ORDINARY = [
    ("+1 911 555 0123", "US", "ten digits behind a code's digits"),
    ("9115550123", "US", "likewise without country code"),
    ("1124567890", "US", "begins with 112"),
    ("+44 999 555 0123", "GB", "begins with 999"),
    ("212-911-1234", "US", "a code as the exchange"),
    ("+1 212 988 0123", "US", "likewise"),
    ("2125550123 x911", "US", "a code as the extension"),
    ("+683 4012", "NU", "a country of four digits"),
    ("+290 22911", "SH", "a country of five digits"),
    ("+299 354112", "GL", "begins with Iceland's country code, ends with 112"),
    ("354112", "GL", "likewise at home"),
    ("131114", "AU", "six digits that are an ordinary service line"),
    ("1644150417", "TD", "begins like the international prefix 16, then a British code"),
    ("508.015.1340", "TC", "French codes begin with 15, behind a country code of 508"),
    ("+508 151340", "US", "likewise with plus"),
    ("01911", "GB", "no country code begins with 0"),
]


@pytest.mark.parametrize(("text", "region", "trap"), ORDINARY)
def test_an_ordinary_number_is_none(text, region, trap):
    found = read(text, region)
    assert not found.service_code, trap
    assert found.readings or found.problem in ("too_short", "too_long", "local_only"), trap


@pytest.mark.parametrize("text", ["2125", "24280", "55512", "212555", "441471"])
def test_a_fragment_is_too_short_and_no_service(text):
    """The patterns of carriers and text messages match nearly any four to six digits."""
    assert read(text, "US") == Readings((), "too_short")


def test_no_valid_number_is_taken_for_a_service():
    """Every example of every region, at its shortest too, and with any code's digits in front."""
    for region in REGIONS:
        for kind in phonenumbers.PhoneNumberType.values():
            parsed = phonenumbers.example_number_for_type(region, kind)
            if parsed is None or not phonenumbers.is_possible_number(parsed):
                continue
            national = phonenumbers.national_significant_number(parsed)
            for text in (national, f"{parsed.country_code}{national}"):
                assert not read(text, region).service_code, (region, text)


def test_more_than_six_digits_are_never_a_code():
    assert LONGEST == 6
    for region in ("US", "GB", "DE", "AU"):
        for code in ("911", "112", "999", "000", "116117"):
            text = code.ljust(LONGEST + 1, "1")
            assert not read(
                f"+{phonenumbers.country_code_for_region(region)}{text}", region
            ).service_code
