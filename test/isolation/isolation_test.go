package isolation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// The anomalies of Adya's thesis and of the snapshot isolation literature, each by its name.
func TestIsolation(t *testing.T) {
	ctx := context.Background()
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	reset := func(t *testing.T, values map[string]int) {
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for k := range m.All(tx) {
				if _, err := m.Delete(tx, k); err != nil {
					return err
				}
			}
			for k, v := range values {
				if err := m.Set(tx, k, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	expect := func(t *testing.T, sc everheap.Scope, key string, want int) {
		t.Helper()
		if got, err := m.Get(sc, key); err != nil || got != want {
			t.Errorf("%s is %d (%v), want %d", key, got, err, want)
		}
	}

	t.Run("dirty read", func(t *testing.T) {
		reset(t, map[string]int{"x": 1})
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			spacetest.Must(t, m.Set(tx, "x", 2))
			expect(t, s, "x", 1)
			return nil
		})
		expect(t, s, "x", 2)
	})

	t.Run("aborted read", func(t *testing.T) {
		reset(t, map[string]int{"x": 1})
		err := s.Update(ctx, func(tx *everheap.Tx) error {
			spacetest.Must(t, m.Set(tx, "x", 2))
			return spacetest.ErrOfTest
		})
		if !errors.Is(err, spacetest.ErrOfTest) {
			t.Fatal(err)
		}
		expect(t, s, "x", 1)
	})

	t.Run("intermediate read", func(t *testing.T) {
		reset(t, map[string]int{"x": 1})
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			spacetest.Must(t, m.Set(tx, "x", 2))
			spacetest.View(t, s, func(other *everheap.Tx) error { expect(t, other, "x", 1); return nil })
			return m.Set(tx, "x", 3)
		})
		expect(t, s, "x", 3)
	})

	t.Run("lost update", func(t *testing.T) {
		reset(t, map[string]int{"x": 0})
		const each = 200
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range each {
					var err error
					if i%2 == 0 {
						err = m.Modify(s, "x", func(v *int) error { *v++; return nil })
					} else {
						err = s.Update(ctx, func(tx *everheap.Tx) error {
							v, err := m.Get(tx, "x")
							if err != nil {
								return err
							}
							runtime.Gosched()
							return m.Set(tx, "x", v+1)
						})
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		expect(t, s, "x", 4*each)
	})

	t.Run("non-repeatable read", func(t *testing.T) {
		reset(t, map[string]int{"x": 1, "y": 1})
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			expect(t, tx, "x", 1)
			p := m.Peek(tx, "y")
			spacetest.Must(t, m.Set(s, "x", 2))
			spacetest.Must(t, m.Set(s, "y", 2))
			spacetest.Must(t, m.Set(s, "z", 2))
			expect(t, tx, "x", 1)
			if *p != 1 || m.Peek(tx, "z") != nil {
				t.Error("the view saw a later version")
			}
			return nil
		})
	})

	t.Run("phantom", func(t *testing.T) {
		reset(t, map[string]int{"x": 1})
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			for i := range 100 {
				spacetest.Must(t, m.Set(s, strconv.Itoa(i), i))
			}
			if n, err := m.Len(tx); err != nil || n != 1 {
				t.Errorf("len is %d (%v)", n, err)
			}
			for k := range m.All(tx) {
				if k != "x" {
					t.Errorf("a phantom: %s", k)
				}
			}
			return nil
		})
	})

	t.Run("write skew", func(t *testing.T) { writeSkew(t, s, m, reset) })
	t.Run("long fork", func(t *testing.T) { longFork(t, s, m, reset) })

	t.Run("own writes visible", func(t *testing.T) {
		reset(t, map[string]int{"x": 1})
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			spacetest.Must(t, m.Set(tx, "x", 2))
			expect(t, tx, "x", 2)
			spacetest.Must(t, m.Set(tx, "y", 5))
			_, err := m.Delete(tx, "x")
			spacetest.Must(t, err)
			if has, err := m.Has(tx, "x"); err != nil || has {
				t.Errorf("a deleted key is there (%v)", err)
			}
			if n, err := m.Len(tx); err != nil || n != 1 {
				t.Errorf("len is %d (%v)", n, err)
			}
			return nil
		})
	})

	t.Run("iteration sees the start of the loop", func(t *testing.T) {
		start := map[string]int{}
		for i := range 300 {
			start[strconv.Itoa(i)] = i
		}
		reset(t, nil)
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			for k, v := range start { // in the looping transaction: it owns the blocks
				spacetest.Must(t, m.Set(tx, k, v))
			}
			n := 0
			for k, v := range m.All(tx) {
				if *v != start[k] {
					t.Fatalf("%s is %d in the loop, was %d at its start", k, *v, start[k])
				}
				n++
				spacetest.Must(t, m.Set(tx, "new "+k, -1))
				spacetest.Must(t, m.Set(tx, strconv.Itoa((n*7)%300), -2))
				_, err := m.Delete(tx, strconv.Itoa((n*11)%300))
				spacetest.Must(t, err)
			}
			if n != 300 {
				t.Errorf("the loop met %d entries", n)
			}
			return nil
		})
	})

	t.Run("loops in loops", func(t *testing.T) {
		reset(t, map[string]int{"a": 1, "b": 2, "c": 3})
		spacetest.Update(t, s, func(tx *everheap.Tx) error {
			pairs := 0
			for k := range m.All(tx) {
				spacetest.Must(t, m.Set(tx, k+k, 0))
				inner := 0
				for range m.All(tx) {
					inner++
					pairs++
				}
				if n, _ := m.Len(tx); inner != n {
					t.Errorf("an inner loop met %d entries of %d", inner, n)
				}
			}
			if pairs != 4+5+6 {
				t.Errorf("%d pairs", pairs)
			}
			return nil
		})
	})
}

