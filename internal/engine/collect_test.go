package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/collect"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
)

// A knot is a value that refers to another one.
type knot struct {
	N    uint64
	Next knotRef
}

type knotRef struct {
	_  layout.RefOf[knot]
	id uint64
}

var (
	knotType = layout.IdentityOf[knot]()
	knotMap  = edit.MapOf{Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[knotRef]()}
)

// objectIn returns the payload of an object of the kind.
func objectIn(tx *Tx, index uint64, kind format.Kind) (unsafe.Pointer, error) {
	return table.Object(tx.Reader, format.Link(tx.State.Table), index, kind)
}

// knots is a space with a map of knots.
type knots struct {
	*Space
	t  *testing.T
	of edit.MapOf
}

func newKnots(t *testing.T) *knots {
	t.Helper()
	sp, err := Open(filepath.Join(t.TempDir(), "s"), Options{MaxSize: 256 << 20, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	k := &knots{sp, t, knotMap}
	if k.of.ID, err = sp.OpenMap("m", k.of); err != nil {
		t.Fatal(err)
	}
	return k
}

// tie makes n knots in one transaction and returns them; the first one refers to the second, and so
// on.
func (k *knots) tie(n int) []format.ID {
	k.t.Helper()
	ids := make([]format.ID, n)
	err := k.Change(false, func(tx *Tx) error {
		for i := n - 1; i >= 0; i-- {
			v := knot{N: uint64(i)}
			if i < n-1 {
				v.Next.id = uint64(ids[i+1])
			}
			id, err := tx.NewValue(knotType, unsafe.Pointer(&v))
			if err != nil {
				return err
			}
			ids[i] = id
		}
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return ids
}

// name makes the value of a key refer to a knot; with id 0 it deletes the key.
func (k *knots) name(key uint64, id format.ID) {
	k.t.Helper()
	var err error
	if r := (knotRef{id: uint64(id)}); id != 0 {
		err = k.Alone(false).Set(k.of, unsafe.Pointer(&key), unsafe.Pointer(&r))
	} else {
		_, err = k.Alone(false).Delete(k.of, unsafe.Pointer(&key))
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// there counts the knots that exist.
func (k *knots) there(ids []format.ID) (n int) {
	k.t.Helper()
	for _, id := range ids {
		var v knot
		err := k.Alone(false).ReadValue(edit.RefOf{ID: id, Value: knotType}, unsafe.Pointer(&v))
		if err == nil {
			n++
		} else if !errors.Is(err, failure.ErrNotFound) {
			k.t.Error(err)
		}
	}
	return n
}

// marked begins a collection.
func (k *knots) marked() *collect.Collector {
	k.t.Helper()
	c := k.collections.New(context.Background(), false)
	if err := k.Guarded(c.Mark); err != nil {
		k.t.Fatal(err)
	}
	return c
}

// A comparison that is cut short marks nothing as kept (G4): otherwise the objects that it had
// reached would count as looked at.
func TestCollect_ComparisonThatIsCutShort(t *testing.T) {
	k := newKnots(t)
	ids := k.tie(3000)
	c := k.marked()
	k.name(1, ids[0])
	now, err := c.View()
	if err != nil {
		t.Fatal(err)
	}
	c.Until(time.Now())
	if err := k.Guarded(func() error { return c.CatchUp(now) }); !errors.Is(err, collect.ErrBehind) {
		t.Fatalf("after the deadline: %v", err)
	}
	now.Drop()
	for _, id := range ids {
		if c.Keeps(id.Index()) {
			t.Fatalf("%x counts as kept", id)
		}
	}
	c.Until(time.Time{})
	if err := c.DropAll(); err != nil {
		t.Fatal(err)
	}
	if n := k.there(ids); n != len(ids) || c.Rescued != uint64(n) {
		t.Errorf("%d of %d are there, %d rescued", n, len(ids), c.Rescued)
	}
	c.End()
	verify(t, k.Space)
}

// After many changes by others, the collector looks at them without the writer lock.
func TestCollect_ManyChanges(t *testing.T) {
	k := newKnots(t)
	garbage, rescued := k.tie(500), k.tie(20_000)
	c := k.marked()
	k.name(1, rescued[0])
	if _, _, err := c.Batch(time.Nanosecond); !errors.Is(err, collect.ErrBehind) {
		t.Errorf("in no time: %v", err)
	}
	if err := c.DropAll(); err != nil {
		t.Fatal(err)
	}
	if n, m := k.there(garbage), k.there(rescued); n != 0 || m != len(rescued) {
		t.Errorf("%d are left of the garbage, %d of %d were rescued", n, m, len(rescued))
	}
	c.End()
	verify(t, k.Space)
}

// Two concurrent collections drop what each of them would have dropped alone.
func TestCollect_TwoAtOnce(t *testing.T) {
	k := newKnots(t)
	k.collections.Options.Batch = 5
	garbage, kept, late := k.tie(60), k.tie(20), k.tie(20)
	k.name(1, kept[0])
	one := k.marked()
	two := k.marked()
	for i := range 10 {
		for _, c := range []*collect.Collector{one, two}[i%2:] {
			if _, _, err := c.Batch(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if i == 5 {
			k.name(2, late[0])
		}
	}
	for _, c := range []*collect.Collector{one, two} {
		if err := c.DropAll(); err != nil {
			t.Fatal(err)
		}
		c.End()
	}
	if k.there(garbage) != 0 || k.there(kept) != len(kept) || k.there(late) != len(late) || one.Dropped+two.Dropped != uint64(len(garbage)) {
		t.Errorf("%d, %d, %d are left, %d and %d were dropped", k.there(garbage), k.there(kept), k.there(late), one.Dropped, two.Dropped)
	}
	verify(t, k.Space)
}

// damaged changes a byte of the block of an object, until restore is called.
func (k *knots) damaged(id format.ID) (restore func()) {
	k.t.Helper()
	var off int64
	err := k.look(func(tx *Tx) error {
		p, err := objectIn(tx, id.Index(), format.KindValue)
		off = int64(uint64(uintptr(p)) - k.Head.Base)
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return flip(k.t, k.Space, HeapName, off+int64(format.ValueObjectSize))
}

// Damage in an object that a name reaches ends a collection before it drops anything. Damage in
// garbage keeps that object, and no other (G7).
func TestCollect_Damage(t *testing.T) {
	k := newKnots(t)
	garbage, kept := k.tie(50), k.tie(50)
	k.name(1, kept[0])
	restore := k.damaged(kept[20])
	if c, err := k.Collect(context.Background()); c.Dropped != 0 || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%+v: %v", c, err)
	}
	if n := k.there(garbage); n != len(garbage) {
		t.Errorf("%d are left", n)
	}
	restore()
	restore = k.damaged(garbage[20])
	c, err := k.Collect(context.Background())
	if d := (*format.DamageError)(nil); c.Dropped != uint64(len(garbage)-1) || !errors.As(err, &d) {
		t.Errorf("%+v: %v", c, err)
	}
	restore()
	if c, err := k.Collect(context.Background()); c.Dropped != 1 || err != nil || k.there(kept) != len(kept) {
		t.Errorf("%+v: %v", c, err)
	}
	verify(t, k.Space)
}

// A collection is due after many objects were made or unlinked; later if the last one dropped
// nothing.
func TestCollect_Due(t *testing.T) {
	k := newKnots(t)
	w := k.Live.Words()
	expect := func(want bool, after string) {
		t.Helper()
		if got := k.collections.Due(); got != want {
			t.Errorf("after %s: due %v, with %d made, %d unlinked, of %d", after, got, w.NextIndex.Load(), w.Unlinked.Load(), w.CollectDue.Load())
		}
	}
	expect(false, "nothing")
	ids := k.tie(collect.LeastActivity)
	expect(true, "objects were made")
	if _, err := k.Collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(false, "a collection")
	if k.there(ids) != 0 {
		t.Error("garbage is left")
	}
	ids = k.tie(1)
	for range collect.LeastActivity {
		k.name(1, ids[0])
		k.name(1, 0)
	}
	expect(true, "handles were removed")
	k.name(1, ids[0])
	if _, err := k.Collect(context.Background()); err != nil { // this one drops nothing
		t.Fatal(err)
	}
	for range collect.LeastActivity + 1 {
		k.name(1, ids[0])
	}
	expect(false, "one that dropped nothing, and as many changes")
	for range collect.Later * collect.LeastActivity {
		k.name(1, ids[0])
	}
	expect(true, "more changes")
	verify(t, k.Space)
}
