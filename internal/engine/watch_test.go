package engine

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
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
		err := table.Walk(tx.reader, format.Link(tx.state.Table), visit, func(index uint64, a format.Addr) error {
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
		err := diffObjects(was, now, func(index uint64, old, new format.Addr) error {
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
			} else if err := tx.WriteValue(RefOf{ids[random.IntN(len(ids))], wordType}, unsafe.Pointer(&word)); err != nil {
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
	of := RefOf{id, wordType}
	const commits, watchers = 2000, 3
	var done sync.WaitGroup
	told := make(chan uint64, watchers)
	user := sp.NewLockUser()
	for range watchers {
		w, err := user.Watch(of, false)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			defer w.Close()
			for last := uint64(0); last < commits; {
				err := w.Next(context.Background(), func(d *Difference) error {
					return d.CopyValue(layout.ArgKey(&last), d.Now)
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
		if err := sp.WriteValue(of, unsafe.Pointer(&n), false); err != nil {
			t.Fatal(err)
		}
		for range watchers {
			if last := <-told; last != n {
				t.Fatalf("told of %d, want %d", last, n)
			}
		}
	}
	done.Wait()
	if !sp.live.Idle() || sp.watching.newest != nil {
		t.Error("a version is held after the watchers have ended")
	}
	user.Close()
}
