"""What type checkers see: the package and the examples are clean, and a program gets the types of
what it stores."""

import os
import re
import shutil
import subprocess
import unittest

from tests.support import ROOT

MYPY = shutil.which("mypy")


def mypy(*args):
    """What mypy --strict prints, for the oldest Python that the package supports."""
    command = [MYPY, "--strict", "--python-version", "3.9", "--cache-dir", str(ROOT / "build" / "mypy"), "--hide-error-context", *args]
    env = {k: v for k, v in os.environ.items() if k not in ("MYPYPATH", "MYPY_FORCE_COLOR", "FORCE_COLOR")}
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env).stdout


def short(revealed):
    """The name of a type without its modules, and the same in all versions of mypy."""
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", revealed).replace("*", "")
    text = re.sub(r"[Tt]uple\[[^\[\]]*, fallback=(\w+)\]", r"\1", text)  # a NamedTuple
    return re.sub(r"\btuple\[", "Tuple[", text)


def expected(lines):
    """What the comments say of each line."""
    want = {}
    for number, line in enumerate(lines, 1):
        found = re.search(r"  # (reveals|refused) (.+)$", line)
        if found:
            want[number] = found.groups()
    return want


class Checked(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if not MYPY:
            reason = "there is no mypy (Debian: apt-get install mypy)"
            print(f"{self.id()}: skipped, {reason}")
            self.skipTest(reason)

    def test_the_package_and_the_examples(self):
        out = mypy("everheap", *[f"examples/{p.name}" for p in sorted((ROOT / "examples").glob("*.py"))])
        self.assertRegex(out, r"^Success: no issues found in \d+ source files\n$")

    def test_a_program(self):
        want = expected((ROOT / "tests" / "typed.py").read_text().split("\n"))
        self.assertGreater(len(want), 50)
        got = {}
        for number, kind, text in re.findall(r"^tests/typed\.py:(\d+): (note|error): (.*)$", mypy("tests/typed.py"), re.M):
            revealed, code = re.fullmatch(r'Revealed type is "(.*)"', text), re.search(r"\[([a-z-]+)\]$", text)
            if kind == "note" and revealed:
                got[int(number)] = ("reveals", short(revealed.group(1)))
            elif kind == "error":
                got[int(number)] = ("refused", code.group(1) if code else text)
        self.assertEqual(got, want)
