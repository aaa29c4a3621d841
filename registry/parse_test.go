package registry

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// tree returns the meaning of the lines of d, in the form of the reference parser.
func tree(d *document) map[string]any {
	root := map[string]any{}
	at := func(path []string) map[string]any {
		m := root
		for _, k := range path {
			if m[k] == nil {
				m[k] = map[string]any{}
			}
			m = m[k].(map[string]any)
		}
		return m
	}
	for _, l := range d.lines {
		switch l.kind {
		case lineHeader:
			at(l.table)
		case lineAssign:
			at(l.table)[l.key] = l.val
		}
	}
	return root
}

// agree fails the test unless the reference parser reads text as d does.
func agree(t *testing.T, d *document, text string) {
	t.Helper()
	want := map[string]any{}
	if _, err := toml.Decode(text, &want); err != nil {
		t.Fatalf("the reference parser refuses %q: %v", text, err)
	}
	if diff := cmp.Diff(want, tree(d)); diff != "" {
		t.Fatalf("%q means something else to the reference parser (-it +ours):\n%s", text, diff)
	}
}

var accepted = []string{
	"",
	"\n",
	"# only a comment",
	edited,
	"a = 1\nb = -17\nc = +0\nd = 0xFf_0\ne = 0o17\nf = 0b1_0\ng = true\nh = false\ni = 9223372036854775807\n",
	"\"a b\" = 'c\\d'\n'' = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00e9\\U0001F600\"\n",
	"[ a . \"b.c\" . 'd' ]\nx = 1 # one\n[a]\ny = 2\n[a.\"b.c\"]\nz = 3",
	"[spaces]\n[spaces.a]\r\ndir = \"x\"\r\n",
	"[spaces.\"a.b\"]\ndir = '/x'\nbase = 0x1000\nsize = 4096\n",
	"\t[t]\t\n \t k\t=\t1\t#\tc",
}

func TestParse_AgreesWithReference(t *testing.T) {
	for _, text := range accepted {
		d, err := parse("f", []byte(text))
		if err != nil {
			t.Errorf("parse(%q): %v", text, err)
			continue
		}
		if string(d.bytes()) != text {
			t.Errorf("parse(%q) gives back %q", text, d.bytes())
		}
		agree(t, d, text)
	}
}

