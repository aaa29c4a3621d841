package debian

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readAll reads every package of a control file.
func readAll(text string) ([]*Package, error) {
	var all []*Package
	err := Read(strings.NewReader(text), func(p *Package) bool {
		all = append(all, p)
		return true
	})
	return all, err
}

func sample(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/status.sample")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRead_EveryField(t *testing.T) {
	all, err := readAll(`# A comment.
Package: demo
Status: install ok installed
Priority: optional
Section: admin
Installed-Size: 686
Maintainer: Jörg Example <joerg@example.org>
Architecture: all
Multi-Arch: foreign
Source: demo-src (1.0)
Version: 1:2.0~rc1-1+b2
Essential: yes
Homepage: https://example.org/
Pre-Depends: libc6 (>= 2.34)
depends: passwd,
 perl:any (>> 5.0) |
# in between
 perl-base
Recommends: cron
Suggests: quota
Conflicts: old-demo
Breaks: demo-data (<< 2)
Replaces: demo-data (<< 2)
Provides: demo-virtual (= 2), demo-other
Tag: role::program, implemented-in::perl,
 uitoolkit::ncurses
Conffiles:
 /etc/demo.conf cc3493ecd2d09837ffdcc3e25fdfff18
 /etc/demo.d/x 11a06baf8245fd8d690b99024d228c1f obsolete
X-Unknown: ignored
 with a second line
Description: shows things
 First paragraph,
 second line.
 .
  - indented


Package: tail
Version: 1`)
	if err != nil {
		t.Fatal(err)
	}
	one := func(name, op, version string) []Dependency {
		return []Dependency{{[]Relation{{Name: name, Op: op, Version: version}}}}
	}
	want := []*Package{{
		Name: "demo", Version: "1:2.0~rc1-1+b2", Architecture: "all", MultiArch: "foreign", Source: "demo-src (1.0)",
		Section: "admin", Priority: "optional", Maintainer: "Jörg Example <joerg@example.org>", Homepage: "https://example.org/",
		Status: "install ok installed", Summary: "shows things",
		Description:   "First paragraph,\nsecond line.\n\n - indented",
		InstalledSize: 686, Essential: true,
		PreDepends: one("libc6", ">=", "2.34"),
		Depends: []Dependency{
			{[]Relation{{Name: "passwd"}}},
			{[]Relation{{Name: "perl", Arch: "any", Op: ">>", Version: "5.0"}, {Name: "perl-base"}}},
		},
		Recommends: one("cron", "", ""), Suggests: one("quota", "", ""), Conflicts: one("old-demo", "", ""),
		Breaks: one("demo-data", "<<", "2"), Replaces: one("demo-data", "<<", "2"),
		Provides: []string{"demo-virtual", "demo-other"},
		Tags:     []string{"role::program", "implemented-in::perl", "uitoolkit::ncurses"},
		Conffiles: []Conffile{
			{"/etc/demo.conf", "cc3493ecd2d09837ffdcc3e25fdfff18"},
			{"/etc/demo.d/x", "11a06baf8245fd8d690b99024d228c1f"},
		},
	}, {Name: "tail", Version: "1"}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestRead_Sample(t *testing.T) {
	text := sample(t)
	all, err := readAll(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count("\n"+text, "\nPackage: "); len(all) != want || want < 60 {
		t.Fatalf("%d packages, want %d", len(all), want)
	}
	names := map[string]*Package{}
	for _, p := range all {
		names[p.Name] = p
		if p.Version == "" || p.Summary == "" || p.InstalledSize <= 0 || !p.Installed() {
			t.Errorf("%s is incomplete: %+v", p.Name, p)
		}
	}
	for _, p := range all { // the sample is closed: each dependency has an alternative in it
		for _, d := range append(p.PreDepends, p.Depends...) {
			met := false
			for _, r := range d.Alternatives {
				met = met || names[r.Name] != nil
				for _, q := range all {
					for _, virtual := range q.Provides {
						met = met || virtual == r.Name
					}
				}
			}
			if !met {
				t.Errorf("%s depends on %s, which is not there", p.Name, d)
			}
		}
	}
	// Written again, every line of dependencies reads as it stands in the file.
	var lines []string
	for _, p := range all {
		items := make([]string, len(p.Depends))
		for i, d := range p.Depends {
			items[i] = d.String()
		}
		if len(items) > 0 {
			lines = append(lines, strings.Join(items, ", "))
		}
	}
	var want []string
	for l := range strings.SplitSeq(text, "\n") {
		if value, ok := strings.CutPrefix(l, "Depends: "); ok {
			want = append(want, value)
		}
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestRead_StopsEarly(t *testing.T) {
	n := 0
	err := Read(strings.NewReader(sample(t)), func(*Package) bool { n++; return n < 3 })
	if err != nil || n != 3 {
		t.Fatalf("%d packages, %v", n, err)
	}
}

func TestRead_EmptyFile(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# nothing\n", " \t\n"} {
		if all, err := readAll(text); err != nil || len(all) != 0 {
			t.Errorf("%q: %v, %v", text, all, err)
		}
	}
}

func TestSyntaxError_NamesTheLine(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		says string
	}{
		{" x\n", 1, "continuation"},
		{"Package: a\n\n x\n", 3, "continuation"},
		{"Package: a\nnonsense\n", 2, "Field: value"},
		{"Package: a\n: x\n", 2, "Field: value"},
		{"Package: a\nTwo Words: x\n", 2, "Field: value"},
		{"Package: a\nVersion: 1\nversion: 2\n", 3, "twice"},
		{"\nVersion: 1\n", 2, "without a field Package"},
		{"Package: a\nInstalled-Size: big\n", 2, "KiB"},
		{"Package: a\nInstalled-Size: -1\n", 2, "KiB"},
		{"Package: a\nDepends: b (>= 1\n", 2, "missing )"},
		{"Package: a\nProvides: b (\n", 2, "missing )"},
		{"Package: a\nX: " + strings.Repeat("x", maxLine) + "\n", 2, "longer"},
	} {
		_, err := readAll(c.text)
		var se *SyntaxError
		if !errors.As(err, &se) || se.Line != c.line || !strings.Contains(se.Problem, c.says) {
			t.Errorf("%.40q: %v; want line %d, %q", c.text, err, c.line, c.says)
		}
	}
}

func TestParseDependencies_Table(t *testing.T) {
	dep := func(r ...Relation) Dependency { return Dependency{r} }
	for _, c := range []struct {
		text string
		want []Dependency
	}{
		{"", nil},
		{" , ", nil},
		{"a", []Dependency{dep(Relation{Name: "a"})}},
		{"a,b", []Dependency{dep(Relation{Name: "a"}), dep(Relation{Name: "b"})}},
		{"a , b,", []Dependency{dep(Relation{Name: "a"}), dep(Relation{Name: "b"})}},
		{"a|b | c", []Dependency{dep(Relation{Name: "a"}, Relation{Name: "b"}, Relation{Name: "c"})}},
		{"a (= 1)", []Dependency{dep(Relation{"a", "", "=", "1"})}},
		{"a(>=1:2.0~rc-1)", []Dependency{dep(Relation{"a", "", ">=", "1:2.0~rc-1"})}},
		{"a ( <<  2 )", []Dependency{dep(Relation{"a", "", "<<", "2"})}},
		{"a (>> 2) | b (<= 3)", []Dependency{dep(Relation{"a", "", ">>", "2"}, Relation{"b", "", "<=", "3"})}},
		{"a (< 2), b (> 3)", []Dependency{dep(Relation{"a", "", "<=", "2"}), dep(Relation{"b", "", ">=", "3"})}},
		{"python3:any (>= 3.9~)", []Dependency{dep(Relation{"python3", "any", ">=", "3.9~"})}},
		{"libc6:i386", []Dependency{dep(Relation{Name: "libc6", Arch: "i386"})}},
		{"g++-12, lib-a+b.c", []Dependency{dep(Relation{Name: "g++-12"}), dep(Relation{Name: "lib-a+b.c"})}},
		{"a (>= 1) [amd64 !arm64] <!nocheck> <cross>", []Dependency{dep(Relation{"a", "", ">=", "1"})}},
		{"a [amd64]", []Dependency{dep(Relation{Name: "a"})}},
	} {
		got, err := ParseDependencies(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestParseDependencies_Errors(t *testing.T) {
	for _, text := range []string{
		"a |", "| a", "a b", "a (1)", "a ()", "a (>= )", "a (>= 1", "a >= 1", "a (=> 1)", "a (== 1)", "a (>= 1) x",
		"a:", ":any", "a:b:c", "(>= 1)", "a [amd64", "a <x", "a (>= 1 2)",
	} {
		if got, err := ParseDependencies(text); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

// FuzzRead: any bytes give packages or an error, and dependencies survive being written and
// read again.
func FuzzRead(f *testing.F) {
	f.Add(sample(f)[:4000])
	f.Add("Package: a\nDepends: b (>= 1) | c:any [x] <y>,\n d\nTag: x,y\nConffiles:\n /a b\nDescription: s\n .\n")
	f.Add("Package:a\r\nDescription:\n \t.\n\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readAll(text)
		var se *SyntaxError
		if err != nil && (!errors.As(err, &se) || se.Line < 1) {
			t.Fatalf("%v", err)
		}
		for _, p := range all {
			if p.Name == "" {
				t.Fatal("a package without a name")
			}
			for _, d := range p.Depends {
				again, err := ParseDependencies(d.String())
				if err != nil || len(again) != 1 || !cmp.Equal(again[0], d) {
					t.Fatalf("%#v is written %q, and read as %#v, %v", d, d, again, err)
				}
			}
		}
	})
}
