package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// listOf opens the list "l" of a space.
func listOf[T any](t testing.TB, s *everheap.Space) everheap.List[T] {
	t.Helper()
	l, err := everheap.OpenList[T](s, "l")
	spacetest.Must(t, err)
	return l
}

// contentOf returns the elements.
func contentOf[T any](t testing.TB, s *everheap.Space, l everheap.List[T]) (list []T) {
	t.Helper()
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		for _, v := range l.All(tx) {
			list = append(list, *everheap.Clone(v))
		}
		return nil
	})
	return list
}

func TestList_Named(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	err := s.View(func(tx *everheap.Tx) error { _, err := everheap.OpenList[int](tx, "l"); return err })
	spacetest.ExpectError(t, err, everheap.ErrNotFound, `"l"`)
	l := listOf[string](t, s)
	spacetest.Must(t, l.Append(s, "a", "b"))
	spacetest.Must(t, l.Append(s))
	spacetest.Must(t, s.Close())
	s = spacetest.Open(t, dir)
	if again := listOf[string](t, s); again != l {
		t.Errorf("%x, want %x", again.ID(), l.ID())
	}
	if got := contentOf(t, s, l); fmt.Sprint(got) != "[a b]" {
		t.Errorf("%q", got)
	}
}

func TestList_IndexOutOfRange(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[int](t, s)
	spacetest.Must(t, l.Append(s, 10, 11, 12))
	for _, i := range []int{3, 4, -1, -5, 1 << 40} {
		_, err := l.Get(s, i)
		spacetest.ExpectError(t, err, everheap.ErrNotFound, fmt.Sprint("index ", i), "length 3")
		spacetest.ExpectError(t, l.Set(s, i, 0), everheap.ErrNotFound, fmt.Sprint("index ", i), "length 3")
		spacetest.ExpectError(t, l.Modify(s, i, func(*int) error { return nil }), everheap.ErrNotFound, fmt.Sprint("index ", i))
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			if p := l.Peek(tx, i); p != nil {
				t.Errorf("index %d: %d", i, *p)
			}
			return nil
		})
		if i != 3 {
			spacetest.ExpectError(t, l.Truncate(s, i), everheap.ErrNotFound, fmt.Sprint("index ", i), "length 3")
		}
	}
	spacetest.Must(t, l.Truncate(s, 3))
	spacetest.Must(t, l.Truncate(s, 0))
	_, err := l.Pop(s)
	spacetest.ExpectError(t, err, everheap.ErrNotFound, "length 0")
	if n, err := l.Len(s); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestList_Nil(t *testing.T) {
	s := spacetest.Scratch(t)
	var l everheap.List[int]
	if !l.IsNil() || l.ID() != 0 {
		t.Error("the zero List is not nil")
	}
	_, err := l.Get(s, 0)
	spacetest.ExpectError(t, err, everheap.ErrNilHandle)
	spacetest.ExpectError(t, l.Append(s, 1), everheap.ErrNilHandle)
	spacetest.ExpectError(t, l.Truncate(s, 0), everheap.ErrNilHandle)
	_, err = l.Len(s)
	spacetest.ExpectError(t, err, everheap.ErrNilHandle)
	spacetest.ExpectError(t, s.View(func(tx *everheap.Tx) error {
		for range l.All(tx) {
			t.Error("an element of nothing")
		}
		return nil
	}), everheap.ErrNilHandle)
}

func TestList_ClosedAndReadOnly(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[int](t, s)
	r := newRef(t, s, 1)
	var kept *everheap.Tx
	spacetest.Update(t, s, func(tx *everheap.Tx) error { kept = tx; return nil })
	spacetest.ExpectError(t, l.Append(kept, 1), everheap.ErrClosed)
	spacetest.ExpectError(t, r.Set(kept, 1), everheap.ErrClosed)
	_, err := everheap.New(kept, 1)
	spacetest.ExpectError(t, err, everheap.ErrClosed)
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		spacetest.ExpectError(t, l.Append(tx, 1), everheap.ErrReadOnly)
		spacetest.ExpectError(t, l.Truncate(tx, 0), everheap.ErrReadOnly)
		spacetest.ExpectError(t, r.Set(tx, 1), everheap.ErrReadOnly)
		_, err := everheap.New(tx, 1)
		spacetest.ExpectError(t, err, everheap.ErrReadOnly)
		_, err = everheap.NewList[int](tx)
		spacetest.ExpectError(t, err, everheap.ErrReadOnly)
		_, err = l.Pop(tx)
		spacetest.ExpectError(t, err, everheap.ErrReadOnly)
		kept = tx
		return nil
	})
	_, err = r.Get(kept)
	spacetest.ExpectError(t, err, everheap.ErrClosed, "the transaction has ended")
	_, err = l.Get(kept, 0)
	spacetest.ExpectError(t, err, everheap.ErrClosed, "the transaction has ended")
	spacetest.Update(t, s, func(*everheap.Tx) error {
		spacetest.ExpectError(t, l.Append(s, 1), everheap.ErrSelf)
		spacetest.ExpectError(t, r.Modify(s, func(*int) error { return nil }), everheap.ErrSelf)
		return nil
	})
	spacetest.Must(t, s.Close())
	for name, err := range map[string]error{
		"Append": l.Append(s, 1), "Truncate": l.Truncate(s, 0), "Set": l.Set(s, 0, 1), "Ref.Set": r.Set(s, 1),
		"Modify": l.Modify(s, 0, func(*int) error { return nil }), "Ref.Modify": r.Modify(s, func(*int) error { return nil }),
		"Get": spacetest.Second(l.Get(s, 0)), "Pop": spacetest.Second(l.Pop(s)), "Len": spacetest.Second(l.Len(s)), "Ref.Get": spacetest.Second(r.Get(s)),
		"OpenList": spacetest.Second(everheap.OpenList[int](s, "l")), "OpenRef": spacetest.Second(everheap.OpenRef(s, "r", 1)),
	} {
		if !errors.Is(err, everheap.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A transaction with many operations takes hardly more space than its result.
func TestList_AsAStack(t *testing.T) {
	s := spacetest.Scratch(t, spacetest.WithoutBackground())
	l := listOf[[4]int](t, s)
	spacetest.Must(t, l.Append(s, [4]int{-1}))
	before := s.Stats().Used
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 50_000 {
			if err := l.Append(tx, [4]int{i}, [4]int{i + 1}); err != nil {
				return err
			}
			for want := i + 1; want >= i; want-- {
				if v, err := l.Pop(tx); err != nil || v[0] != want {
					t.Fatalf("%d, want %d (%v)", v[0], want, err)
				}
			}
		}
		return l.Append(tx, [4]int{7})
	})
	if grown := s.Stats().Used - before; grown > 4<<20 {
		t.Errorf("a stack that was never deeper than three takes %d bytes", grown)
	}
	if got := contentOf(t, s, l); fmt.Sprint(got) != "[[-1 0 0 0] [7 0 0 0]]" {
		t.Errorf("%v", got)
	}
}

