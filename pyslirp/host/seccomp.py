"""System calls that a process does without from now on (slirp4netns's ``--enable-seccomp``; seccomp(2)).

The filter allows what it does not name: it takes away the calls by which a process that was taken over would become
another program, look into others, or change mounts, namespaces and the kernel.  A call that it names kills the process.
"""

from __future__ import annotations

import platform

from pyslirp.errors import SlirpError
from pyslirp.host.syscalls import PR_SET_NO_NEW_PRIVS, install_seccomp_filter, prctl

# linux/bpf_common.h, linux/seccomp.h
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4  # struct seccomp_data
KILL_PROCESS, ALLOW = 0x8000_0000, 0x7FFF_0000
X32_BIT = 0x4000_0000  #: numbers of the x32 ABI on x86_64: the same calls by other names

#: By machine: AUDIT_ARCH_* (linux/audit.h), and the numbers of the calls that differ between machines.
MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000_003E,
        {
            "execve": 59,
            "ptrace": 101,
            "pivot_root": 155,
            "prctl": 157,
            "chroot": 161,
            "mount": 165,
            "umount2": 166,
            "reboot": 169,
            "init_module": 175,
            "delete_module": 176,
            "lookup_dcookie": 212,
            "kexec_load": 246,
            "unshare": 272,
            "name_to_handle_at": 303,
            "open_by_handle_at": 304,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "finit_module": 313,
            "kexec_file_load": 320,
            "execveat": 322,
        },
    ),
    "aarch64": (
        0xC000_00B7,
        {
            "lookup_dcookie": 18,
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "chroot": 51,
            "unshare": 97,
            "kexec_load": 104,
            "init_module": 105,
            "delete_module": 106,
            "ptrace": 117,
            "reboot": 142,
            "prctl": 167,
            "execve": 221,
            "name_to_handle_at": 264,
            "open_by_handle_at": 265,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "finit_module": 273,
            "execveat": 281,
            "kexec_file_load": 294,
        },
    ),
}

#: Calls of Linux 5.0 and later have the same number everywhere.
EVERYWHERE = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
}

Instruction = tuple[int, int, int, int]  #: code, jump if true, jump if false, value


def filter_program(machine: str) -> list[Instruction]:
    """The filter as a classic BPF program.  Raises SlirpError for a machine whose numbers are not known here."""
    if machine not in MACHINES:
        raise SlirpError(f"seccomp: the system calls of {machine} are not known here; leave --enable-seccomp out")
    architecture, calls = MACHINES[machine]
    tests: list[tuple[int, int]] = [(_JUMP_EQUAL, number) for number in sorted({*calls.values(), *EVERYWHERE.values()})]
    if machine == "x86_64":
        tests.insert(0, (_JUMP_GREATER_EQUAL, X32_BIT))
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD_WORD, 0, 0, _AT_NUMBER),
    ]
    for left, (test, value) in zip(range(len(tests), 0, -1), tests, strict=True):
        program.append((test, left, 0, value))  # over the tests that are left and over ALLOW
    return [*program, (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, KILL_PROCESS)]


def install() -> list[str]:
    """Do without these calls from now on, whose names come back; there is no way back.  Raises SlirpError."""
    machine = platform.machine()
    program = filter_program(machine)
    try:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        install_seccomp_filter(program)
    except OSError as error:
        raise SlirpError(f"seccomp: {error.strerror}; does this kernel have CONFIG_SECCOMP_FILTER?") from None
    return sorted({*MACHINES[machine][1], *EVERYWHERE})
