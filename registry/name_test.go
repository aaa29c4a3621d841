package registry

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestValidName_Table(t *testing.T) {
	for _, name := range []string{"a", "forum", "v1.2", "A_b-C", "-", "9", strings.Repeat("x", 100)} {
		if err := ValidName(name); err != nil {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", ".a", "a/b", "/", "a b", "é", "a\x00", "a\n", "\xff", `a\b`, strings.Repeat("x", 101)} {
		err := ValidName(name)
		if !errors.Is(err, ErrInvalidName) || !strings.Contains(err.Error(), "letters") {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
}

func TestHome_Environment(t *testing.T) {
	wd := t.TempDir()
	t.Chdir(wd)
	for _, c := range []struct{ everheap, xdg, home, want string }{
		{"/eh", "/xdg", "/home/ann", "/eh"},
		{"rel", "/xdg", "/home/ann", filepath.Join(wd, "rel")},
		{"", "/xdg", "/home/ann", "/xdg/everheap"},
		{"", "xdg", "/home/ann", "/home/ann/.local/share/everheap"},
		{"", "", "/home/ann", "/home/ann/.local/share/everheap"},
		{"", "", "", ""},
	} {
		t.Setenv("EVERHEAP_HOME", c.everheap)
		t.Setenv("XDG_DATA_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		got, err := Home()
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: Home = %q, %v", c, got, err)
		}
	}
}

func TestOpen_NoHome(t *testing.T) {
	t.Setenv("EVERHEAP_HOME", "")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "")
	r := Open("")
	if _, err := r.List(); err == nil || !strings.Contains(err.Error(), "EVERHEAP_HOME") {
		t.Errorf("List: %v", err)
	}
	if err := r.Register(Entry{Name: "a", Dir: "/a"}); err == nil {
		t.Error("Register succeeded")
	}
	if r.DefaultDir("a") != "" || r.File() != "" {
		t.Error("a path without a home")
	}
}

func TestDefaultDir_InvalidName(t *testing.T) {
	r := Open("/eh")
	if got := r.DefaultDir("forum"); got != "/eh/spaces/forum" {
		t.Errorf("DefaultDir(forum) = %q", got)
	}
	if got := r.DefaultDir("../x"); got != "" {
		t.Errorf("DefaultDir(../x) = %q", got)
	}
}

func TestSize_RoundTrip(t *testing.T) {
	for _, c := range []struct {
		n uint64
		s string
	}{{0, "0B"}, {1, "1B"}, {1023, "1023B"}, {1024, "1KiB"}, {1536 << 20, "1536MiB"}, {64 << 30, "64GiB"}, {1 << 63, "8EiB"}, {^uint64(0), "18446744073709551615B"}} {
		if got := formatSize(c.n); got != c.s {
			t.Errorf("formatSize(%d) = %s, want %s", c.n, got, c.s)
		}
		if got, err := parseSize(c.s); got != c.n || err != nil {
			t.Errorf("parseSize(%s) = %d, %v", c.s, got, err)
		}
	}
	for _, s := range []string{"", "GiB", "1GB", "1.5GiB", "-1", "16EiB", "18446744073709551616", "1 G"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d", s, n)
		}
	}
}
