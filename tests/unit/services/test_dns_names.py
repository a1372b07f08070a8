"""Domain names as search lists carry them, with dnspython as independent twin."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.dns_names import labels_of, pack_compressed, pack_labels, pack_names


def names(packed: bytes) -> list[str]:
    """The domains of a search list, read by dnspython."""
    at, found = 0, []
    while at < len(packed):
        name, used = dns.name.from_wire(packed, at)
        found.append(name.to_text(omit_final_dot=True))
        at += used
    return found


def test_search_list_of_rfc3397_section_2() -> None:
    expected = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"
    assert pack_compressed(["eng.apple.com.", "marketing.apple.com."]) == expected


def test_search_list_compresses_without_regard_to_case_and_repeats() -> None:
    packed = pack_compressed(["a.Example.org", "EXAMPLE.org", "org", "a.example.ORG"])
    assert len(packed) == 15 + 3 * 2
    assert [name.lower() for name in names(packed)] == ["a.example.org", "example.org", "org", "a.example.org"]


@pytest.mark.parametrize("domain", ["", ".", "a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4), "bücher.example"])
def test_search_list_refuses_what_is_no_domain(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        pack_compressed(["ok.example", domain])


LABEL = st.text("abcABC012-", min_size=1, max_size=63)


@given(st.lists(st.lists(LABEL, min_size=1, max_size=3).map(".".join), max_size=8))
def test_search_list_reads_back_by_dnspython(domains: list[str]) -> None:
    packed = pack_compressed(domains)
    assert [name.lower() for name in names(packed)] == [domain.lower() for domain in domains]


def test_pointers_stay_within_14_bits() -> None:
    domains = [f"{number:060}.{'x' * 60}.example{number}" for number in range(300)] * 2
    assert names(pack_compressed(domains)) == domains


# ------------------------------------------------------------------------------------------------------- no compression


def test_names_are_whole_and_in_order() -> None:
    assert pack_names(["a.example.", "b.example"]) == b"\x01a\x07example\0\x01b\x07example\0"
    assert pack_names([]) == b""


@given(st.lists(st.lists(LABEL, min_size=1, max_size=3).map(".".join), max_size=8))
def test_names_read_back_by_dnspython_and_have_no_pointer(domains: list[str]) -> None:
    packed = pack_names(domains)
    assert names(packed) == domains
    assert len(packed) == sum(len(domain) + 2 for domain in domains)


@pytest.mark.parametrize("domain", ["", ".", "a..b", "x" * 64, ".".join(["x" * 63] * 4), "bücher.example"])
def test_names_that_are_none_are_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        pack_names(["ok.example", domain])


def test_labels_have_no_root() -> None:
    assert pack_labels(labels_of("vm.example.")) == b"\x02vm\x07example"
