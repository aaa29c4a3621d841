"""The wheel, and the examples."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request
import zipfile

import everheap
from tests.support import ROOT, SpaceTest, peer


class Wheel(unittest.TestCase):
    def test_it_can_be_imported_from_its_own(self):
        with tempfile.TemporaryDirectory() as to:
            subprocess.run([sys.executable, str(ROOT / "everheap_build.py"), "wheel", to], check=True, stdout=subprocess.DEVNULL)
            (name,) = os.listdir(to)
            self.assertRegex(name, r"^everheap-[0-9.]+-cp3\d+-cp3\d+-linux_\w+\.whl$")
            with zipfile.ZipFile(os.path.join(to, name)) as z:
                self.assertIsNone(z.testzip())
                z.extractall(os.path.join(to, "site"))
                self.assertIn("everheap/py.typed", z.namelist())
            out = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {os.path.join(to, 'site')!r}); import everheap; "
                                  f"s = everheap.open({os.path.join(to, 'space')!r}, max_size=1 << 28); s.map('m', str, int)['a'] = 1; print(s.map('m')['a'], everheap.__file__)"],
                                 check=True, stdout=subprocess.PIPE, text=True, cwd=to, env={**os.environ, "EVERHEAP_HOME": to}).stdout
            self.assertEqual(out, f"1 {to}/site/everheap/__init__.py\n")

    def test_versions_agree(self):
        self.assertIn(f'version = "{everheap.__version__}"', (ROOT / "pyproject.toml").read_text())


class Examples(SpaceTest):
    def example(self, name, *args):
        return subprocess.run([sys.executable, str(ROOT / "examples" / name), *args], check=True, stdout=subprocess.PIPE, text=True, timeout=120,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout

    def test_frob_twice(self):
        self.assertEqual(self.example("frob.py", self.path), "2 frobs, Frob(foo=9, bar=24)\n")
        out = self.example("frob.py", self.path)
        self.assertIn("there from before: thing Frob(foo=9, bar=24)", out)
        self.assertIn("3 frobs", out)
        self.assertIn("type Frob struct {\n\tFoo int\n\tBar int\n}", self.space.types())

    def test_with_go(self):
        files = []
        for i in range(2):
            files.append(os.path.join(self.dir, f"text{i}"))
            with open(files[-1], "w") as f:
                for n in range(400):
                    f.write(f"the word {n % 7} of file {i} is {'the same' if n % 3 else 'another'}\n")
        self.assertIn("every word counted once; check: clean", self.example("with_go.py", self.path, *files, peer()))

    def test_the_forum(self):
        p = subprocess.Popen([sys.executable, str(ROOT / "examples" / "forum.py"), self.path, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            url = p.stdout.readline().strip()
            for text in ("first <post>", "second"):
                urllib.request.urlopen(url + "post", urllib.parse.urlencode({"author": "ada", "text": text}).encode()).read()
            page = urllib.request.urlopen(url + "vote", urllib.parse.urlencode({"post": 1}).encode()).read().decode()
            self.assertIn("<h1>2 posts</h1>", page)
            self.assertIn("first &lt;post&gt;", page)
            self.assertIn("1 votes", page)
            self.assertEqual(self.space.sorted("posts")[1].votes, 1)
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def test_the_readme(self):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        self.assertTrue(blocks)
        for block in blocks:
            subprocess.run([sys.executable, "-c", block], check=True, cwd=self.dir, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
