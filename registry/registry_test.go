package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	zone = uint64(0x4400_0000_0000)
	gib  = uint64(1) << 30
)

// newHome returns a registry in a home that does not exist yet.
func newHome(t *testing.T) *Registry {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "home"))
}

// write puts a registry file in place.
func write(t *testing.T, r *Registry, text string) {
	t.Helper()
	must(t, os.MkdirAll(r.home, 0o700))
	must(t, os.WriteFile(r.File(), []byte(text), 0o600))
}

func read(t *testing.T, r *Registry) string {
	t.Helper()
	data, err := os.ReadFile(r.File())
	must(t, err)
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, r *Registry, want string) {
	t.Helper()
	if diff := cmp.Diff(want, read(t, r)); diff != "" {
		t.Fatalf("file (-want +got):\n%s", diff)
	}
}

func TestRegistry_MissingFileIsEmpty(t *testing.T) {
	r := newHome(t)
	if list, err := r.List(); err != nil || len(list) != 0 {
		t.Fatalf("List = %v, %v", list, err)
	}
	if _, ok, err := r.Lookup("forum"); ok || err != nil {
		t.Fatalf("Lookup = %v, %v", ok, err)
	}
	if _, err := os.Stat(r.home); !os.IsNotExist(err) {
		t.Fatalf("reading created the home: %v", err)
	}
}

func TestRegister_NewFile(t *testing.T) {
	r := newHome(t)
	must(t, r.Register(Entry{Name: "forum", Dir: "/var/lib/forum", Base: zone, Size: 64 * gib}))
	must(t, r.Register(Entry{Name: "v1.2", Dir: "/srv/a \"b\"\\\x01é", Size: 1536 << 20}))
	wantFile(t, r, `# Everheap spaces: name -> directory. Edit freely; paths may be relative to this file.
[spaces.forum]
dir = "/var/lib/forum"
base = "0x440000000000"
size = "64GiB"

[spaces."v1.2"]
dir = "/srv/a \"b\"\\\u0001é"
size = "1536MiB"
`)
	e, ok, err := r.Lookup("v1.2")
	if want := (Entry{Name: "v1.2", Dir: "/srv/a \"b\"\\\x01é", Size: 1536 << 20}); err != nil || !ok || e != want {
		t.Fatalf("Lookup = %+v, %v, %v", e, ok, err)
	}
	list, err := r.List()
	if err != nil || len(list) != 2 || list[0].Name != "forum" {
		t.Fatalf("List = %v, %v", list, err)
	}
	for path, perm := range map[string]os.FileMode{r.home: 0o700, r.File(): 0o600, filepath.Join(r.home, lockName): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != perm {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), perm)
		}
	}
}

const edited = `# Our spaces. Ask Ann before you change this.

title = "production"   # not ours

[spaces.forum]  # the big one
  # on the fast disk
  dir = 'data/forum'   # relative
  owner = "ann"
  base = 0x4400_0000_0000
  size = "65536 MiB"

# Backups come last.
[spaces.backup]
dir = "/backup"

[limits]
n = 3
`

func TestRegister_KeepsWhatPeopleWrote(t *testing.T) {
	r := newHome(t)
	write(t, r, edited)
	old, ok, err := r.Lookup("forum")
	if want := (Entry{"forum", filepath.Join(r.home, "data/forum"), zone, 64 * gib}); err != nil || !ok || old != want {
		t.Fatalf("Lookup = %+v, %v, %v; want %+v", old, ok, err, want)
	}

	must(t, r.Register(old)) // equal values written differently: no byte changes
	wantFile(t, r, edited)

	e := old
	e.Base = zone + 64*gib
	must(t, r.Register(e))
	want := strings.Replace(edited, "0x4400_0000_0000", `"0x441000000000"`, 1)
	wantFile(t, r, want)

	must(t, r.Register(Entry{Name: "backup", Dir: "/backup", Base: zone, Size: gib}))
	want = strings.Replace(want, "dir = \"/backup\"\n", "dir = \"/backup\"\nbase = \"0x440000000000\"\nsize = \"1GiB\"\n", 1)
	wantFile(t, r, want)

	e.Base, e.Size, e.Dir = 0, 0, "/new"
	must(t, r.Register(e))
	want = strings.Replace(want, "  base = \"0x441000000000\"\n  size = \"65536 MiB\"\n", "", 1)
	want = strings.Replace(want, "'data/forum'   # relative", "\"/new\"   # relative", 1)
	wantFile(t, r, want)

	must(t, r.Register(Entry{Name: "new", Dir: "/n"}))
	wantFile(t, r, want+"\n[spaces.new]\ndir = \"/n\"\n")
	must(t, r.Remove("new"))
	wantFile(t, r, want)
}