// The blocks of truncated elements can be reused.
func TestList_TruncateGivesBack(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[[100]byte](t, s)
	live := s.Stats().Live
	for range 3 {
		spacetest.Must(t, l.Append(s, make([][100]byte, 20_000)...))
		if n, err := l.Len(s); n != 20_000 || err != nil {
			t.Fatal(n, err)
		}
		spacetest.Must(t, l.Truncate(s, 10_000))
		spacetest.Must(t, l.Truncate(s, 1))
		spacetest.Must(t, l.Truncate(s, 0))
	}
	if grown := int64(s.Stats().Live - live); grown > 1<<10 {
		t.Errorf("an empty list keeps %d bytes", grown)
	}
	spacetest.Must(t, s.Sync(context.Background()))
}

// The same list in two loops, one inside the other, and changed by both.
func TestList_LoopsInLoops(t *testing.T) {
	s := spacetest.Scratch(t)
	l := listOf[int](t, s)
	spacetest.Must(t, l.Append(s, 0, 1, 2, 3))
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		var seen []string
		for i, v := range l.All(tx) {
			spacetest.Must(t, l.Append(tx, 10+i))
			n := 0
			for j := range l.Backward(tx) {
				if j == 2 {
					spacetest.Must(t, l.Set(tx, 2, *v))
				}
				n++
			}
			seen = append(seen, fmt.Sprint(*v, ":", n))
		}
		if fmt.Sprint(seen) != "[0:5 1:6 2:7 3:8]" {
			t.Errorf("%v", seen)
		}
		return nil
	})
	if got := contentOf(t, s, l); fmt.Sprint(got) != "[0 1 3 3 10 11 12 13]" {
		t.Errorf("%v", got)
	}
}

// Strings that lie on the stack of a goroutine, and values that refer to each other,
// are copied correctly.
func TestList_AppendCopies(t *testing.T) {
	s := spacetest.Scratch(t)
	type link struct {
		Name string
		Next *link
	}
	l := listOf[link](t, s)
	var grow func(depth int) int // makes the stack move while values on it are stored
	grow = func(depth int) int {
		var room [64]int
		if depth == 0 {
			return room[0]
		}
		return grow(depth-1) + room[depth%64]
	}
	done := make(chan error)
	go func() {
		name := string(append([]byte("stack"), byte('0'+grow(3))))
		a := link{Name: name}
		a.Next = &a
		err := l.Append(s, a, link{Next: &a}, link{Name: "third"})
		grow(1000)
		done <- err
	}()
	spacetest.Must(t, spacetest.Receive(t, "Append", done))
	got := contentOf(t, s, l)
	if len(got) != 3 || got[0].Name != "stack0" || got[0].Next.Next != got[0].Next || got[1].Next.Name != "stack0" || got[2].Name != "third" {
		t.Errorf("%+v", got)
	}
}

// Each operation without a transaction is durable if the space is.
func TestList_Durable(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithDurability(everheap.Durable), spacetest.WithoutBackground())
	l := listOf[int](t, s)
	r := newRef(t, s, 1)
	for i, fn := range []func() error{
		func() error { return l.Append(s, 1, 2, 3) },
		func() error { return l.Set(s, 0, 5) },
		func() error { return l.Modify(s, 0, func(v *int) error { *v++; return nil }) },
		func() error { return spacetest.Second(l.Pop(s)) },
		func() error { return l.Truncate(s, 1) },
		func() error { return r.Set(s, 2) },
		func() error { return r.Modify(s, func(v *int) error { *v++; return nil }) },
	} {
		before := s.Stats().Version
		spacetest.Must(t, fn())
		if st := s.Stats(); st.Version == before || st.Durable < st.Version {
			t.Errorf("operation %d: version %d, durable %d", i, st.Version, st.Durable)
		}
	}
}
