"""The file server, as it is configured."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from pyslirp.config.smb import SmbConfig, default_server
from pyslirp.errors import ConfigErrors


def test_its_address() -> None:
    assert SmbConfig().server == default_server(IPv4Network("10.0.2.0/24")) == IPv4Address("10.0.2.4")
    assert default_server(IPv4Network("192.168.76.0/24")) == IPv4Address("192.168.76.4")


@pytest.mark.parametrize("folder", ["", "a\0b", "a\n[x]", "a\rb", 'a"b'])
def test_what_would_be_something_else_in_smb_conf_is_refused(folder: str) -> None:
    with pytest.raises(ConfigErrors, match="Error accessing shared directory"):
        SmbConfig(folder=folder)
