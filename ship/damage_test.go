package ship_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/ship"
)

// Restore names a damaged or missing segment, and can restore all versions before it.
func TestRestore_Damage(t *testing.T) {
	w := newWorld(t, 2)
	stop := w.shipping(ship.Options{SegmentBytes: 30_000})
	for range 10 {
		w.change(10)
	}
	last := stop()
	segments, err := filepath.Glob(filepath.Join(w.dir, "changes-*.frames"))
	spacetest.Must(t, err)
	if len(segments) < 5 {
		t.Fatalf("%d segments", len(segments))
	}
	victim := segments[len(segments)/2]
	whole, err := os.ReadFile(victim)
	spacetest.Must(t, err)
	for what, spoil := range map[string]func() error{
		"flipped": func() error {
			b := bytes.Clone(whole)
			b[len(b)/2] ^= 4
			return os.WriteFile(victim, b, 0o600)
		},
		"cut":     func() error { return os.WriteFile(victim, whole[:len(whole)/2], 0o600) },
		"empty":   func() error { return os.WriteFile(victim, nil, 0o600) },
		"missing": func() error { return os.Remove(victim) },
	} {
		spacetest.Must(t, spoil())
		damage := (*ship.Damage)(nil)
		_, _, err := w.restored(ship.At{})
		if !errors.As(err, &damage) || damage.File != victim {
			t.Fatalf("%s: %v, want an error that names %s", what, err, victim)
		}
		got, _, err := w.restored(ship.At{Version: damage.Last})
		spacetest.Must(t, err)
		if want, ok := w.held[damage.Last]; ok {
			spacetest.Same(t, got, want)
		}
		if len(got) == 0 {
			t.Errorf("%s: no version before the damage can be restored", what)
		}
		spacetest.Must(t, os.WriteFile(victim, whole, 0o600))
	}
	got, _, err := w.restored(ship.At{})
	spacetest.Must(t, err)
	spacetest.Same(t, got, w.held[last])
}

// lastSegment returns the path of the last segment of a directory, and its frames.
func lastSegment(t *testing.T, dir string) (string, []everheap.Frame) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "changes-*.frames"))
	spacetest.Must(t, err)
	name := slices.Max(segments)
	return name, framesOf(t, name)
}

// offset returns the offset of a frame.
func offset(list []everheap.Frame, i int) (n int) {
	for _, f := range list[:i] {
		n += len(f.Bytes())
	}
	return n
}

// told runs until the newest version is in the directory, and returns the reported damage.
func (w *world) told() (found *ship.Damage, last everheap.Version) {
	w.t.Helper()
	spacetest.Must(w.t, w.space.Sync(context.Background()))
	last = w.space.Stats().Version
	spacetest.Must(w.t, ship.Run(context.Background(), w.space, w.dir, ship.Options{Once: last, Report: func(p ship.Progress) {
		if p.Damage != nil {
			found = p.Damage
		}
	}}))
	return found, last
}

// Run reports damage in confirmed frames, and leaves the file as it is. Later versions restore from a
// snapshot, and Restore names the lost versions (SH2, SH4, SH6).
func TestRun_DamageOfWhatIsNotKept(t *testing.T) {
	w, m := newWorld(t, 21, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for i := range 20 {
		spacetest.Must(t, m.write(w, i, "before"))
	}
	w.told()
	name, list := lastSegment(t, w.dir)
	at := len(list) / 2
	b, err := os.ReadFile(name)
	spacetest.Must(t, err)
	b[offset(list, at)+len(list[at].Bytes())-1] ^= 1
	spacetest.Must(t, os.WriteFile(name, b, 0o600))
	for i := range 20 {
		spacetest.Must(t, m.write(w, i, "after"))
	}
	damage, last := w.told()
	if damage == nil || damage.File != name || damage.Last != list[at-1].Version() || damage.Offset != int64(offset(list, at)) || damage.Next == 0 || damage.Aside != "" {
		t.Fatalf("%+v is reported", damage)
	}
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, b) {
		t.Errorf("the damaged segment was changed: %v", err)
	}
	for v := damage.Last - 2; v <= last; v++ {
		got, _, err := ship.Plan(w.dir, ship.At{Version: v})
		if v <= damage.Last || v >= damage.Next {
			if err != nil || got != v {
				t.Errorf("version %d would be restored as %d: %v", v, got, err)
			}
			continue
		}
		lost := (*ship.Damage)(nil)
		if !errors.As(err, &lost) || lost.File != name || lost.Last != damage.Last || lost.Next != damage.Next {
			t.Errorf("version %d, which is lost: %v", v, err)
		}
	}
	if again, _ := w.told(); again != nil {
		t.Errorf("reported again: %v", again)
	}
	got, _, err := w.restored(ship.At{})
	spacetest.Must(t, err)
	w.note()
	spacetest.Same(t, got, w.held[last])
}