// writeSkew: two transactions read both keys and each writes one. In any serial order the second sees
// the write of the first, so the sum never goes below zero.
func writeSkew(t *testing.T, s *everheap.Space, m everheap.Map[string, int], reset func(*testing.T, map[string]int)) {
	for range spacetest.Scaled(40) {
		reset(t, map[string]int{"x": 1, "y": 0})
		var wg sync.WaitGroup
		for _, key := range []string{"x", "y"} {
			wg.Go(func() {
				err := s.Update(context.Background(), func(tx *everheap.Tx) error {
					x, err := m.Get(tx, "x")
					spacetest.Must(t, err)
					y, err := m.Get(tx, "y")
					spacetest.Must(t, err)
					if x+y < 1 {
						return nil
					}
					runtime.Gosched()
					return m.Upsert(tx, key, func(v *int, _ bool) error { *v--; return nil })
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		x, _ := m.Get(s, "x")
		y, _ := m.Get(s, "y")
		if x+y < 0 {
			t.Fatalf("x is %d and y is %d: both saw the sum of 1", x, y)
		}
	}
}

// longFork: two writers write one key each; no two readers may see the writes in
// different orders.
func longFork(t *testing.T, s *everheap.Space, m everheap.Map[string, int], reset func(*testing.T, map[string]int)) {
	reset(t, map[string]int{"x": 0, "y": 0})
	n := spacetest.Scaled(400)
	var wg sync.WaitGroup
	type seen struct{ x, y int }
	var readers [3][]seen
	stop := make(chan struct{})
	for i := range readers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := s.View(func(tx *everheap.Tx) error {
					readers[i] = append(readers[i], seen{*m.Peek(tx, "x"), *m.Peek(tx, "y")})
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var writers sync.WaitGroup
	for _, key := range []string{"x", "y"} {
		writers.Go(func() {
			for i := range n {
				if err := m.Set(s, key, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	wg.Wait()
	order := map[seen]bool{}
	for _, list := range readers {
		for _, a := range list {
			order[a] = true
		}
	}
	highest := map[int]seen{} // by x: the pairs of all readers together must form one chain
	for a := range order {
		if b, ok := highest[a.x]; !ok || a.y > b.y {
			highest[a.x] = a
		}
	}
	top := -1
	for x := range n {
		for y := range order {
			if y.x == x && y.y < top {
				t.Fatalf("a reader saw %v, another one a state with a lesser x and y at %d", y, top)
			}
		}
		if h, ok := highest[x]; ok {
			top = max(top, h.y)
		}
	}
}

func TestUpdate_ErrorPanicAndGoexitLeaveNothing(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, string](t, s)
	spacetest.Must(t, m.Set(s, "k", "before"))
	ends := map[string]func(tx *everheap.Tx) error{
		"error":  func(*everheap.Tx) error { return spacetest.ErrOfTest },
		"panic":  func(*everheap.Tx) error { panic("of the test") },
		"nil":    func(*everheap.Tx) error { var p *int; *p = 1; return nil },
		"goexit": func(*everheap.Tx) error { runtime.Goexit(); return nil },
		"abort":  func(tx *everheap.Tx) error { (everheap.Map[string, int]{}).Peek(tx, "x"); return nil },
	}
	change := func(sc everheap.Scope) error {
		return errors.Join(m.Set(sc, "k", "after"), m.Set(sc, "new", "after"))
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				err := errors.New("the goroutine ended")
				defer func() {
					if r := recover(); r != nil {
						err = fmt.Errorf("panic: %v", r)
					}
					done <- err
				}()
				err = s.Update(context.Background(), func(tx *everheap.Tx) error { return errors.Join(change(tx), end(tx)) })
			}()
			if err := spacetest.Receive(t, "the end of the goroutine", done); err == nil {
				t.Fatal("no error")
			}
			if v, err := m.Get(s, "k"); err != nil || v != "before" {
				t.Errorf("k is %q (%v)", v, err)
			}
			if has, err := m.Has(s, "new"); err != nil || has {
				t.Errorf("a new key is there (%v)", err)
			}
		})
	}
	for name, end := range ends { // the same in the middle of a single operation
		if name == "abort" {
			continue
		}
		t.Run("in Modify/"+name, func(t *testing.T) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recover() }()
				if err := m.Modify(s, "k", func(v *string) error { *v = "after"; return end(nil) }); err == nil {
					t.Error("no error")
				}
			}()
			spacetest.Receive(t, "the end of the goroutine", done)
			if v, err := m.Get(s, "k"); err != nil || v != "before" {
				t.Errorf("k is %q (%v)", v, err)
			}
		})
	}
	spacetest.Must(t, m.Set(s, "k", "later"))
}

func TestUpdate_CreatedMapOfAbortedTransactionIsNotThere(t *testing.T) {
	s := spacetest.Scratch(t)
	var ghost everheap.Map[string, int]
	err := s.Update(context.Background(), func(tx *everheap.Tx) error {
		var err error
		ghost, err = everheap.OpenMap[string, int](tx, "ghost")
		spacetest.Must(t, err)
		spacetest.Must(t, ghost.Set(tx, "x", 1))
		return spacetest.ErrOfTest
	})
	if !errors.Is(err, spacetest.ErrOfTest) {
		t.Fatal(err)
	}
	if _, err := ghost.Get(s, "x"); !errors.Is(err, everheap.ErrNotFound) {
		t.Errorf("a map that was never committed: %v", err)
	}
	other, err := everheap.OpenMap[int, string](s, "ghost") // its index may be used for another type
	spacetest.Must(t, err)
	spacetest.Must(t, other.Set(s, 1, "one"))
	if v, err := ghost.Get(s, "x"); err == nil {
		t.Errorf("the ghost has %d", v)
	}
}

func TestUpdate_EmptyPublishesNothing(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, int](t, s)
	version := func() (v everheap.Version) {
		spacetest.View(t, s, func(tx *everheap.Tx) error { v = tx.Version(); return nil })
		return v
	}
	before := version()
	spacetest.Update(t, s, func(tx *everheap.Tx) error { return nil })
	_, err := m.Delete(s, "nothing")
	spacetest.Must(t, err)
	if after := version(); after != before {
		t.Errorf("version %d became %d", before, after)
	}
	spacetest.Must(t, m.Set(s, "x", 1))
	if after := version(); after <= before {
		t.Errorf("version %d did not grow", after)
	}
}

func TestView_SharedByGoroutines(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, string](t, s)
	for i := range 100 {
		spacetest.Must(t, m.Set(s, i, strconv.Itoa(i)))
	}
	spacetest.View(t, s, func(tx *everheap.Tx) error {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 100 {
					if p := m.Peek(tx, i); p == nil || *p != strconv.Itoa(i) {
						t.Error(i, p)
					}
				}
			})
		}
		for i := range 100 {
			spacetest.Must(t, m.Set(s, i, "changed"))
		}
		wg.Wait()
		return nil
	})
}

