"""The little that is read of a DNS message, with dnspython as the independent twin."""

from __future__ import annotations

import contextlib

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services import dns_message
from pyslirp.services.dns_message import FormatError, NotQueryError, Rcode, read_query
from tests.unit.services.dns_guest import query, reply

# ----------------------------------------------------------------------------------------------------------- reading


def test_a_plain_query() -> None:
    message = query()
    read = read_query(message)
    assert (read.id, read.edns, read.udp_bytes) == (0x1234, False, 512)
    assert (read.question.rdtype, read.question.end) == (1, len(message))
    assert dns_message.name_text(read.question) == "www.example.org"


@pytest.mark.parametrize(("advertised", "taken"), [(0, 512), (511, 512), (512, 512), (1232, 1232), (65535, 65535)])
def test_edns_says_how_much_the_guest_takes_but_no_less_than_512(advertised: int, taken: int) -> None:
    read = read_query(query(use_edns=0, payload=advertised))
    assert (read.edns, read.udp_bytes) == (True, taken)


def test_two_opt_records_are_a_format_error_rfc6891_6_1_1() -> None:
    message = bytearray(query(use_edns=0))
    message[11] = 2
    with pytest.raises(FormatError):
        read_query(bytes(message) + bytes(message[-11:]))


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "HTTPS", "TYPE65399", "ANY", "SVCB", "NAPTR"])
def test_any_type_is_read(rdtype: str) -> None:
    assert read_query(query(rdtype=rdtype)).question.rdtype == dns.rdatatype.from_text(rdtype)


@pytest.mark.parametrize("message", [b"", b"\0" * 11, query()[:2] + b"\x80" + query()[3:]])
def test_what_is_no_query(message: bytes) -> None:
    with pytest.raises(NotQueryError):
        read_query(message)


HEADER = query()[:12]


@pytest.mark.parametrize(
    "message",
    [
        HEADER,  # no question
        HEADER[:5] + b"\0" + HEADER[6:],  # question count 0
        HEADER[:5] + b"\2" + HEADER[6:] + query()[12:] * 2,
        HEADER + b"\x03www",
        HEADER + b"\x03www\x00\x00\x01\x00",
        HEADER + b"\xc0\x0c\x00\x01\x00\x01",  # a pointer, to itself
        HEADER + b"\x40" + b"x" * 64 + b"\0\0\1\0\1",  # an old extended label
        HEADER + (b"\x3f" + b"x" * 63) * 4 + b"\0\0\1\0\1",  # 257 bytes
        HEADER[:11] + b"\1" + query()[12:],  # a record promised, none there
        HEADER[:11] + b"\1" + query()[12:] + b"\0\x00\x29\x04\xd0\0\0\0\0\0\x01",  # record data past the end
        HEADER[:11] + b"\1" + query()[12:] + b"\x40",
        HEADER[:11] + b"\1" + query()[12:] + b"\x03ab",
        HEADER[:11] + b"\1" + query()[12:] + b"\xc0",
    ],
)
def test_what_cannot_be_read_is_a_format_error(message: bytes) -> None:
    with pytest.raises(FormatError):
        read_query(message)


def test_the_longest_name_is_read() -> None:
    name = ".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 61])
    assert dns_message.name_text(read_query(query(name)).question) == name


def test_records_before_opt_are_passed_over() -> None:
    update = dns.message.make_query("example.org", "SOA", use_edns=0, payload=1400)
    update.authority.append(dns.rrset.from_text("a.example.org.", 5, "IN", "A", "1.2.3.4"))
    assert read_query(update.to_wire()).udp_bytes == 1400


def test_a_crowd_of_records_is_not_walked() -> None:
    message = bytearray(query())
    message[6:12] = b"\xff" * 6
    assert not read_query(bytes(message)).edns


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(tail: bytes) -> None:
    for message in (tail, HEADER + tail, HEADER[:6] + tail):
        with contextlib.suppress(NotQueryError, FormatError):
            read = read_query(message)
            assert 512 <= read.udp_bytes <= 65535
            assert dns_message.name_text(read.question)
            for code in Rcode:
                made = dns.message.from_wire(dns_message.refusal(message, code, read), raise_on_truncation=False)
                assert made.rcode().value == code.value


# ------------------------------------------------------------------------------------------------------------- names


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_names_are_written_as_dnspython_writes_them(labels: list[bytes]) -> None:
    name = dns.name.Name([*labels, b""])
    message = HEADER + (name.to_wire() or b"") + b"\0\1\0\1"
    expected = dns.name.Name([*(label.lower() for label in labels), b""]).to_text(omit_final_dot=bool(labels))
    assert dns_message.name_text(read_query(message).question) == expected


