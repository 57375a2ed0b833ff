"""What the numbering plans say of every number of a length at once, decided as phonenumbers does.

`valid_spans` follows `phonenumbers.is_valid_number` step by step: of the regions that share a
country code the first whose leading digits or patterns match is the number's, and then only that
region's patterns count.
"""

import phonenumbers
from phonenumbers import PhoneMetadata
from phonenumbers.phonemetadata import PhoneNumberDesc

from nocall.number import spans
from nocall.number.spans import Spans

COUNTRY_REGIONS = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
"""The regions of each country code, the main one first."""


def main_metadata(country_code: int) -> PhoneMetadata:
    """The metadata that decides which lengths are possible and which national prefix is dropped."""
    return metadata_of(country_code, COUNTRY_REGIONS[country_code][0])


def metadata_of(country_code: int, region: str) -> PhoneMetadata:
    """Raises `LookupError` for a region that phonenumbers does not know."""
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    if metadata is None:
        raise LookupError(f"no metadata for {region}")
    return metadata


def possible_lengths(metadata: PhoneMetadata) -> tuple[int, ...]:
    """The lengths of national numbers that are possible from anywhere."""
    return metadata.general_desc.possible_length if metadata.general_desc else ()


def local_lengths(metadata: PhoneMetadata) -> tuple[int, ...]:
    """The lengths that can be dialled from within an area only."""
    return metadata.general_desc.possible_length_local_only if metadata.general_desc else ()


def valid_spans(country_code: int, length: int) -> Spans:
    """The national numbers of `length` digits that `is_valid_number` accepts.

    Raises `PatternError` where the plan's patterns are more than digits and choices.
    """
    regions = COUNTRY_REGIONS[country_code]
    if len(regions) == 1:
        return _typed(main_metadata(country_code), length)
    valid: Spans = ()
    claimed: Spans = ()
    for region in regions:
        metadata = metadata_of(country_code, region)
        typed = _typed(metadata, length)
        if metadata.leading_digits is None:
            mine = typed
        else:
            mine = spans.front(metadata.leading_digits, length)
        valid = spans.union(valid + spans.both(spans.without(mine, claimed), typed))
        claimed = spans.union(claimed + mine)
    return valid


def prefixed_spans(metadata: PhoneMetadata, length: int) -> Spans:
    """The strings of `length` digits that may begin with a national prefix.

    Read as national numbers they may lose it or be rewritten; all others stay as they are. Raises
    `PatternError`.
    """
    prefix = metadata.national_prefix_for_parsing
    return spans.front(prefix, length) if prefix else ()


def _typed(metadata: PhoneMetadata, length: int) -> Spans:
    """The numbers that fit the region's general pattern and that of at least one type."""
    types = [
        metadata.premium_rate,
        metadata.toll_free,
        metadata.shared_cost,
        metadata.voip,
        metadata.personal_number,
        metadata.pager,
        metadata.uan,
        metadata.voicemail,
        metadata.fixed_line,
    ]
    if not metadata.same_mobile_and_fixed_line_pattern:
        types.append(metadata.mobile)
    general = _matching(metadata.general_desc, length)
    if not general:
        return ()
    return spans.both(
        general, spans.union(span for desc in types for span in _matching(desc, length))
    )


def _matching(desc: PhoneNumberDesc | None, length: int) -> Spans:
    if desc is None or not desc.national_number_pattern:
        return ()
    if desc.possible_length and length not in desc.possible_length:
        return ()
    return spans.whole(desc.national_number_pattern, length)