func TestView_ManyAtOnce(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, int](t, s)
	spacetest.Must(t, m.Set(s, 0, 0))
	const n = 1500 // more than there are reader slots for one process
	var wg, began sync.WaitGroup
	release := make(chan struct{})
	began.Add(n)
	for range n {
		wg.Go(func() {
			err := s.View(func(tx *everheap.Tx) error {
				began.Done()
				<-release
				if p := m.Peek(tx, 0); p == nil || *p != 0 {
					return errors.New("the view saw a later version")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	spacetest.Within(t, time.Minute, "starting views", began.Wait)
	spacetest.Must(t, m.Set(s, 0, 1))
	close(release)
	spacetest.Within(t, time.Minute, "ending views", wg.Wait)
}

func TestClose_WaitsForTransactions(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[string, string](t, s)
	spacetest.Must(t, m.Set(s, "k", "v"))
	inside, closed := make(chan struct{}), make(chan error, 1)
	done := make(chan error, 1)
	go func() {
		done <- s.View(func(tx *everheap.Tx) error {
			p := m.Peek(tx, "k")
			close(inside)
			for i := range 50 { // the memory must stay mapped meanwhile
				if *p != "v" {
					return fmt.Errorf("look %d: %q", i, *p)
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		})
	}()
	spacetest.Receive(t, "a View", inside)
	go func() { closed <- s.Close() }()
	spacetest.Must(t, spacetest.Receive(t, "the end of the View", done))
	spacetest.Must(t, spacetest.Receive(t, "Close", closed))
}