// Run cuts off what a kill can have left at the end. Before it cuts off other unreadable bytes, it
// reports the damage and copies the segment. Either way the space still keeps the versions, and every
// version gets its frame (SH2).
func TestRun_EndsThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		what  string
		aside bool
		spoil func(b []byte, list []everheap.Frame) []byte
	}{
		{"the beginning of a frame", false, func(b []byte, list []everheap.Frame) []byte { return b[:len(b)-3] }},
		{"the beginning of a head", false, func(b []byte, list []everheap.Frame) []byte { return b[:offset(list, len(list)-1)+3] }},
		{"zeros", false, func(b []byte, list []everheap.Frame) []byte { return append(b, make([]byte, 5000)...) }},
		{"a bit", true, func(b []byte, list []everheap.Frame) []byte { b[len(b)-1] ^= 8; return b }},
		{"a bit of a frame before", true, func(b []byte, list []everheap.Frame) []byte { b[offset(list, len(list)-2)+30] ^= 8; return b }},
		{"something else", true, func(b []byte, list []everheap.Frame) []byte { return append(b, strings.Repeat("else", 100)...) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			w, m := newWorld(t, 22), &model{sets: map[everheap.Version]set{}}
			w.told()
			child := spacetest.StartChild(t, "ship", "SHIP_SPACE="+w.space.Name(), "SHIP_DIR="+w.dir)
			child.AwaitStart()
			for i := range 6 { // Run confirms the first version at once, and the next ones only after a second
				spacetest.Must(t, m.write(w, i, "value"))
				spacetest.Must(t, w.space.Sync(context.Background()))
				want := w.space.Stats().Version
				child.Await("the version is shipped", func() bool { return len(frames(t, w.dir)) > i && newestFrame(t, w.dir) >= want })
			}
			child.Kill()
			name, list := lastSegment(t, w.dir)
			subscriptions, err := w.space.Subscriptions()
			spacetest.Must(t, err)
			if subscriptions[0].Version > list[len(list)-3].Version() {
				t.Skip("the machine was so slow that all versions are confirmed")
			}
			b, err := os.ReadFile(name)
			spacetest.Must(t, err)
			b = c.spoil(b, list)
			spacetest.Must(t, os.WriteFile(name, b, 0o600))
			if _, _, err := ship.Plan(w.dir, ship.At{}); (err != nil) != c.aside {
				t.Errorf("restoring the newest: %v", err)
			}
			damage, last := w.told()
			if (damage != nil) != c.aside {
				t.Fatalf("%v is reported", damage)
			}
			asides, err := filepath.Glob(filepath.Join(w.dir, "*.damaged"))
			spacetest.Must(t, err)
			if c.aside {
				kept, err := os.ReadFile(damage.Aside)
				if err != nil || !bytes.Equal(kept, b) || damage.Aside != name+".damaged" {
					t.Errorf("%s is kept aside: %v", damage.Aside, err)
				}
			} else if len(asides) > 0 {
				t.Errorf("%v are kept aside", asides)
			}
			all := frames(t, w.dir)
			for f := all[list[0].Before()]; f.Version() < last; {
				next, ok := all[f.Position()]
				if !ok {
					t.Fatalf("version %d has no frame", f.Version()+1)
				}
				f = next
			}
			if got, _, err := ship.Plan(w.dir, ship.At{}); err != nil || got != last {
				t.Errorf("version %d would be restored, want %d: %v", got, last, err)
			}
		})
	}
}

// newestFrame returns the version of the newest frame in a directory; another process may be writing
// there.
func newestFrame(t *testing.T, dir string) (v everheap.Version) {
	t.Helper()
	for _, f := range frames(t, dir) {
		v = max(v, f.Version())
	}
	return v
}

