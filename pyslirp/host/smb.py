"""Samba's smbd for guests, as QEMU runs it (net/slirp.c, slirp_smb): one share, one process for each connection.

Everything that smbd keeps lies in a folder of its own, which only we can enter and which is removed in the end: nothing
of the host's Samba is read or changed, and no port of the host is listened at.  smbd takes its connection from its
standard input, as from inetd.  Guests are Samba's guests (no password), and act on the shared folder as the user who
runs us.

smb.conf names the folder by a link that lies beside it: there `%` begins a variable, a backslash at the end goes
on in the next line, blanks around a value are lost, and Samba knows no way to write one of them as itself.
"""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

from pyslirp.errors import ForwardError
from pyslirp.host.programs import find

USUAL_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")  #: looked through after PATH, which of users leaves them out
SHARE = "qemu"
LINK = "shared"  #: in the folder of our own, to the one that is shared


class Smb:
    """The configuration of one file server, on disk until `close`."""

    def __init__(self, folder: str) -> None:
        """Raises ForwardError in QEMU's words where smbd, the folder or a place for its files is missing."""
        from pyslirp.host.files import is_readable_folder  # noqa: PLC0415 (only who has a share pays for it)

        self._smbd = _find_smbd()
        shared = os.path.realpath(folder)
        if not is_readable_folder(shared):
            raise ForwardError(errno.EACCES, f"Error accessing shared directory '{folder}': no folder that can be read")
        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise ForwardError(None, "Failed to retrieve user name") from None
        self._home = _make_home()
        try:
            (self._home / LINK).symlink_to(shared)
            (self._home / "smb.conf").write_text(_configuration(self._home, user), "utf-8", "surrogateescape")
        except OSError as error:
            self.close()
            raise ForwardError(error.errno, f"Could not create samba server dir: {error.strerror}") from None

    def arguments(self) -> list[str]:
        """The command for one connection."""
        return [self._smbd, "-l", str(self._home), "-s", str(self._home / "smb.conf")]

    def close(self) -> None:
        """Take it all away again; every smbd has ended."""
        import shutil  # noqa: PLC0415 (only who has a share pays for it)

        shutil.rmtree(self._home, ignore_errors=True)


def _find_smbd() -> str:
    folders = [*os.get_exec_path(), *USUAL_FOLDERS]
    program = find("smbd", filter(os.path.isabs, folders))
    if program is None:
        raise ForwardError(errno.ENOENT, "Could not find '/usr/sbin/smbd', please install it (package samba)")
    return program


def _make_home() -> Path:
    from tempfile import mkdtemp  # noqa: PLC0415 (only who has a share pays for it)

    try:
        return Path(mkdtemp(prefix="pyslirp-smb."))  # mode 0700, under a name that nobody can foresee
    except OSError as error:
        raise ForwardError(error.errno, f"Could not create samba server dir: {error.strerror}") from None


def _configuration(home: Path, user: str) -> str:
    """smb.conf(5)."""
    globally = {
        "private dir": home,
        "interfaces": "127.0.0.1",
        "bind interfaces only": "yes",
        "pid directory": home,
        "lock directory": home,
        "state directory": home,
        "cache directory": home,
        "ncalrpc dir": home / "ncalrpc",
        "log file": home / "log.smbd",
        "smb passwd file": home / "smbpasswd",
        "security": "user",
        "map to guest": "Bad User",
        "load printers": "no",
        "printing": "bsd",
        "disable spoolss": "yes",
        "usershare max shares": 0,
    }
    share = {"path": home / LINK, "read only": "no", "guest ok": "yes", "force user": user}
    lines = []
    for name, values in (("global", globally), (SHARE, share)):
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
