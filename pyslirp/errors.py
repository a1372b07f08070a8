"""Errors that reach the people who use pyslirp: the caller's and the host's, never the guest's.

What a guest does wrong is counted and dropped; it never becomes an exception.  An exception here names the option,
the value and the remedy, so that its text alone is enough to act on.
"""

from __future__ import annotations


class SlirpError(Exception):
    """Base of everything that pyslirp raises on purpose."""


class ConfigError(SlirpError, ValueError):
    """One option has a value that cannot work.

    ``str(error)`` is what the command line prints: QEMU's own reason where QEMU has one, with option and value.
    """

    def __init__(self, option: str, value: object, reason: str, hint: str = "") -> None:
        self.option = option
        self.value = value
        self.reason = reason
        self.hint = hint
        text = f"{option}={value}: {reason}" if value is not None else f"{option}: {reason}"
        super().__init__(f"{text} ({hint})" if hint else text)


class ConfigErrors(SlirpError, ValueError):
    """Every error of one configuration at once, so that the user mends them in one go."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))


class LinkError(SlirpError, OSError):
    """A link to a guest cannot be opened: the address is in use, the path is not a socket, the descriptor is not one.

    ``args[1]`` says it to people.  `step` names what was being done, for a program that says it in another one's words.
    """

    def __init__(self, number: int | None, text: str, step: str = "") -> None:
        super().__init__(number, text)
        self.step = step


class ForwardError(SlirpError, OSError):
    """A host forwarding rule cannot be set up or is not there to be removed."""


class ClosedError(SlirpError):
    """The network, or the flow, has been closed."""
