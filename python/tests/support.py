"""What the tests have in common: spaces that are checked at the end, and other processes."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import everheap

ROOT = pathlib.Path(__file__).resolve().parent.parent


class SpaceTest(unittest.TestCase):
    """A test with a space, which must be sound when the test ends."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="everheap-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.path = os.path.join(self.dir, "space")
        os.environ["EVERHEAP_HOME"] = self.dir
        self.space = everheap.open(self.path, max_size=256 << 20)
        self.addCleanup(self.space.close)
        self.addCleanup(self.check)

    def check(self):
        if not self.space._closed:
            self.assertEqual(self.space.check().findings, [])

    def python(self, code, *args, **options):
        """Starts a Python process that runs code, with everheap and the tests to import."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen([sys.executable, "-c", code, *args], env=env, stdout=subprocess.PIPE, text=True, **options)

    def run_python(self, code, *args):
        """Runs code in a Python process to its end, and returns what it printed."""
        p = self.python(code, *args, stderr=subprocess.PIPE)
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 0, err)
        return out


_peer = None


def peer():
    """The Go program that tests work together with; built once."""
    global _peer
    if _peer is None:
        _peer = ROOT / "build" / "peer"
        _peer.parent.mkdir(exist_ok=True)
        subprocess.run(["go", "build", "-o", str(_peer), "./peer"], cwd=ROOT / "lib", check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return str(_peer)
