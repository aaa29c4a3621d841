package watch_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/watch"
)

// patience is how long a test waits for an event that should take a moment, on a busy machine.
const patience = time.Minute

var wordType = layout.IdentityOf[uint64]()

// Watchers learn of each commit without the tick, which would end a sleep that no commit ends.
func TestWatch_NeedsNoTick(t *testing.T) {
	defer func(before time.Duration) { *watch.Tick = before }(*watch.Tick)
	*watch.Tick = time.Hour
	sp, err := engine.Open(filepath.Join(t.TempDir(), "s"), engine.Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	word := uint64(0)
	var id format.ID
	if err := sp.Change(false, func(tx *engine.Tx) (err error) {
		id, err = tx.NewValue(wordType, unsafe.Pointer(&word))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	of := edit.RefOf{ID: id, Value: wordType}
	const commits, watchers = 2000, 3
	var done sync.WaitGroup
	told := make(chan uint64, commits*watchers) // room for all, so that a watcher never waits for a failed test
	session := sp.NewSession()
	for range watchers {
		w, err := session.Watch(of, false)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			defer w.Close()
			for last := uint64(0); last < commits; {
				err := w.Next(context.Background(), func(d *watch.Difference) error {
					return d.CopyValue(layout.NoEscapeKey(&last), d.Now)
				})
				if err != nil {
					t.Error(err)
					return
				}
				told <- last
			}
		})
	}
	for n := uint64(1); n <= commits; n++ {
		if err := sp.Alone(false).Edit(func(tx *engine.Tx) error { return tx.WriteValue(of, unsafe.Pointer(&n)) }); err != nil {
			t.Fatal(err)
		}
		for range watchers {
			select {
			case last := <-told:
				if last != n {
					t.Fatalf("told of %d, want %d", last, n)
				}
			case <-time.After(patience):
				t.Fatalf("not all are told of %d", n)
			}
		}
	}
	ended := make(chan struct{})
	go func() { done.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the loops do not end")
	}
	if !sp.Live.Idle() || session.Holds() {
		t.Error("a version is held after the watchers have ended")
	}
	session.Close()
}

// metered is a subject that counts the steps of comparisons, and what they find. (The tests of the
// structures count how many blocks a step looks at.)
type metered struct {
	edit.Subject
	cost *int
}

func (m metered) Compare(was, now *edit.Editor, at edit.Instants) (*edit.Comparison, error) {
	found, err := m.Subject.Compare(was, now, at)
	if found != nil {
		step := found.Comparison.Step
		found.Comparison.Step = func(yield func(object.Pair)) (bool, error) {
			*m.cost++
			return step(func(p object.Pair) { *m.cost++; yield(p) })
		}
	}
	return found, err
}

// A comparison takes steps only to what has changed, however large the object is, and none if the
// watched object has not changed.
func TestWatch_CostsWhatChanged(t *testing.T) {
	sp, err := engine.Open(filepath.Join(t.TempDir(), "s"), engine.Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	const many = 30_000
	plain := edit.MapOf{Key: wordType, Value: wordType}
	ordered := plain
	ordered.Sorted = true
	list := edit.ListOf{Value: wordType}
	change := func(fn func(tx *engine.Tx) error) {
		t.Helper()
		if err := sp.Change(false, fn); err != nil {
			t.Fatal(err)
		}
	}
	set := map[string]func(tx *engine.Tx, i, value uint64) error{
		"map": func(tx *engine.Tx, i, value uint64) error {
			return tx.Set(plain, unsafe.Pointer(&i), unsafe.Pointer(&value))
		},
		"sorted": func(tx *engine.Tx, i, value uint64) error {
			return tx.Set(ordered, unsafe.Pointer(&i), unsafe.Pointer(&value))
		},
		"list": func(tx *engine.Tx, i, value uint64) error { return tx.WriteItem(list, int(i), unsafe.Pointer(&value)) },
	}
	change(func(tx *engine.Tx) (err error) {
		if plain.ID, err = tx.NewMap(plain); err != nil {
			return err
		}
		if ordered.ID, err = tx.NewMap(ordered); err != nil {
			return err
		}
		list.ID, err = tx.NewList(wordType)
		return err
	})
	for from := uint64(0); from < many; from += 1000 {
		change(func(tx *engine.Tx) error {
			for i := from; i < from+1000; i++ {
				err := tx.Append(list, unsafe.Pointer(&i), 1)
				if err == nil {
					err = set["map"](tx, i, i)
				}
				if err == nil {
					err = set["sorted"](tx, i, i)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	session := sp.NewSession()
	defer session.Close()
	for what, subject := range map[string]edit.Subject{"map": plain, "sorted": ordered, "list": list} {
		cost := 0
		w, err := session.Watch(metered{subject, &cost}, true)
		if err != nil {
			t.Fatal(err)
		}
		told := func() (n int) {
			t.Helper()
			for more := true; more; n++ {
				if err := w.Next(context.Background(), func(d *watch.Difference) error { more = d.More; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		if n := told(); n != many || cost < many {
			t.Errorf("%s: all of %d entries are %d, and cost %d steps", what, many, n, cost)
		}
		for _, changes := range []int{1, 10} {
			for round := range 10 {
				cost = 0
				change(func(tx *engine.Tx) error {
					for i := range changes {
						at := uint64(1+round)*2357%2000 + uint64(i)*2900
						if err := set[what](tx, at, uint64(many+round*100+changes)); err != nil {
							return err
						}
					}
					return nil
				})
				if n := told(); n != changes || cost > 8*changes+8 {
					t.Errorf("%s: %d changes are %d, and cost %d steps", what, changes, n, cost)
				}
			}
		}
		cost = 0
		for other := range set {
			if other != what {
				change(func(tx *engine.Tx) error { return set[other](tx, 5, 1<<40) })
				if found, err := w.Look(); err != nil || found || cost > 0 {
					t.Errorf("%s: after a change of the %s: %d steps, found: %v, %v", what, other, cost, found, err)
				}
			}
		}
		w.Close()
	}
}