// A snapshot may be newer than the last frame when Run is killed. Its version restores; Restore names
// the versions before it as missing, and they get their frames when Run continues (SH1, SH3, SH6).
func TestRun_SnapshotAheadOfFrames(t *testing.T) {
	w, m := newWorld(t, 23, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for i := range 10 {
		spacetest.Must(t, m.write(w, i, "first"))
	}
	_, end := w.told()
	for i := range 10 {
		spacetest.Must(t, m.write(w, i, "second"))
	}
	spacetest.Must(t, w.space.Sync(context.Background()))
	ahead := w.space.Stats().Version
	spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir))
	if got, from, err := ship.Plan(w.dir, ship.At{}); err != nil || got != ahead || from != ahead {
		t.Errorf("the newest would be version %d, from the snapshot %d; want %d: %v", got, from, ahead, err)
	}
	damage := (*ship.Damage)(nil)
	if _, _, err := ship.Plan(w.dir, ship.At{Version: ahead - 3}); !errors.As(err, &damage) || !damage.Missing || damage.Last != end || damage.Next != ahead {
		t.Errorf("a version before the snapshot: %v, want that those after %d are missing", err, end)
	}
	for i := range 10 {
		spacetest.Must(t, m.write(w, i, "third"))
	}
	_, last := w.told()
	for v := end; v <= last; v++ {
		if got, _, err := ship.Plan(w.dir, ship.At{Version: v}); err != nil || got != v {
			t.Errorf("version %d would be restored as %d: %v", v, got, err)
		}
	}
	m.some(w, 2, last)
}

// If the newest snapshots are damaged, Restore reaches the same version from an older one.
func TestRestore_DamagedSnapshot(t *testing.T) {
	w, m := newWorld(t, 24, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for range 2 {
		for i := range 10 {
			spacetest.Must(t, m.write(w, i, "value"))
		}
		w.told()
		spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir))
	}
	snapshots, err := filepath.Glob(filepath.Join(w.dir, "snapshot-*.backup"))
	spacetest.Must(t, err)
	if len(snapshots) != 3 {
		t.Fatalf("%d snapshots", len(snapshots))
	}
	for i, at := range []int{5, 0} { // in the head, and after it
		b, err := os.ReadFile(snapshots[i+1])
		spacetest.Must(t, err)
		if at == 0 {
			at = len(b) / 2
		}
		b[at] ^= 16
		spacetest.Must(t, os.WriteFile(snapshots[i+1], b, 0o600))
	}
	want := w.note()
	got, done, err := w.restored(ship.At{Version: want})
	spacetest.Must(t, err)
	spacetest.Same(t, got, w.held[want])
	if !slices.Equal(done.Damaged, snapshots[1:]) || done.Version != want {
		t.Errorf("%+v was restored, want that %v are damaged", done, snapshots[1:])
	}
}

// A space that was restored to an older version is shipped into the same directory: it is the newest
// history there. Versions of the older history can still be restored, and no frame is written over.
func TestRun_TwoHistories(t *testing.T) {
	w, m := newWorld(t, 25, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for i := range 30 {
		spacetest.Must(t, m.write(w, i, "old"))
	}
	_, end := w.told()
	spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir))
	before := frames(t, w.dir)
	dir := filepath.Join(t.TempDir(), "again")
	done, err := ship.Restore(context.Background(), w.dir, dir, ship.At{Version: end - 20}, nil)
	spacetest.Must(t, err)
	time.Sleep(2 * time.Second) // the histories are distinguished by the times of their commits
	old := w.space
	w.space = spacetest.Open(t, dir, spacetest.WithoutBackground())
	w.m = spacetest.MapOf[int, string](t, w.space)
	m.sets = map[everheap.Version]set{}
	for i := range 5 {
		spacetest.Must(t, m.write(w, i, "new"))
	}
	w.told()
	for i := range 5 {
		spacetest.Must(t, m.write(w, i, "newer"))
	}
	_, last := w.told()
	if again, _ := w.told(); again != nil || last >= end {
		t.Fatalf("%v was reported, up to version %d of %d", again, last, end)
	}
	for p, f := range before {
		if got, ok := frames(t, w.dir)[p]; !ok || !bytes.Equal(got.Bytes(), f.Bytes()) {
			t.Fatalf("the frame of version %d is not what it was", f.Version())
		}
	}
	w.note()
	got, restored, err := w.restored(ship.At{})
	spacetest.Must(t, err)
	spacetest.Same(t, got, w.held[last])
	if restored.Version != last {
		t.Errorf("the newest version is %d, want %d", restored.Version, last)
	}
	got, _, err = w.restored(ship.At{Version: end})
	spacetest.Must(t, err)
	spacetest.Same(t, got, spacetest.ReadDump(t, spacetest.BackupOf(t, old)))
	if v, _, err := ship.Plan(w.dir, ship.At{Version: done.Version}); err != nil || v != done.Version {
		t.Errorf("version %d, which both have: %d, %v", done.Version, v, err)
	}
	// A snapshot of the other history does not replace an unreadable one.
	snapshots, err := filepath.Glob(filepath.Join(w.dir, "snapshot-*.backup"))
	spacetest.Must(t, err)
	if len(snapshots) != 3 {
		t.Fatalf("the snapshots are %v", snapshots)
	}
	b, err := os.ReadFile(snapshots[1])
	spacetest.Must(t, err)
	b[len(b)/2] ^= 16
	spacetest.Must(t, os.WriteFile(snapshots[1], b, 0o600))
	if _, _, err := w.restored(ship.At{}); !errors.Is(err, everheap.ErrCorrupt) || !strings.Contains(err.Error(), snapshots[1]) {
		t.Errorf("with a damaged snapshot: %v", err)
	}
}

