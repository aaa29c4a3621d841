package everheap_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// person is a value that refers to others of its type.
type person struct {
	Name    string
	Partner everheap.Ref[person]
	Friends []everheap.Ref[person]
	Self    *everheap.Ref[person]
}

// newRef makes a value in a transaction of its own.
func newRef[T any](t testing.TB, s *everheap.Space, v T) (r everheap.Ref[T]) {
	t.Helper()
	spacetest.Update(t, s, func(tx *everheap.Tx) (err error) {
		r, err = everheap.New(tx, v)
		return err
	})
	return r
}

func TestRef_ValueAndIdentity(t *testing.T) {
	s := spacetest.Scratch(t)
	a := newRef(t, s, person{Name: "Ann"})
	b := newRef(t, s, person{Name: "Ann"})
	if a == b || a.ID() == b.ID() || a.IsNil() {
		t.Fatalf("two objects with the IDs %x and %x", a.ID(), b.ID())
	}
	same := a
	spacetest.Must(t, same.Set(s, person{Name: "Anna", Friends: []everheap.Ref[person]{a, b, a}, Self: &same}))
	v, err := a.Get(s)
	if err != nil || v.Name != "Anna" || len(v.Friends) != 3 || v.Friends[1] != b || *v.Self != a {
		t.Errorf("%+v (%v)", v, err)
	}
	spacetest.Must(t, a.Modify(s, func(v *person) error { v.Name += "!"; return nil }))
	if err := a.Modify(s, func(v *person) error { v.Name = "lost"; return spacetest.ErrOfTest }); err == nil {
		t.Error("the error of Modify was lost")
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		p := a.Peek(tx)
		if p.Name != "Anna!" || p.Friends[1].Peek(tx).Name != "Ann" || p.Friends[0].Peek(tx) != p {
			t.Errorf("%+v", p)
		}
		return nil
	})
}

func TestRef_Named(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		_, err := everheap.OpenRef(tx, "config", person{Name: "initial"})
		spacetest.ExpectError(t, err, everheap.ErrNotFound, `"config"`)
		return nil
	})
	r, err := everheap.OpenRef(s, "config", person{Name: "initial"})
	spacetest.Must(t, err)
	spacetest.Must(t, r.Set(s, person{Name: "changed", Partner: r}))
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	again, err := everheap.OpenRef(s, "config", person{Name: "not used"})
	if err != nil || again != r {
		t.Fatalf("%x, want %x (%v)", again.ID(), r.ID(), err)
	}
	if v, err := again.Get(s); err != nil || v.Name != "changed" || v.Partner != r {
		t.Errorf("%+v (%v)", v, err)
	}
}

// A list that is linked by references, forward and backward, and closed to a ring.
func TestRef_Ring(t *testing.T) {
	type node struct {
		Value      int
		Next, Prev everheap.Ref[node]
	}
	const length = 1000
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	first, err := everheap.OpenRef(s, "first", node{})
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		last := first
		for i := 1; i < length; i++ {
			n, err := everheap.New(tx, node{Value: i, Prev: last, Next: first})
			if err != nil {
				return err
			}
			if err := last.Modify(tx, func(v *node) error { v.Next = n; return nil }); err != nil {
				return err
			}
			last = n
		}
		return first.Modify(tx, func(v *node) error { v.Prev = last; return nil })
	})
	walk := func(tx *everheap.Tx) error {
		n := first.Peek(tx)
		for i := range 2 * length {
			if n.Value != i%length || n.Next.Peek(tx).Prev.Peek(tx) != n {
				return fmt.Errorf("node %d has the value %d", i, n.Value)
			}
			n = n.Next.Peek(tx)
		}
		return nil
	}
	spacetest.View(t, s, walk)
	spacetest.Must(t, s.Sync(context.Background()))
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.Remove(filepath.Join(dir, "live")))
	s = spacetest.Open(t, dir)
	spacetest.View(t, s, walk)
}

