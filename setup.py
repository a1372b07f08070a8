"""Build the engine: every `.pyx` under ext/ becomes the module that its path spells, in one flavour.

The flavour is the environment variable PYSLIRP_BUILD (default: release).  Each has a tree of its own, build/<flavour>/,
for the generated C, the objects and the finished package, so that no flavour ever sees another's work.  Only release
builds in place (editable installs); the others are run from build/<flavour>/lib, as the Makefile does.

Everything is incremental: an edited `.pyx` rebuilds its module, an edited `.pxd` also those that cimport it, an edited
setup.py or C header all of them, and what has lost its source is removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

from Cython.Build import cythonize
from Cython.Shadow import __version__ as cython_version
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CYTHON = ((3, 3, 1), (3, 4))  # from, below: as in pyproject.toml, checked here too for builds without isolation
EXT = Path("ext")
HEADERS = sorted(str(path) for path in EXT.rglob("*.h"))

# Flags of every flavour.  The engine overlays structs on bytes of frames, which strict aliasing would let gcc break;
# -Werror names the mistakes that C merely warns of and that are always bugs.
COMMON = ["-fno-strict-aliasing", "-Wall", "-Wno-unused-function", "-Wno-sign-compare", "-Werror=return-type",
          "-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types", "-Werror=int-conversion"]
# The guest is hostile: keep what hardening costs nothing in a loop.  (-U first: a distribution may have set another.)
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
SANITIZED = ["-O1", "-g", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", *SANITIZERS]


@dataclass(frozen=True)
class Flavour:
    """How one flavour differs from the others; see FLAVOURS."""

    cflags: list[str]
    ldflags: list[str] = field(default_factory=list)
    macros: list[str] = field(default_factory=list)  #: defined as 1; in other flavours not defined at all
    directives: dict[str, bool] = field(default_factory=dict)
    line_numbers: bool = True  #: debuggers and sanitizers name the .pyx line, not the C line
    c_beside_source: bool = False  #: the only place where coverage's Cython plugin finds it


FLAVOURS = {
    # What users run.  No -march=native: a wheel travels.  -g1 is enough for perf and for a backtrace.
    "release": Flavour(["-O3", "-g1", *HARDENED], line_numbers=False),
    # For a debugger, and for the engine's own assertions and leak counters.
    "debug": Flavour(["-O0", "-g", "-U_FORTIFY_SOURCE"], macros=["PYSLIRP_DEBUG"],
                     directives={"boundscheck": True, "initializedcheck": True}),
    # Memory errors and undefined behaviour in the code that users run.
    "sanitize": Flavour(SANITIZED, SANITIZERS),
    # The same, with assertions on and checksums that always verify, so that mutated frames reach past them.
    "fuzz": Flavour(SANITIZED, SANITIZERS, macros=["PYSLIRP_DEBUG", "PYSLIRP_FUZZ"]),
    # Lines of the .pyx that the tests reach, nogil code too (not on CPython 3.12, whose tracing lacks it).
    "coverage": Flavour(["-O0", "-g0", "-U_FORTIFY_SOURCE", "-DCYTHON_USE_SYS_MONITORING=0"],
                        macros=["CYTHON_TRACE_NOGIL"], directives={"linetrace": True}, c_beside_source=True),
}

# No flavour may change what the code means: cdivision and wraparound are the same in all of them.
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True, "nonecheck": False,
              "initializedcheck": False}

NAME = os.environ.get("PYSLIRP_BUILD") or "release"
if NAME not in FLAVOURS:
    raise SystemExit(f"PYSLIRP_BUILD={NAME}: no such flavour; use one of {', '.join(FLAVOURS)}")
FLAVOUR = FLAVOURS[NAME]
BASE = Path("build", NAME)


def extensions() -> list[Extension]:
    """One extension for each `.pyx`: ext/pyslirp/engine/stores/ranges.pyx is pyslirp.engine.stores.ranges."""
    return [
        Extension(".".join(path.relative_to(EXT).with_suffix("").parts), [str(path)],
                  include_dirs=[str(EXT)], define_macros=[(name, "1") for name in FLAVOUR.macros],
                  extra_compile_args=[*COMMON, *FLAVOUR.cflags], extra_link_args=FLAVOUR.ldflags)
        for path in sorted(EXT.rglob("*.pyx"))
    ]


class Build(build):
    """`build`, in the flavour's own tree."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.build_base, self.build_lib, self.build_temp = str(BASE), str(BASE / "lib"), str(BASE / "obj")


class BuildPy(build_py):
    """`build_py`, which also forgets the Python files that are gone."""

    def run(self) -> None:
        if not self.editable_mode:
            for stale in [*Path(self.build_lib).rglob("*.py"), *Path(self.build_lib).rglob("*.pyi")]:
                stale.unlink()
            self.force = True
        super().run()


class BuildExt(build_ext):
    """`build_ext` over cythonize: all of it in parallel, none of it before it is asked for (an sdist needs no C)."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        if self.inplace and NAME != "release":
            raise SystemExit(f"PYSLIRP_BUILD={NAME}: only release builds in place; use `make {NAME}`")

    def build_extensions(self) -> None:
        low, high = CYTHON
        if not low <= tuple(int(part) for part in cython_version.split(".")[:3] if part.isdigit()) < high:
            raise SystemExit(f"Cython {cython_version} is installed; pyslirp builds with {low} to below {high}")
        generated = EXT if FLAVOUR.c_beside_source else BASE / "c"
        for made in [*generated.rglob("*.c")]:  # Cython does not know that its options are part of the recipe
            if made.parent.name != "csrc" and made.stat().st_mtime < Path(__file__).stat().st_mtime:
                made.unlink()
        options: dict[str, Any] = {} if FLAVOUR.c_beside_source else {"build_dir": str(generated)}
        done = cythonize(  # type: ignore[no-untyped-call]
            self.extensions, nthreads=os.cpu_count(), force=self.force, include_path=[str(EXT)],
            compiler_directives={**DIRECTIVES, **FLAVOUR.directives}, emit_linenums=FLAVOUR.line_numbers, **options)
        for extension, translated in zip(self.extensions, done, strict=True):
            extension.sources = translated.sources
            extension.depends = [*translated.depends, *HEADERS, "setup.py"]
        super().build_extensions()
        self.prune()

    def run(self) -> None:
        super().run()
        if self.inplace:
            self.prune()

    def prune(self) -> None:
        """Remove the modules whose `.pyx` is gone: left alone they would still import, and be shipped."""
        kept = {Path(self.get_ext_fullpath(extension.name)).resolve() for extension in self.extensions}
        engine = Path(self.get_ext_fullpath("pyslirp.engine.any")).parent
        for built in engine.rglob(f"*{get_config_var('EXT_SUFFIX')}"):  # this interpreter's only
            if built.resolve() not in kept:
                built.unlink()


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build": Build, "build_py": BuildPy, "build_ext": BuildExt})