// A space is restored from a copy of its files, and the directory has its old versions after the
// copy. Run continues in another segment from the fork, and a snapshot makes that line the newest
// one; no frame of the old line is written over (SH2, SH6).
func TestRun_BroughtBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		shipped int // versions before the copy
		ends    []string
	}{{"inside a segment", 5, []string{".frames", ".frames"}}, {"where a segment begins", 0, []string{"-2.frames", ".frames"}}} {
		t.Run(c.name, func(t *testing.T) {
			w, m := newWorld(t, 26, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
			dir := w.space.Name()
			spacetest.Must(t, m.write(w, 1, "both"))
			if c.shipped > 0 {
				w.told()
				for range c.shipped {
					spacetest.Must(t, m.write(w, 1, "both"))
				}
				w.told()
			}
			spacetest.Must(t, w.space.Close())
			copied := filepath.Join(t.TempDir(), "copy")
			spacetest.Must(t, os.CopyFS(copied, os.DirFS(dir)))
			longer := everheap.Version(0)
			for _, value := range []string{"one way", "the other way"} {
				w.space = spacetest.Open(t, dir, spacetest.WithoutBackground())
				w.m = spacetest.MapOf[int, string](t, w.space)
				if value == "one way" || c.shipped == 0 { // otherwise the snapshot comes when there are versions already
					w.told()
				}
				for range 5 + len("the other way") - len(value) { // the first one is longer
					spacetest.Must(t, m.write(w, 2, value))
				}
				_, v := w.told()
				if value == "one way" {
					longer = v
					spacetest.Must(t, w.space.Close())
					spacetest.Must(t, os.RemoveAll(dir))
					spacetest.Must(t, os.Rename(copied, dir))
				}
				time.Sleep(1500 * time.Millisecond) // the histories are distinguished by the times of their commits
			}
			damage, last := w.told()
			w.note()
			if damage != nil {
				t.Errorf("%v is reported", damage)
			}
			got, _, err := w.restored(ship.At{})
			spacetest.Must(t, err)
			spacetest.Same(t, got, w.held[last])
			for v := last - 5; v <= last; v++ {
				dir := filepath.Join(t.TempDir(), "part")
				_, err := ship.Restore(context.Background(), w.dir, dir, ship.At{Version: v}, nil)
				spacetest.Must(t, err)
				s := spacetest.Open(t, dir)
				if got := contents(t, s); !maps.Equal(got, m.at(v)) {
					t.Errorf("version %d holds %v, want %v", v, got, m.at(v))
				}
				spacetest.Must(t, s.Close())
			}
			var ends []string
			segments, err := filepath.Glob(filepath.Join(w.dir, "changes-*.frames"))
			spacetest.Must(t, err)
			for _, name := range segments {
				if len(framesOf(t, name)) >= 5 {
					ends = append(ends, filepath.Base(name)[len("changes-00000000000000000004-12345678"):])
				}
			}
			if !slices.Equal(ends, c.ends) {
				t.Errorf("the segments %v end in %v, want %v", segments, ends, c.ends)
			}
			got, _, err = w.restored(ship.At{Version: longer})
			spacetest.Must(t, err)
			if !strings.Contains(fmt.Sprint(slices.Collect(maps.Values(got))), "one way") {
				t.Errorf("version %d, which only the old way has, is something else", longer)
			}
		})
	}
}