// An object of an aborted transaction does not exist, and no other object ever gets its ID.
func TestRef_StaleIsNeverAnother(t *testing.T) {
	s := spacetest.Scratch(t)
	kept := newRef(t, s, "kept")
	var stale []everheap.Ref[string]
	for range 3 {
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			r, err := everheap.New(tx, "lost")
			spacetest.Must(t, err)
			stale = append(stale, r)
			if v, err := r.Get(tx); err != nil || v != "lost" {
				t.Errorf("%q (%v)", v, err)
			}
			return spacetest.ErrOfTest
		})
		spacetest.ExpectError(t, err, spacetest.ErrOfTest)
		newRef(t, s, "another")
	}
	for _, r := range stale {
		_, err := r.Get(s)
		spacetest.ExpectError(t, err, everheap.ErrNotFound, "does not exist")
		spacetest.ExpectError(t, r.Set(s, "x"), everheap.ErrNotFound)
		spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { r.Peek(tx); return nil }), everheap.ErrNotFound)
		spacetest.ExpectError(t, r.Modify(s, func(*string) error { return nil }), everheap.ErrNotFound)
	}
	if v, err := kept.Get(s); err != nil || v != "kept" {
		t.Errorf("%q (%v)", v, err)
	}
}

func TestRef_Nil(t *testing.T) {
	s := spacetest.Scratch(t)
	var r everheap.Ref[int]
	if !r.IsNil() || r.ID() != 0 {
		t.Error("the zero Ref is not nil")
	}
	_, err := r.Get(s)
	spacetest.ExpectError(t, err, everheap.ErrNilHandle)
	spacetest.ExpectError(t, r.Set(s, 1), everheap.ErrNilHandle)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error { r.Peek(tx); return nil }), everheap.ErrNilHandle)
	spacetest.ExpectError(t, r.Modify(s, func(*int) error { return nil }), everheap.ErrNilHandle)
	p := newRef(t, s, person{}) // and it can be stored
	if v, err := p.Get(s); err != nil || !v.Partner.IsNil() {
		t.Errorf("%+v (%v)", v, err)
	}
}

// A borrowed value does not change until its transaction ends, whatever is set meanwhile.
func TestRef_PeekAndSet(t *testing.T) {
	s := spacetest.Scratch(t)
	r := newRef(t, s, "before")
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		var borrowed []*string
		for i := range 200 {
			borrowed = append(borrowed, r.Peek(tx))
			if err := r.Set(tx, fmt.Sprint("value ", i)); err != nil {
				return err
			}
		}
		for i, p := range borrowed[1:] {
			if *p != fmt.Sprint("value ", i) {
				t.Errorf("borrowed %d is %q", i, *p)
			}
		}
		if *borrowed[0] != "before" {
			t.Errorf("borrowed first is %q", *borrowed[0])
		}
		return nil
	})
	if v, err := r.Get(s); err != nil || v != "value 199" {
		t.Errorf("%q (%v)", v, err)
	}
}

// The same for all kinds, while unobserved blocks are reused again and again.
func TestPeek_WhileMuchIsSet(t *testing.T) {
	s := spacetest.Scratch(t)
	m, r := spacetest.MapOf[int, int](t, s), newRef(t, s, -1)
	sorted, err := everheap.OpenSorted[int, int](s, "sorted")
	spacetest.Must(t, err)
	list, err := everheap.OpenList[int](s, "list")
	spacetest.Must(t, err)
	spacetest.Must(t, list.Append(s, -1))
	for what, of := range map[string]struct {
		set  func(tx *everheap.Tx, v int) error
		peek func(tx *everheap.Tx) *int
	}{
		"map":    {func(tx *everheap.Tx, v int) error { return m.Set(tx, 1, v) }, func(tx *everheap.Tx) *int { return m.Peek(tx, 1) }},
		"sorted": {func(tx *everheap.Tx, v int) error { return sorted.Set(tx, 1, v) }, func(tx *everheap.Tx) *int { return sorted.Peek(tx, 1) }},
		"nth": {func(tx *everheap.Tx, v int) error { return sorted.Set(tx, 1, v) }, func(tx *everheap.Tx) *int {
			_, v, _ := sorted.Nth(tx, 0)
			return v
		}},
		"list": {func(tx *everheap.Tx, v int) error { return list.Set(tx, 0, v) }, func(tx *everheap.Tx) *int { return list.Peek(tx, 0) }},
		"ref":  {func(tx *everheap.Tx, v int) error { return r.Set(tx, v) }, r.Peek},
	} {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			borrowed := map[int]*int{}
			for i := range 20_000 {
				if err := of.set(tx, i); err != nil {
					return err
				}
				if i%97 == 0 {
					borrowed[i] = of.peek(tx)
				}
			}
			for i, p := range borrowed {
				if *p != i {
					t.Errorf("%s: the value was %d and is %d", what, i, *p)
				}
			}
			return nil
		})
	}
}