func TestRegister_LineEnds(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"no end", "[spaces.a]\ndir = '/a'", "[spaces.a]\ndir = '/a'\nsize = \"1GiB\"\n\n[spaces.b]\ndir = \"/b\"\n"},
		{"carriage return", "[spaces.a]\r\ndir = '/a'\r\n", "[spaces.a]\r\ndir = '/a'\r\nsize = \"1GiB\"\r\n\r\n[spaces.b]\r\ndir = \"/b\"\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newHome(t)
			write(t, r, c.before)
			must(t, r.Register(Entry{Name: "a", Dir: "/a", Size: gib}))
			must(t, r.Register(Entry{Name: "b", Dir: "/b"}))
			wantFile(t, r, c.after)
		})
	}
}

func TestRemove_TakesTheEntryOnly(t *testing.T) {
	r := newHome(t)
	write(t, r, edited)
	must(t, r.Remove("backup"))
	wantFile(t, r, strings.Replace(edited, "# Backups come last.\n[spaces.backup]\ndir = \"/backup\"\n\n", "", 1))
	must(t, r.Remove("forum"))
	wantFile(t, r, "# Our spaces. Ask Ann before you change this.\n\ntitle = \"production\"   # not ours\n\n[limits]\nn = 3\n")
	if err := r.Remove("forum"); !errors.Is(err, ErrNotRegistered) {
		t.Fatalf("second Remove = %v", err)
	}
}

func TestRemove_KeepsTheCommentOnTheFile(t *testing.T) {
	r := newHome(t)
	write(t, r, "# About all of it.\n[spaces.a]\ndir = '/a'\n\n[spaces.b]\ndir = '/b'\n")
	must(t, r.Remove("a"))
	wantFile(t, r, "# About all of it.\n\n[spaces.b]\ndir = '/b'\n")
}

func TestRegister_WindowTaken(t *testing.T) { // RG3
	r := newHome(t)
	a := Entry{"a", "/a", zone, gib}
	must(t, r.Register(a))
	for _, base := range []uint64{zone, zone + gib/2, zone - gib/2} {
		b := Entry{"b", "/b", base, gib}
		err := r.Register(b)
		var we *WindowError
		if !errors.Is(err, ErrWindowTaken) || !errors.As(err, &we) || we.Other != a || we.Entry != b {
			t.Fatalf("base %#x: %v", base, err)
		}
	}
	must(t, r.Register(Entry{"b", "/b", zone + gib, gib}))
	must(t, r.Register(Entry{"alias", "/a/../a", zone, gib})) // the same space
	must(t, r.Register(Entry{"a", "/a", zone - gib, gib}))    // an entry does not conflict with itself
}

func TestRegister_RefusesBadEntries(t *testing.T) {
	r := newHome(t)
	for _, e := range []Entry{
		{Name: "a/b", Dir: "/a"},
		{Name: "a"},
		{Name: "a", Dir: "/\xff"},
		{Name: "a", Dir: "/a\x00"},
		{Name: "a", Dir: "/a", Base: zone},
		{Name: "a", Dir: "/a", Base: ^uint64(0), Size: gib},
	} {
		if err := r.Register(e); err == nil {
			t.Errorf("Register(%+v) succeeded", e)
		}
	}
	if _, err := os.Stat(r.home); !os.IsNotExist(err) {
		t.Fatalf("refused entries created the home: %v", err)
	}
}

