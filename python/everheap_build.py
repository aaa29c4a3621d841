#!/usr/bin/env python3
"""Builds the package with nothing but Go, gcc and this interpreter's headers. It is the build
backend of pyproject.toml as well, so pip can install the directory.

    everheap_build.py inplace      the shared objects beside the sources, for the tests
    everheap_build.py wheel [DIR]  a wheel, in DIR or dist/
"""

import base64
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE / "everheap"


def run(*command, cwd=HERE, env=None):
    print("+", *command, flush=True)
    subprocess.run(command, cwd=cwd, check=True, env={**os.environ, **(env or {})})


def inplace():
    """libeverheap.so of Go, and the extension that is linked to it."""
    build = HERE / "build"
    build.mkdir(exist_ok=True)
    run("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", str(build / "libeverheap.so"), ".", cwd=HERE / "lib", env={"CGO_ENABLED": "1"})
    lib = PACKAGE / "libeverheap.so"
    lib.unlink(missing_ok=True)  # a process may have the old one mapped
    lib.write_bytes((build / "libeverheap.so").read_bytes())
    lib.chmod(0o755)
    extension = PACKAGE / ("_everheap" + sysconfig.get_config_var("EXT_SUFFIX"))
    extension.unlink(missing_ok=True)
    cc = os.environ.get("CC", "gcc")
    run(cc, "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type", "-shared", "-fPIC",
        "-I", sysconfig.get_path("include"), "-I", str(build), "-I", str(HERE / "lib"), "-o", str(extension), str(HERE / "src" / "_everheap.c"),
        "-L", str(PACKAGE), "-leverheap", "-Wl,-rpath,$ORIGIN")
    return extension


def wheel(to):
    """A wheel is a zip with the package and what says what it is (PEP 427)."""
    extension = inplace()
    version = re.search(r'__version__ = "(.*)"', (PACKAGE / "__init__.py").read_text()).group(1)
    python = "cp" + "".join(map(str, sys.version_info[:2]))
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"{python}-{python}-{platform}"
    info = f"everheap-{version}.dist-info"
    files = {f"everheap/{p.name}": p.read_bytes() for p in sorted(PACKAGE.glob("*.py"))}
    for p in (PACKAGE / "py.typed", PACKAGE / "libeverheap.so", extension, *sorted(PACKAGE.glob("*.pyi"))):
        files[f"everheap/{p.name}"] = p.read_bytes()
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: everheap\nVersion: {version}\nSummary: Persistent objects that processes share, in Python and Go\n"
        "License: Apache-2.0\nRequires-Python: >=3.9\nDescription-Content-Type: text/markdown\n\n" + (HERE / "README.md").read_text()).encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: everheap\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    files[f"{info}/LICENSE"] = (HERE.parent / "LICENSE").read_bytes()
    record = "".join(f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(b).digest()).rstrip(b'=').decode()},{len(b)}\n" for name, b in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    to.mkdir(parents=True, exist_ok=True)
    path = to / f"everheap-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, b in files.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            z.writestr(entry, b)
    print(path)
    return path


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517."""
    return wheel(pathlib.Path(wheel_directory)).name


if __name__ == "__main__":
    if sys.argv[1:2] == ["inplace"]:
        inplace()
    elif sys.argv[1:2] == ["wheel"]:
        wheel(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "dist")
    else:
        sys.exit(__doc__)