// A reader sees the value of its version.
func TestRef_Versions(t *testing.T) {
	s := spacetest.Scratch(t)
	r := newRef(t, s, 1)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		before := r.Peek(tx)
		for i := range 1000 {
			spacetest.Must(t, r.Set(s, i+2))
		}
		if *before != 1 || *r.Peek(tx) != 1 {
			t.Errorf("%d and %d", *before, *r.Peek(tx))
		}
		return nil
	})
	if v, err := r.Get(s); err != nil || v != 1001 {
		t.Errorf("%d (%v)", v, err)
	}
}

// Values of every sort: of no size, raw, with much that they own.
func TestRef_Types(t *testing.T) {
	for _, opts := range [][]everheap.Option{nil, {everheap.WithVerify()}} {
		s := spacetest.Scratch(t, opts...)
		refValue(t, s, struct{}{})
		refValue(t, s, byte(7))
		refValue(t, s, [3]uint64{1, 2, 3})
		refValue(t, s, "")
		refValue(t, s, strings.Repeat("x", 100_000))
		refValue(t, s, []string{"a", "", "b"})
		n := int64(5)
		refValue(t, s, spacetest.Compound{Name: "n", Tags: []string{"t"}, Next: &spacetest.Compound{Flag: true}, Inner: struct{ A, B *int64 }{&n, &n}})
	}
}

// refValue stores a value, and compares it with the value read.
func refValue[T any](t *testing.T, s *everheap.Space, v T) {
	t.Helper()
	r := newRef(t, s, v)
	got, err := r.Get(s)
	if d := spacetest.Difference(v, got); err != nil || d != "" {
		t.Errorf("%T: %v\n%s", v, err, d)
	}
	spacetest.Must(t, r.Set(s, v))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		if d := spacetest.Difference(v, *everheap.Clone(r.Peek(tx))); d != "" {
			t.Errorf("%T: %s", v, d)
		}
		return nil
	})
}

func TestRef_NoAllocation(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	type point struct{ X, Y int }
	r := newRef(t, s, point{})
	l, err := everheap.OpenList[point](s, "l")
	spacetest.Must(t, err)
	spacetest.Must(t, l.Append(s, point{}))
	var tx *everheap.Tx
	spacetest.View(t, s, func(x *everheap.Tx) error {
		tx = x
		for name, fn := range map[string]func(){
			"Ref.Peek": func() { r.Peek(tx) }, "Ref.Get": func() { _, _ = r.Get(s) },
			"List.Peek": func() { l.Peek(tx, 0) }, "List.Get": func() { _, _ = l.Get(s, 0) }, "List.Len": func() { _, _ = l.Len(s) },
		} {
			if n := testing.AllocsPerRun(100, fn); n > 0 {
				t.Errorf("%s allocates %v times", name, n)
			}
		}
		return nil
	})
	for _, op := range []struct {
		name string
		fn   func()
	}{
		{"Ref.Set", func() { spacetest.Must(t, r.Set(s, point{1, 2})) }},
		{"List.Set", func() { spacetest.Must(t, l.Set(s, 0, point{1, 2})) }},
		{"List.Append and Pop", func() { spacetest.Must(t, l.Append(s, point{1, 2})); spacetest.Must(t, spacetest.Second(l.Pop(s))) }},
	} {
		for range 2000 { // until there are blocks of all sizes
			op.fn()
		}
		if n := testing.AllocsPerRun(500, op.fn); n > 0 { // rounded down: lists of what was freed grow now and then
			t.Errorf("%s allocates %v times", op.name, n)
		}
	}
}

