package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/google/go-cmp/cmp"
)

// pinnedModel has the expected contents of a space, and of its checkpoints.
type pinnedModel struct {
	t        *testing.T
	r        *rand.Rand
	dir      string
	opts     []everheap.Option
	space    *everheap.Space
	m        everheap.Map[string, string]
	now      map[string]string
	pins     map[string]map[string]string
	watchers []*pinWatcher
}

// pinWatcher is a ViewAt that stays open in a goroutine of its own.
type pinWatcher struct {
	want map[string]string
	end  chan struct{}
	done chan error
}

// contents reads the whole map.
func contents(m everheap.Map[string, string], tx *everheap.Tx) map[string]string {
	got := map[string]string{}
	for k, v := range m.All(tx) {
		got[k] = strings.Clone(*v)
	}
	return got
}

func (p *pinnedModel) open() {
	p.t.Helper()
	var err error
	p.space, err = everheap.Open(p.dir, p.opts...)
	spacetest.Must(p.t, err)
	p.m = spacetest.MapOf[string, string](p.t, p.space)
}

// step does one random thing, in the space and in the model.
func (p *pinnedModel) step() {
	t, s := p.t, p.space
	name := fmt.Sprint("pin", p.r.IntN(6))
	_, there := p.pins[name]
	switch k := p.r.IntN(100); {
	case k < 50:
		p.write()
	case k < 62:
		err := s.Checkpoint(name)
		if there != errors.Is(err, everheap.ErrExists) || !there && err != nil {
			t.Fatalf("checkpoint %s, there is one: %v: %v", name, there, err)
		}
		if !there {
			p.pins[name] = maps.Clone(p.now)
		}
	case k < 70:
		p.expectFound(s.DropCheckpoint(name), name)
		delete(p.pins, name)
	case k < 78:
		p.expectFound(s.Restore(context.Background(), name), name)
		if there {
			p.now = maps.Clone(p.pins[name])
		}
	case k < 84:
		p.look()
	case k < 88:
		p.watch(name)
	case k < 91:
		if n := len(p.watchers); n > 0 {
			p.finish(p.r.IntN(n))
		}
	case k < 95:
		spacetest.Must(t, spacetest.Sweep(s))
	case k < 98:
		spacetest.Must(t, spacetest.Engine(s).Anchor(p.r.IntN(2) == 0))
	default:
		for len(p.watchers) > 0 {
			p.finish(0)
		}
		spacetest.Must(t, s.Close())
		p.open()
	}
}

// expectFound verifies an error by whether the checkpoint exists.
func (p *pinnedModel) expectFound(err error, name string) {
	p.t.Helper()
	if _, there := p.pins[name]; there && err != nil || !there && !errors.Is(err, everheap.ErrNotFound) {
		p.t.Fatalf("checkpoint %s, there is one: %v: %v", name, there, err)
	}
}

// write changes some entries in one transaction.
func (p *pinnedModel) write() {
	spacetest.Update(p.t, p.space, func(tx *everheap.Tx) error {
		for range 1 + p.r.IntN(40) {
			key := fmt.Sprint("k", p.r.IntN(300))
			if p.r.IntN(4) == 0 {
				if _, err := p.m.Delete(tx, key); err != nil {
					return err
				}
				delete(p.now, key)
				continue
			}
			value := fmt.Sprint(p.r.Uint64(), strings.Repeat("v", p.r.IntN(300)))
			if err := p.m.Set(tx, key, value); err != nil {
				return err
			}
			p.now[key] = value
		}
		return nil
	})
}

// look compares everything with the model.
func (p *pinnedModel) look() {
	p.t.Helper()
	spacetest.View(p.t, p.space, func(tx *everheap.Tx) error {
		if diff := cmp.Diff(p.now, contents(p.m, tx)); diff != "" {
			p.t.Fatalf("the newest version: %s", diff)
		}
		return nil
	})
	list, err := p.space.Checkpoints()
	spacetest.Must(p.t, err)
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if want := slices.Sorted(maps.Keys(p.pins)); !slices.Equal(names, want) {
		p.t.Fatalf("checkpoints %v, want %v", names, want)
	}
	for name, want := range p.pins {
		spacetest.Must(p.t, p.space.ViewAt(name, func(tx *everheap.Tx) error {
			if diff := cmp.Diff(want, contents(p.m, tx)); diff != "" {
				p.t.Fatalf("checkpoint %s: %s", name, diff)
			}
			return nil
		}))
	}
}

// watch begins a ViewAt that stays.
func (p *pinnedModel) watch(name string) {
	if len(p.watchers) == 3 {
		return
	}
	w := &pinWatcher{want: p.pins[name], end: make(chan struct{}), done: make(chan error, 1)}
	began := make(chan struct{})
	s, m := p.space, p.m
	go func() {
		w.done <- s.ViewAt(name, func(tx *everheap.Tx) error {
			close(began)
			<-w.end
			if diff := cmp.Diff(w.want, contents(m, tx)); diff != "" {
				return fmt.Errorf("checkpoint %s, held: %s", name, diff)
			}
			return nil
		})
	}()
	if w.want == nil {
		if err := spacetest.Receive(p.t, "ViewAt", w.done); !errors.Is(err, everheap.ErrNotFound) {
			p.t.Fatal(err)
		}
		return
	}
	spacetest.Receive(p.t, "ViewAt of "+name, began)
	p.watchers = append(p.watchers, w)
}

// finish ends a ViewAt that stayed.
func (p *pinnedModel) finish(i int) {
	p.t.Helper()
	w := p.watchers[i]
	p.watchers = slices.Delete(p.watchers, i, i+1)
	close(w.end)
	spacetest.Must(p.t, spacetest.Receive(p.t, "the end of ViewAt", w.done))
}

