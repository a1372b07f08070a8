"""Invariant tested: a line of a control socket is refused with RequestError, or reads back from what it is written as.

What it asks for is then looked up and its arguments are read, as a server does, which ends in a CommandError or a
request that reads back from its own JSON.
"""

from __future__ import annotations

import json

from pyslirp.control.command import CommandError, arguments_to_json, find
from pyslirp.control.commands import COMMANDS
from pyslirp.control.protocol import RequestError, read_request, write_error, write_request


def fuzz(data: bytes) -> None:
    """One line."""
    try:
        request = read_request(data)
    except RequestError as error:
        refusal = json.loads(write_error(error.id, error))
        if not refusal["error"]["desc"]:
            raise AssertionError("a refusal says why") from error
        return
    assert read_request(write_request(request)) == request
    try:
        command = find(request.command, COMMANDS)
        made = command.from_json(request.arguments)
    except CommandError:
        return
    assert command.from_json(arguments_to_json(made)) == made
