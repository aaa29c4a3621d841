package engine

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// Which objects are other blocks in two versions is what two walks over the object
// tables say; also if the newer version is one that a transaction is making.
func TestDiffObjects(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	objects := func(tx *Tx) map[uint64]format.Addr {
		all := map[uint64]format.Addr{}
		visit := func(format.Addr, format.Kind) (bool, error) { return true, nil }
		err := table.Walk(tx.Reader, format.Link(tx.State.Table), visit, func(index uint64, a format.Addr) error {
			all[index] = a
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	compare := func(was, now *Tx) (n int) {
		before, after := objects(was), objects(now)
		err := edit.DiffObjects(&was.Editor, &now.Editor, func(index uint64, old, new format.Addr) error {
			if before[index] != old || after[index] != new || old == new {
				t.Fatalf("object %d: told %#x and %#x, is %#x and %#x", index, old, new, before[index], after[index])
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for index, a := range after {
			if before[index] != a {
				want++
			}
		}
		if n != want {
			t.Fatalf("%d objects told of, want %d", n, want)
		}
		return n
	}
	view := func() *Tx {
		tx, err := sp.View()
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	random := rand.New(rand.NewPCG(1, 1))
	var ids []format.ID
	first := view()
	for range 60 {
		before := view()
		tx, err := sp.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range random.IntN(40) {
			word := random.Uint64()
			if len(ids) == 0 || random.IntN(2) == 0 {
				id, err := tx.NewValue(wordType, unsafe.Pointer(&word))
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			} else if err := tx.WriteValue(edit.RefOf{ID: ids[random.IntN(len(ids))], Value: wordType}, unsafe.Pointer(&word)); err != nil {
				t.Fatal(err)
			}
		}
		compare(before, tx)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		after := view()
		compare(before, after)
		compare(first, after)
		after.EndView()
		before.EndView()
	}
	if n := compare(first, first); n != 0 {
		t.Errorf("a version differs from itself in %d objects", n)
	}
	first.EndView()
}

// Each commit is told of without the tick, which would end a sleep that nobody ends.
func TestWatch_NeedsNoTick(t *testing.T) {
	defer func(before time.Duration) { watchTick = before }(watchTick)
	watchTick = time.Hour
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	word := uint64(0)
	var id format.ID
	if err := sp.Change(false, func(tx *Tx) (err error) {
		id, err = tx.NewValue(wordType, unsafe.Pointer(&word))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	of := edit.RefOf{ID: id, Value: wordType}
	const commits, watchers = 2000, 3
	var done sync.WaitGroup
	told := make(chan uint64, commits*watchers) // nobody waits for one who has failed
	user := sp.NewUser()
	for range watchers {
		w, err := user.Watch(of, false)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			defer w.Close()
			for last := uint64(0); last < commits; {
				err := w.Next(context.Background(), func(d *edit.Difference) error {
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
		if err := sp.Alone(false).WriteValue(of, unsafe.Pointer(&n)); err != nil {
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
	within(t, "the end of the loops", done.Wait)
	if !sp.Live.Idle() || sp.watching.newest != nil {
		t.Error("a version is held after the watchers have ended")
	}
	user.Close()
}

// metered is a subject of which the steps of comparisons are counted, and what they find.
// (How many blocks a step looks at is for the tests of the structures.)
type metered struct {
	edit.Subject
	cost *int
}

func (m metered) Compare(was, now *edit.Editor) (*edit.Comparison, error) {
	found, err := m.Subject.Compare(was, now)
	if found != nil {
		step := found.Step
		found.Step = func(yield func(object.Pair)) (bool, error) {
			*m.cost++
			return step(func(p object.Pair) { *m.cost++; yield(p) })
		}
	}
	return found, err
}

// A watcher goes the way to what has changed, however much else there is; and none if
// what it watches has not changed.
func TestWatch_CostsWhatChanged(t *testing.T) {
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	const many = 30_000
	plain, ordered := words(0), words(0)
	ordered.Sorted = true
	list := edit.ListOf{Value: wordType}
	change := func(fn func(tx *Tx) error) {
		t.Helper()
		if err := sp.Change(false, fn); err != nil {
			t.Fatal(err)
		}
	}
	set := map[string]func(tx *Tx, i, value uint64) error{
		"map": func(tx *Tx, i, value uint64) error {
			return tx.Set(plain, unsafe.Pointer(&i), unsafe.Pointer(&value))
		},
		"sorted": func(tx *Tx, i, value uint64) error {
			return tx.Set(ordered, unsafe.Pointer(&i), unsafe.Pointer(&value))
		},
		"list": func(tx *Tx, i, value uint64) error { return tx.WriteItem(list, int(i), unsafe.Pointer(&value)) },
	}
	change(func(tx *Tx) (err error) {
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
		change(func(tx *Tx) error {
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
	user := sp.NewUser()
	defer user.Close()
	for what, subject := range map[string]edit.Subject{"map": plain, "sorted": ordered, "list": list} {
		cost := 0
		w, err := user.Watch(metered{subject, &cost}, true)
		if err != nil {
			t.Fatal(err)
		}
		told := func() (n int) {
			t.Helper()
			for more := true; more; n++ {
				if err := w.Next(context.Background(), func(d *edit.Difference) error { more = d.More; return nil }); err != nil {
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
				change(func(tx *Tx) error {
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
				change(func(tx *Tx) error { return set[other](tx, 5, 1<<40) })
				if w.next, err = sp.holdNewest(); err == nil {
					err = w.begin(context.Background())
				}
				if err != nil || w.primed || cost > 0 {
					t.Errorf("%s: after a change of the %s: %d steps, something to tell: %v, %v", what, other, cost, w.primed, err)
				}
			}
		}
		w.Close()
	}
}