// Run removes a segment when all of its versions are older than the kept snapshot, and not before
// (SH5).
func TestPrune_SegmentAcrossSnapshot(t *testing.T) {
	w, m := newWorld(t, 27, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	write := func() (last everheap.Version) {
		for i := range 10 {
			spacetest.Must(t, m.write(w, i, "value"))
		}
		_, last = w.told()
		return last
	}
	write()
	spacetest.Must(t, m.write(w, 1, "inside"))
	spacetest.Must(t, w.space.Sync(context.Background()))
	old := w.space.Stats().Version
	spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir)) // SnapshotOnly does not end the segment
	last := write()
	time.Sleep(1200 * time.Millisecond)
	spacetest.Must(t, ship.Prune(w.dir, time.Second))
	for v := old; v <= last; v++ {
		if got, _, err := ship.Plan(w.dir, ship.At{Version: v}); err != nil || got != v {
			t.Errorf("version %d would be restored as %d: %v", v, got, err)
		}
	}
	if _, _, err := ship.Plan(w.dir, ship.At{Version: old - 1}); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("version %d is too old: %v", old-1, err)
	}
	spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir))
	time.Sleep(1200 * time.Millisecond)
	spacetest.Must(t, ship.Prune(w.dir, time.Second))
	if all := frames(t, w.dir); len(all) != 0 {
		t.Errorf("%d frames are there still", len(all))
	}
	if got, _, err := ship.Plan(w.dir, ship.At{}); err != nil || got != last {
		t.Errorf("the newest version would be %d, want %d: %v", got, last, err)
	}
}

// Run does not write a frame that follows another version than the last one (SH3).
func TestShipper_FrameThatDoesNotFollow(t *testing.T) {
	w, m := newWorld(t, 28, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for i := range 3 {
		spacetest.Must(t, m.write(w, i, "value"))
	}
	w.told()
	_, list := lastSegment(t, w.dir)
	other := list[1].Before()
	other.Chain++
	for _, at := range []everheap.Position{other, list[0].Before(), list[2].Before()} {
		dir := filepath.Join(t.TempDir(), "wrong")
		if err := ship.Take(dir, at, list[1]); !errors.Is(err, everheap.ErrNotKept) {
			t.Errorf("after version %d: %v, want ErrNotKept", at.Version, err)
		}
		if len(frames(t, dir)) != 0 {
			t.Errorf("after version %d the frame is written", at.Version)
		}
	}
}

// History begins at any version, and ends with an error where a segment is missing.
func TestHistory(t *testing.T) {
	w, m := newWorld(t, 29, spacetest.WithoutBackground()), &model{sets: map[everheap.Version]set{}}
	w.told()
	for i := range 10 {
		spacetest.Must(t, m.write(w, i, fmt.Sprint("value ", i)))
	}
	_, last := w.told()
	_, list := lastSegment(t, w.dir)
	for _, since := range []everheap.Version{0, list[0].Version(), last - 3, last} {
		r, all, err := ship.History(w.dir, since)
		spacetest.Must(t, err)
		next := max(since+1, list[0].Version())
		for f, err := range all {
			spacetest.Must(t, err)
			if f.Version() != next {
				t.Fatalf("version %d comes after %d", f.Version(), next-1)
			}
			next++
			for c, err := range r.Changes(f) {
				spacetest.Must(t, err)
				s := m.sets[f.Version()]
				if c.What != "set" || string(c.Key) != fmt.Sprint(s.key) || string(c.Value) != fmt.Sprintf("%q", s.value) {
					t.Errorf("version %d: %s %s = %s", f.Version(), c.What, c.Key, c.Value)
				}
			}
		}
		if next != last+1 {
			t.Errorf("since version %d the last one is %d, want %d", since, next-1, last)
		}
	}
	spacetest.Must(t, m.write(w, 1, "more"))
	spacetest.Must(t, w.space.Sync(context.Background()))
	name, _ := lastSegment(t, w.dir)
	spacetest.Must(t, ship.SnapshotOnly(context.Background(), w.space, w.dir))
	spacetest.Must(t, os.Remove(name))
	_, all, err := ship.History(w.dir, list[0].Version()-1)
	spacetest.Must(t, err)
	for _, err = range all {
	}
	damage := (*ship.Damage)(nil)
	if !errors.As(err, &damage) || !damage.Missing || damage.File != name {
		t.Errorf("the history ends with %v, want that %s is missing", err, name)
	}
}
