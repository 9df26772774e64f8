"""Builds the one native extension, flowd._core. Everything else stands in pyproject.toml.

Environment: FLOWD_WITHOUT_LINEAR=1 builds without the linear engine (slower on misses, the same answers);
FLOWD_SANITIZE=1 builds with AddressSanitizer and UBSan.
"""

import glob
import os
import platform
import shutil
import subprocess
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

HINT = "install it with: apt-get install libonig-dev libhyperscan-dev g++ python3-dev"


def library_flags(name: str) -> tuple[list[str], list[str]] | None:
    """The compiler's and the linker's flags of a library by pkg-config, or None where it is not installed."""
    if shutil.which("pkg-config") is None:
        return None
    answer = subprocess.run(["pkg-config", "--cflags", "--libs", name], capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    flags = answer.stdout.split()
    return [f for f in flags if f.startswith("-I")], [f for f in flags if not f.startswith("-I")]


def native_extension() -> Extension:
    onig = library_flags("oniguruma")
    if onig is None:
        sys.exit(f"flowd needs Oniguruma (libonig with its header and pkg-config file); {HINT}")
    compile_args = [
        "-std=c++17", "-O3", "-g1", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Wno-unused-function",
        # Cython's generated code has these by design; flowd/native is clean of them (make lint compiles it alone).
        "-Wno-missing-field-initializers", "-Wno-unused-parameter", "-Wno-cast-function-type",
        *onig[0],
    ]  # fmt: skip
    link_args = [*onig[1]]
    macros = [("CYTHON_USE_TYPE_SPECS", "1")] if os.environ.get("FLOWD_TYPE_SPECS") else []
    linear = None if os.environ.get("FLOWD_WITHOUT_LINEAR") else library_flags("libhs")
    if linear is not None:
        macros.append(("FLOWD_LINEAR", "1"))
        compile_args += linear[0]
        link_args += linear[1]
    elif not os.environ.get("FLOWD_WITHOUT_LINEAR"):
        print("flowd: libhs was not found: building without the linear engine (libhyperscan-dev has it)")
    if platform.machine() in ("x86_64", "AMD64"):
        compile_args += ["-march=x86-64-v2", "-mtune=generic"]  # the baseline; faster levels are chosen at run time
    if os.environ.get("FLOWD_SANITIZE"):
        sanitize = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"]
        compile_args += [*sanitize, "-O1"]
        link_args += sanitize
    return Extension(
        "flowd._core",
        sources=["flowd/_core.pyx", *sorted(glob.glob("flowd/native/**/*.cpp", recursive=True))],
        depends=[*glob.glob("flowd/core/*"), *glob.glob("flowd/native/**/*.?pp", recursive=True)],
        include_dirs=["flowd/native"],
        language="c++",
        define_macros=macros,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


setup(
    ext_modules=cythonize(
        [native_extension()],
        compiler_directives={"language_level": "3", "embedsignature": True, "binding": True},
        nthreads=0,
    ),
)