func TestSyntaxError_NamesLineAndRemedy(t *testing.T) { // RG4
	for _, c := range []struct {
		text string
		line int
		says string
	}{
		{"[spaces.a]\ndir /x\n", 2, "expected ="},
		{"[spaces.a]\ndir = /x\n", 2, "in quotes"},
		{"[spaces.a]\ndir = \"/x\n", 2, "not closed"},
		{"[spaces.a]\ndir = '/x\n", 2, "not closed"},
		{"[spaces.a]\ndir = \"\\x\"\n", 2, "unknown escape"},
		{"[spaces.a]\ndir = \"\\ud800\"\n", 2, "hexadecimal"},
		{"[spaces.a]\ndir = \"\\u12", 2, "hexadecimal"},
		{"[spaces.a]\ndir = \"\\", 2, "escape"},
		{"[spaces.a]\ndir =\n", 2, "missing"},
		{"[spaces.a]\ndir = '/x' y\n", 2, "end of the line"},
		{"[spaces.a]\ndir = [1]\n", 2, "arrays"},
		{"[spaces.a]\ndir = {}\n", 2, "inline"},
		{"[spaces.a]\ndir = \"\"\"x\n", 2, "several lines"},
		{"[spaces.a]\ndir.x = 1\n", 2, "dots"},
		{"[spaces.a]\ndir = 1\n", 2, "not a string"},
		{"[spaces.a]\ndir = ''\n", 2, "empty"},
		{"[spaces.a]\ndir = '~/x'\n", 2, "in full"},
		{"[spaces.a]\ndir = '/x'\ndir = '/y'\n", 3, "twice"},
		{"[spaces.a]\ndir = '/x'\nbase = 'zz'\nsize = 1\n", 3, "address"},
		{"[spaces.a]\ndir = '/x'\nbase = 1.5\n", 3, "whole number"},
		{"[spaces.a]\ndir = '/x'\nbase = -1\n", 3, "cannot be used"},
		{"[spaces.a]\ndir = '/x'\nsize = '1GB'\n", 3, "GiB"},
		{"[spaces.a]\ndir = '/x'\n\nbase = 4096\n", 4, "needs a size"},
		{"[spaces.a]\ndir = '/x'\nsize = '8EiB'\nbase = '0xffffffffffff0000'\n", 4, "end of the address space"},
		{"\n[spaces.a]\nsize = 1\n", 2, "no directory"},
		{"[spaces.a]\ndir = 'x'\n[spaces.a]\n", 3, "twice"},
		{"[spaces.a\n", 1, "closing ]"},
		{"[]\n", 1, "expected a key"},
		{"[[spaces]]\n", 1, "arrays of tables"},
		{"[spaces.v1.2]\ndir = 'x'\n", 1, `[spaces."v1.2"]`},
		{"[spaces.\"a/b\"]\ndir = 'x'\n", 1, "letters"},
		{"[spaces]\na = '/x'\n", 2, "outside"},
		{"spaces = 1\n", 1, "outside"},
		{"a = 1\n[a]\n", 2, "value already"},
		{"a = 1\n[a.b]\n", 2, "value already"},
		{"[a.b]\n[a]\nb = 1\n", 3, "twice"},
		{"\xff", 1, "UTF-8"},
		{"# \x01\n", 1, "control character"},
		{"a = 1\rb = 2\n", 1, "control character"},
		{"a = 01\n", 1, "not a value"},
		{"a = 1__0\n", 1, "not a value"},
		{"a = 0x-1\n", 1, "not a value"},
		{"a = 9223372036854775808\n", 1, "not a value"},
		{"\ufeffa = 1\n", 1, "expected a key"},
	} {
		r := newHome(t)
		write(t, r, c.text)
		_, err := r.List()
		var se *SyntaxError
		if !errors.As(err, &se) || se.Line != c.line || se.File != r.File() || !strings.Contains(se.Problem, c.says) {
			t.Errorf("%q: %v; want line %d, %q", c.text, err, c.line, c.says)
			continue
		}
		if err := r.Register(Entry{Name: "new", Dir: "/n"}); !errors.As(err, &se) {
			t.Errorf("%q: Register = %v", c.text, err)
		}
		wantFile(t, r, c.text)
	}
}

// FuzzParse: any bytes give a document or an error. A document means the same to the reference
// parser, and so does the file after each kind of edit.
func FuzzParse(f *testing.F) {
	for _, text := range accepted {
		f.Add(text)
	}
	f.Add("a = \"\\\"\n[b.a]\nc = inf\nd = 1979-05-27\ne = 1e3\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse("/home/f", []byte(text))
		if err != nil {
			var se *SyntaxError
			if !errors.As(err, &se) || se.Line < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		if string(d.bytes()) != text {
			t.Fatalf("%q is given back as %q", text, d.bytes())
		}
		agree(t, d, text)
		before := append([]Entry(nil), d.entries...)
		for _, e := range append(before, Entry{Name: "fresh.one"}) {
			want := Entry{e.Name, "/new \"dir\"\t\\", 1 << 44, 3 << 30}
			if err := d.set(want); err != nil {
				t.Fatalf("set in %q: %v", text, err)
			}
			if got, ok := d.entry(e.Name); !ok || got != want {
				t.Fatalf("set gives %+v in %q", got, d.bytes())
			}
			agree(t, d, string(d.bytes()))
			if !d.remove(e.Name) {
				t.Fatalf("%q is not there to be removed", e.Name)
			}
			if err := d.reparse(); err != nil {
				t.Fatalf("removal from %q leaves %q: %v", text, d.bytes(), err)
			}
			agree(t, d, string(d.bytes()))
		}
		if len(d.entries) != 0 {
			t.Fatalf("left: %v", d.entries)
		}
	})
}

func TestLoad_HugeFile(t *testing.T) {
	r := newHome(t)
	write(t, r, "")
	must(t, os.Truncate(r.File(), maxFileSize+1))
	if _, err := r.List(); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Fatalf("List = %v", err)
	}
}