// Goroutines share a View while another one writes.
func TestRef_SharedView(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[everheap.Ref[person]](t, s)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 200 {
			r, err := everheap.New(tx, person{Name: fmt.Sprint(i)})
			if err == nil {
				err = l.Append(tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	var writer sync.WaitGroup
	stop := make(chan struct{})
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			r, err := l.Get(s, i%200)
			if err == nil {
				err = r.Set(s, person{Name: "changed"})
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		var readers sync.WaitGroup
		first := l.Peek(tx, 0).Peek(tx).Name
		for range 4 {
			readers.Go(func() {
				for range 20 {
					for i, r := range l.All(tx) {
						name := r.Peek(tx).Name
						if name != fmt.Sprint(i) && name != "changed" || i == 0 && name != first || l.Peek(tx, i).Peek(tx).Name != name {
							t.Errorf("%d: %s", i, name)
						}
					}
				}
			})
		}
		readers.Wait()
		return nil
	})
	close(stop)
	writer.Wait()
}

// After the first reference, a reading transaction follows others by a shorter path. That path also
// refuses references that must not be followed.
func TestRef_PeekAfterPeek(t *testing.T) {
	s, other := spacetest.Scratch(t), spacetest.Scratch(t)
	for range 100 { // so that IDs of both have objects behind them in the other
		newRef(t, other, "filler")
	}
	good, foreign := newRef(t, s, "good"), newRef(t, other, "foreign")
	list, err := everheap.OpenList[string](s, "list")
	spacetest.Must(t, err)
	number := newRef(t, s, 7)
	var ended *everheap.Tx
	for _, c := range []struct {
		name string
		ref  everheap.Ref[string]
		want error
	}{
		{"nil", everheap.Ref[string]{}, everheap.ErrNilHandle},
		{"foreign", foreign, everheap.ErrDangling},
		{"another type", spacetest.Convert[everheap.Ref[int], everheap.Ref[string]](number), everheap.ErrTypeChanged},
		{"another kind", spacetest.Convert[everheap.List[string], everheap.Ref[string]](list), everheap.ErrTypeChanged},
		{"beyond the last", spacetest.Convert[everheap.ID, everheap.Ref[string]](good.ID() + 1000), everheap.ErrNotFound},
		{"far beyond", spacetest.Convert[everheap.ID, everheap.Ref[string]](good.ID() + 1<<40), everheap.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.View(func(tx *everheap.Tx) error {
				for range 3 {
					if v := *good.Peek(tx); v != "good" {
						t.Errorf("%q", v)
					}
				}
				ended = tx
				t.Errorf("%q is not there", *c.ref.Peek(tx))
				return nil
			})
			spacetest.ExpectError(t, err, c.want)
		})
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a transaction that has ended still reads")
			}
		}()
		good.Peek(ended)
	}()
}

// The shorter path reads the transaction's version: an older one, or that of a checkpoint.
func TestRef_PeekVersions(t *testing.T) {
	s := spacetest.Scratch(t)
	r := newRef(t, s, "first")
	spacetest.Must(t, s.Checkpoint("then"))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for i := range 3 {
			if v := *r.Peek(tx); v != "first" {
				t.Errorf("after %d changes the view sees %q", i, v)
			}
			spacetest.Must(t, r.Set(s, fmt.Sprint("value ", i)))
			newRef(t, s, "grows the table")
		}
		return nil
	})
	spacetest.Must(t, s.ViewAt("then", func(tx *everheap.Tx) error {
		for range 2 {
			if v := *r.Peek(tx); v != "first" {
				t.Errorf("the checkpoint has %q", v)
			}
		}
		return nil
	}))
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for range 2 {
			if v := *r.Peek(tx); v != "value 2" {
				t.Errorf("now it is %q", v)
			}
		}
		return nil
	})
}
