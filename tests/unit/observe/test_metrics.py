from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.observe.metrics import Description, render, samples

# The exposition format's own rule for a line that is no comment.
LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*"'
LINE = re.compile(rf"[a-zA-Z_:][\w:]*(\{{{LABEL}(,{LABEL})*\}})? -?[0-9.einf+-]+", re.ASCII)


def values(tree: dict[str, Any]) -> list[str]:
    return [str(sample) for sample in samples(tree)]


def test_words_are_levels_and_numbers_are_labels() -> None:
    tree = {"tcp": {"retransmitted": 3}, "port": {0: {"rx_frames": 7}, 1: {"rx_frames": 8}}, "flows": 2}
    assert values(tree) == [
        "pyslirp_tcp_retransmitted 3",
        'pyslirp_port_rx_frames{port="0"} 7',
        'pyslirp_port_rx_frames{port="1"} 8',
        "pyslirp_flows 2",
    ]


def test_what_is_no_number_is_left_out() -> None:
    tree = {"net": "10.0.2.0/24", "leases": [1, 2], "restrict": True, "load": 0.5, "none": None}
    assert values(tree) == ["pyslirp_restrict 1", "pyslirp_load 0.5"]


def test_names_keep_to_what_prometheus_takes() -> None:
    assert values({"arp-cache": {"hits/s": 1}}) == ["pyslirp_arp_cache_hits_s 1"]


def test_a_family_stands_together_under_its_description() -> None:
    tree = {"port": {0: {"rx": 1, "tx": 2}, 1: {"rx": 3, "tx": 4}}}
    text = render(tree, {"port.rx": Description("Frames from the guest.", "counter")})
    assert text.splitlines() == [
        "# HELP pyslirp_port_rx Frames from the guest.",
        "# TYPE pyslirp_port_rx counter",
        'pyslirp_port_rx{port="0"} 1',
        'pyslirp_port_rx{port="1"} 3',
        "# TYPE pyslirp_port_tx untyped",
        'pyslirp_port_tx{port="0"} 2',
        'pyslirp_port_tx{port="1"} 4',
    ]


trees = st.recursive(
    st.integers() | st.booleans() | st.text() | st.none(),
    lambda inner: st.dictionaries(st.text(min_size=1) | st.integers(), inner),
)


@given(st.dictionaries(st.text(min_size=1), trees))
def test_any_tree_gives_lines_of_the_format(tree: dict[str, Any]) -> None:
    for line in render(tree).splitlines():
        assert line.startswith("# TYPE pyslirp_") or LINE.fullmatch(line)
