package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

// unlisted makes versions that have asides, and returns their number.
func unlisted(t *testing.T, s *everheap.Space) (n int) {
	t.Helper()
	set(t, s, 20, 10)
	spacetest.Must(t, s.Checkpoint("first"))
	set(t, s, 30, 20)
	c, err := s.Create("typed", "map[string]Typed\ntype Typed struct { Name string; Age int }")
	spacetest.Must(t, err)
	spacetest.Must(t, c.SetJSON(s, []byte(`"k"`), []byte(`{"Name": "n", "Age": 4}`)))
	spacetest.Must(t, s.EvolveCollection("typed", "map[string]Typed\ntype Typed struct { Name string; Age int64; City string }", everheap.Evolve()))
	spacetest.Must(t, everheap.CreateIndex(s, "typed", "by_name", "Name"))
	spacetest.Must(t, s.Checkpoint("second"))
	set(t, s, 5, 5)
	return 4
}

// asides returns the asides of a space.
func asides(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "changes-*"))
	spacetest.Must(t, err)
	return list
}

// A recovery replays asides, in the order of the versions, and makes each checkpoint of its own
// version, even if no subscription needs the asides any more. Then the asides are removed.
func TestAside_Recovered(t *testing.T) { // CH4
	for _, dropped := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "space")
		s := spacetest.Open(t, dir, spacetest.WithoutBackground())
		set(t, s, 10, 10)
		u, err := s.Subscribe("mine", 0)
		spacetest.Must(t, err)
		from, err := u.Version()
		spacetest.Must(t, err)
		spacetest.Must(t, spacetest.Engine(s).Anchor(true))
		e := spacetest.Engine(s)
		anchored := e.Live.NewestAnchor()
		n := unlisted(t, s)
		spacetest.Must(t, s.Sync(context.Background()))
		if weight := e.Changes.Weight(anchored); weight == 0 || e.Changes.Weight(format.Version(newest(t, s))) != 0 {
			t.Errorf("a recovery would replay %d bytes of asides", weight)
		}
		if dropped {
			spacetest.Must(t, u.Drop())
		}
		if list := asides(t, dir); len(list) != n {
			t.Fatalf("there are the asides %v, want %d", list, n)
		}
		was, err := s.Checkpoints()
		spacetest.Must(t, err)
		newestWas, dump := newest(t, s), spacetest.ReadDump(t, spacetest.BackupOf(t, s))
		loseLive(t, s, dir)
		s = spacetest.Open(t, dir, spacetest.WithoutBackground())
		if v := newest(t, s); v != newestWas {
			t.Fatalf("version %d is recovered, and version %d was durable", v, newestWas)
		}
		spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, s)), dump)
		is, err := s.Checkpoints()
		spacetest.Must(t, err)
		if len(is) != len(was) || len(is) != 2 {
			t.Fatalf("the checkpoints are %+v, and were %+v", is, was)
		}
		for i := range is {
			if is[i].Name != was[i].Name || is[i].Version != was[i].Version || !is[i].Created.Equal(was[i].Created) || !is[i].Committed.Equal(was[i].Committed) {
				t.Errorf("checkpoint %+v, and it was %+v", is[i], was[i])
			}
		}
		if !dropped {
			list, err := frames(t, s, from)
			spacetest.Must(t, err)
			whole(t, list, from, newestWas)
			u, err := s.Subscribe("mine", 0)
			spacetest.Must(t, err)
			spacetest.Must(t, u.Confirm(newestWas))
		}
		set(t, s, 20, 30)
		spacetest.Must(t, s.Restore(context.Background(), "first"))
		spacetest.Must(t, spacetest.Engine(s).Anchor(true))
		spacetest.Must(t, spacetest.Engine(s).Changes.Tidy())
		if list := asides(t, dir); len(list) > 1 || len(list) == 1 && dropped {
			t.Errorf("no subscription needs the asides %v", list)
		}
	}
}

// loseLive closes the space as a power loss does, except that all writes reach the disk.
func loseLive(t *testing.T, s *everheap.Space, dir string) {
	t.Helper()
	saved := map[string][]byte{}
	list, err := os.ReadDir(dir)
	spacetest.Must(t, err)
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		spacetest.Must(t, err)
		saved[e.Name()] = b
	}
	delete(saved, "live")
	spacetest.Must(t, s.Close())
	list, err = os.ReadDir(dir)
	spacetest.Must(t, err)
	for _, e := range list {
		spacetest.Must(t, os.Remove(filepath.Join(dir, e.Name())))
	}
	for name, b := range saved {
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
}

// A recovery that needs a missing or damaged aside fails with that error, and changes nothing: with
// the file back in place the space opens.
func TestAside_Damaged(t *testing.T) { // CH4
	for name, damage := range map[string]func(path string, b []byte) error{
		"missing": func(path string, _ []byte) error { return os.Remove(path) },
		"cut":     func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-1], 0o600) },
		"empty":   func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"changed": func(path string, b []byte) error {
			c := append([]byte(nil), b...)
			c[len(c)-1] ^= 4
			return os.WriteFile(path, c, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "space")
			s := spacetest.Open(t, dir, spacetest.WithoutBackground())
			_, err := s.Subscribe("mine", 0)
			spacetest.Must(t, err)
			spacetest.Must(t, spacetest.Engine(s).Anchor(true))
			unlisted(t, s)
			spacetest.Must(t, s.Sync(context.Background()))
			last := newest(t, s)
			path := asides(t, dir)[1]
			b, err := os.ReadFile(path)
			spacetest.Must(t, err)
			spacetest.Must(t, damage(path, b))
			if report, err := s.Check(context.Background()); err != nil || len(report.Findings) != 1 || filepath.Base(report.Findings[0].File) != filepath.Base(path) {
				t.Errorf("the check finds %+v, %v", report.Findings, err)
			}
			spacetest.Must(t, os.WriteFile(path, b, 0o600))
			loseLive(t, s, dir)
			spacetest.Must(t, damage(path, b))
			for range 2 {
				_, err = everheap.Open(dir, spacetest.WithoutBackground())
				if !errors.Is(err, everheap.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(path)) {
					t.Fatalf("with %s %s: %v", path, name, err)
				}
			}
			spacetest.Must(t, os.WriteFile(path, b, 0o600))
			s = spacetest.Open(t, dir, spacetest.WithoutBackground())
			if v := newest(t, s); v != last {
				t.Errorf("version %d is recovered, want %d", v, last)
			}
		})
	}
}