// firstFit returns a pick function that takes the first free window.
func firstFit(size uint64) func(func(base, size uint64) bool) (uint64, error) {
	return func(taken func(base, size uint64) bool) (uint64, error) {
		for base := zone; ; base += size {
			if !taken(base, size) {
				return base, nil
			}
		}
	}
}

func TestReserve_PicksDisjointWindows(t *testing.T) {
	r := newHome(t)
	var bases []uint64
	for _, name := range []string{"a", "b", "c"} {
		must(t, r.Reserve(name, r.DefaultDir(name), gib, firstFit(gib), func(base uint64) error {
			bases = append(bases, base)
			if _, ok, err := r.Lookup(name); ok || err != nil {
				t.Errorf("%s is registered before it exists (%v)", name, err)
			}
			return nil
		}))
	}
	if diff := cmp.Diff([]uint64{zone, zone + gib, zone + 2*gib}, bases); diff != "" {
		t.Fatal(diff)
	}
	e, _, err := r.Lookup("b")
	if want := (Entry{"b", filepath.Join(r.home, "spaces", "b"), zone + gib, gib}); err != nil || e != want {
		t.Fatalf("Lookup = %+v, %v", e, err)
	}
}

func TestReserve_FailsWithoutATrace(t *testing.T) {
	r := newHome(t)
	must(t, r.Register(Entry{"a", "/a", zone, gib}))
	before := read(t, r)
	boom := errors.New("boom")
	create := func(uint64) error { return nil }
	never := func(uint64) error { t.Error("create was called"); return nil }
	at := func(base uint64, err error) func(func(base, size uint64) bool) (uint64, error) {
		return func(func(base, size uint64) bool) (uint64, error) { return base, err }
	}
	if err := r.Reserve("b", "/b", gib, at(0, boom), never); err != boom {
		t.Errorf("pick fails: %v", err)
	}
	if err := r.Reserve("b", "/b", gib, firstFit(gib), func(uint64) error { return boom }); err != boom {
		t.Errorf("create fails: %v", err)
	}
	if err := r.Reserve("b", "/b", gib, at(zone, nil), never); !errors.Is(err, ErrWindowTaken) {
		t.Errorf("pick chooses a taken window: %v", err)
	}
	if err := r.Reserve("b", "/b", gib, at(0, nil), never); !errors.Is(err, ErrWindowTaken) {
		t.Errorf("pick chooses address 0: %v", err)
	}
	if err := r.Reserve("b", "/b", 0, at(zone, nil), never); err == nil {
		t.Error("a window of 0 bytes was reserved")
	}
	if err := r.Reserve("a", "/elsewhere", gib, firstFit(gib), never); !errors.Is(err, ErrNameTaken) {
		t.Errorf("name of another directory: %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = r.Reserve("b", "/b", gib, firstFit(gib), func(uint64) error { panic("boom") })
	}()
	wantFile(t, r, before)
	wantNoTemp(t, r)
	must(t, r.Reserve("a", "/a", gib, at(zone, nil), create)) // created again in its old window
	wantFile(t, r, before)
}

func wantNoTemp(t *testing.T, r *Registry) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(r.home, tempName)); !os.IsNotExist(err) {
		t.Fatalf("%s was left behind (%v)", tempName, err)
	}
}

func TestReserve_EditorSavesMeanwhile(t *testing.T) {
	r := newHome(t)
	write(t, r, "[spaces.a]\ndir = '/a'\n")
	must(t, r.Reserve("b", "/b", gib, firstFit(gib), func(uint64) error {
		write(t, r, "[spaces.a]\ndir = '/a2' # moved\n")
		return nil
	}))
	wantFile(t, r, "[spaces.a]\ndir = '/a2' # moved\n\n[spaces.b]\ndir = \"/b\"\nbase = \"0x440000000000\"\nsize = \"1GiB\"\n")
	wantNoTemp(t, r)
}