func TestCheckpoint_Model(t *testing.T) { // C1, C2
	spacetest.Rounds(t, 8, func(t *testing.T, r *rand.Rand) {
		p := &pinnedModel{t: t, r: r, dir: filepath.Join(t.TempDir(), "s"), now: map[string]string{}, pins: map[string]map[string]string{}}
		p.opts = []everheap.Option{everheap.WithMaxSize(spacetest.Small)}
		if r.IntN(2) == 0 {
			p.opts = append(p.opts, spacetest.WithoutBackground())
		}
		p.open()
		defer func() {
			for len(p.watchers) > 0 {
				p.finish(0)
			}
			spacetest.CheckSpace(t, p.space)
			spacetest.Must(t, p.space.Close())
		}()
		for range 400 {
			p.step()
		}
		p.look()
	})
}

// Blocks that only a checkpoint reached are reused after it was dropped.
func TestCheckpoint_DroppedSpaceIsReused(t *testing.T) { // C3
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	m := spacetest.MapOf[uint64, spacetest.Record](t, s)
	var used []uint64
	for i := range 12 {
		fillRecords(t, s, m, 2000, uint64(i))
		spacetest.Must(t, s.Checkpoint("c"))
		fillRecords(t, s, m, 2000, uint64(1000+i))
		spacetest.Must(t, s.Restore(context.Background(), "c"))
		spacetest.Must(t, s.DropCheckpoint("c"))
		spacetest.Must(t, spacetest.Sweep(s)) // ends the pin of the restore
		spacetest.Must(t, spacetest.Sweep(s)) // and finds the blocks that it had pinned
		used = append(used, s.Stats().Used)
	}
	if used[11] > used[3]+used[3]/4 {
		t.Errorf("the space grows: %v", used)
	}
}

func TestCheckpoint_Exclusive(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[uint64, spacetest.Record](t, s)
	fillRecords(t, s, m, 5000, 1)
	spacetest.Must(t, s.Checkpoint("one"))
	spacetest.Must(t, s.Checkpoint("two"))
	exclusive := func() map[string]uint64 {
		list, err := s.Checkpoints()
		spacetest.Must(t, err)
		got := map[string]uint64{}
		for _, c := range list {
			got[c.Name] = c.Exclusive
		}
		return got
	}
	live := s.Stats().Live
	if got := exclusive(); got["one"] > live/10 || got["two"] > live/10 {
		t.Errorf("checkpoints of the newest version pin %v", got)
	}
	fillRecords(t, s, m, 5000, 2)
	if got := exclusive(); got["one"] > live/10 || got["two"] > live/10 {
		t.Errorf("two checkpoints of one version pin %v each alone", got)
	}
	spacetest.Must(t, s.DropCheckpoint("one"))
	if got := exclusive(); got["two"] < live*9/10 || got["two"] > live*11/10 {
		t.Errorf("the checkpoint alone pins %d of %d bytes", got["two"], live)
	}
}

// Objects that a restore undoes are gone, and their IDs are not reused.
func TestRestore_IDsAreNotReused(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.Must(t, s.Checkpoint("before"))
	later, err := everheap.OpenMap[string, int](s, "later")
	spacetest.Must(t, err)
	spacetest.Must(t, later.Set(s, "x", 1))
	spacetest.Must(t, s.Restore(context.Background(), "before"))
	if _, err := later.Get(s, "x"); !spacetest.IsNotFound(err) {
		t.Errorf("an undone map: %v", err)
	}
	again, err := everheap.OpenMap[string, int](s, "later")
	spacetest.Must(t, err)
	if again.ID() == later.ID() {
		t.Error("an ID was used again")
	}
	if n, err := again.Len(s); err != nil || n != 0 {
		t.Errorf("the new map has %d entries (%v)", n, err)
	}
}

func TestCheckpoint_Errors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	spacetest.ExpectError(t, s.DropCheckpoint("x"), everheap.ErrNotFound, `there is no checkpoint "x", nor any other`)
	spacetest.Must(t, s.Checkpoint("a"))
	spacetest.ExpectError(t, s.Checkpoint("a"), everheap.ErrExists, "drop it first")
	spacetest.ExpectError(t, s.Restore(context.Background(), "x"), everheap.ErrNotFound, "there are: a")
	spacetest.ExpectError(t, s.ViewAt("x", func(*everheap.Tx) error { return nil }), everheap.ErrNotFound, "there are: a")
	spacetest.ExpectError(t, s.Checkpoint(strings.Repeat("x", 97)), everheap.ErrTooLarge, "at most 96 bytes")
	for _, bad := range []string{"", "a\x00b", "a\nb", "\xff"} {
		if err := s.Checkpoint(bad); err == nil {
			t.Errorf("the name %q was taken", bad)
		}
	}
	busy, cancel := context.WithCancel(context.Background())
	cancel()
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		done := make(chan error)
		go func() { done <- s.Restore(busy, "a") }()
		spacetest.ExpectError(t, spacetest.Receive(t, "Restore", done), everheap.ErrBusy)
		return nil
	})
	spacetest.Must(t, s.Close())
	spacetest.ExpectError(t, s.Checkpoint("b"), everheap.ErrClosed)
	spacetest.ExpectError(t, s.Restore(context.Background(), "a"), everheap.ErrClosed)
	_, err := s.Checkpoints()
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	only, err := everheap.Open(dir, everheap.WithReadOnly())
	spacetest.Must(t, err)
	defer only.Close()
	spacetest.ExpectError(t, only.Checkpoint("b"), everheap.ErrReadOnly)
	spacetest.ExpectError(t, only.DropCheckpoint("a"), everheap.ErrReadOnly)
	spacetest.Must(t, only.ViewAt("a", func(*everheap.Tx) error { return nil }))
}