def test_type_and_code_names_agree_with_dnspython() -> None:
    for number, text in dns_message.RDTYPES.items():
        assert text == dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))
    assert dns_message.type_text(65399) == "TYPE65399"
    assert (dns_message.rcode_text(3), dns_message.rcode_text(9)) == ("NXDOMAIN", "RCODE9")


# ----------------------------------------------------------------------------------------------------------- answers


def accepts(message: bytes, asked: bytes, ident: int = 0x1234) -> bool:
    return dns_message.answers(message, ident, asked, read_query(asked).question)


def test_an_answer_is_accepted_whatever_the_case_of_its_question() -> None:
    asked = query()
    assert accepts(reply(asked), asked)
    assert accepts(reply(query("WWW.eXAMPLE.ORG")), asked)


def test_what_does_not_answer_the_question_is_not() -> None:
    asked = query()
    assert not accepts(reply(asked), asked, ident=0x4321)
    assert not accepts(asked, asked)
    assert not accepts(reply(query("www.example.com")), asked)
    assert not accepts(reply(query(rdtype="AAAA")), asked)
    assert not accepts(reply(asked)[:20], asked)
    assert not accepts(b"\x12\x34", asked)
    update = bytearray(reply(asked))
    update[2] |= dns.opcode.UPDATE << 3
    assert not accepts(bytes(update), asked)


def test_an_error_may_come_without_the_question_but_not_an_answer() -> None:
    asked = query()
    for code, fine in ((1, True), (2, True), (4, True), (5, True), (0, False), (3, False)):
        header = b"\x12\x34\x81" + bytes([0x80 | code]) + bytes(8)
        assert accepts(header, asked) is fine


def test_only_one_question_is_answered() -> None:
    asked = query()
    assert not accepts(reply(asked)[:5] + b"\2" + reply(asked)[6:], asked)


# ----------------------------------------------------------------------------------------------------------- writing


def test_a_refusal_has_question_and_opt_of_the_query() -> None:
    asked = query(use_edns=0, payload=1232)
    made = dns.message.from_wire(dns_message.refusal(asked, Rcode.SERVFAIL, read_query(asked)))
    assert dns.message.from_wire(asked).is_response(made)
    assert (made.rcode(), made.edns) == (dns.rcode.SERVFAIL, 0)
    assert made.flags & (dns.flags.RD | dns.flags.RA) == dns.flags.RD | dns.flags.RA


def test_a_refusal_of_what_could_not_be_read_is_a_header() -> None:
    made = dns.message.from_wire(dns_message.refusal(HEADER + b"\xff", Rcode.FORMERR, None))
    assert (made.id, made.rcode(), made.question) == (0x1234, dns.rcode.FORMERR, [])


def test_truncation_keeps_question_and_opt_and_drops_records() -> None:
    asked = query(use_edns=0, payload=512)
    long = reply(asked, *(f"www.example.org. 60 IN TXT {'x' * 200}" for _ in range(5)), our_payload=1400)
    cut = dns_message.truncated(long, read_query(asked).question, 512)
    made = dns.message.from_wire(cut)
    assert made.flags & dns.flags.TC
    assert made.question == dns.message.from_wire(asked).question
    assert (made.answer, made.authority, made.additional) == ([], [], [])
    assert (made.edns, made.payload) == (0, 1400)
    assert len(cut) <= 512


def test_truncation_without_opt() -> None:
    asked = query()
    cut = dns_message.truncated(reply(asked, "www.example.org. 60 IN A 1.2.3.4"), read_query(asked).question, 512)
    assert dns.message.from_wire(cut).edns == -1
    assert len(cut) == len(asked)


def test_an_opt_too_long_for_the_guest_is_replaced() -> None:
    asked = query(use_edns=0, payload=512)
    options: list[dns.edns.Option] = [dns.edns.GenericOption("65001", bytes(600))]
    long = dns.message.make_response(dns.message.from_wire(asked))
    long.use_edns(0, options=options)
    cut = dns_message.truncated(long.to_wire(), read_query(asked).question, 512)
    made = dns.message.from_wire(cut)
    assert (made.edns, made.options, len(cut) <= 512) == (0, (), True)


def test_truncation_of_a_broken_answer_is_still_sound() -> None:
    asked = query()
    broken = reply(asked, "www.example.org. 60 IN A 1.2.3.4")[:-3]
    made = dns.message.from_wire(dns_message.truncated(broken, read_query(asked).question, 512))
    assert made.flags & dns.flags.TC


def test_with_id_changes_the_id_alone() -> None:
    assert dns_message.with_id(query(), 0xBEEF) == b"\xbe\xef" + query()[2:]
