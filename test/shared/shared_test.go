// Package shared tests write transactions that several goroutines use at once.
package shared

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// patience bounds the wait for quick operations.
const patience = time.Minute

// open opens a new space with a map, and checks it at the end.
func open(t *testing.T) (*everheap.Space, everheap.Map[int, string]) {
	t.Helper()
	s, err := everheap.Open(filepath.Join(t.TempDir(), "s"), everheap.WithMaxSize(256<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		check(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := everheap.OpenMap[int, string](s, "m")
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// check checks the space.
func check(t *testing.T, s *everheap.Space) {
	t.Helper()
	r, err := s.Check(context.Background())
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("check: %d findings, %v", len(r.Findings), err)
	}
}

func value(g, i int) string { return strings.Repeat(string(rune('a'+g)), i%100) }

// until calls op until it fails, or over is closed.
func until(over <-chan struct{}, op func(i int) error) error {
	began := time.Now()
	for i := 0; ; i++ {
		select {
		case <-over:
			return nil
		default:
		}
		if err := op(i); err != nil {
			return err
		}
		if time.Since(began) > patience {
			return fmt.Errorf("no error came in %v", patience)
		}
	}
}

// skipRaces skips a test in which the program races with itself.
func skipRaces(t *testing.T) {
	if raceEnabled {
		t.Skip("the program that is tested has data races, which the race detector would report")
	}
}

// Goroutines change one transaction at once: it fails, and commits nothing.
func TestUpdate_SharedByGoroutines(t *testing.T) {
	skipRaces(t)
	s, m := open(t)
	if err := m.Set(s, -1, "before"); err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			var wg sync.WaitGroup
			over := make(chan struct{})
			once := sync.Once{}
			for g := range 3 {
				wg.Go(func() {
					err := until(over, func(i int) error {
						if g == 2 && i%2 == 1 {
							_, err := m.Delete(tx, i-1)
							return err
						}
						return m.Set(tx, g*1000+i%1000, value(g, i))
					})
					if err != nil && !errors.Is(err, everheap.ErrShared) {
						t.Errorf("goroutine %d: %v", g, err)
					}
					once.Do(func() { close(over) })
				})
			}
			wg.Wait()
			return nil // the program ignores the errors
		})
		if !errors.Is(err, everheap.ErrShared) {
			t.Fatalf("round %d: the transaction that several goroutines have used: %v", round, err)
		}
		if n, err := m.Len(s); n != 1 || err != nil {
			t.Fatalf("round %d: %d entries (%v), want the one of before", round, n, err)
		}
		if err := m.Set(s, -1, "before"); err != nil {
			t.Fatal(err)
		}
	}
}

// A goroutine reads while another one changes the transaction.
func TestUpdate_ReadBesideChanges(t *testing.T) {
	skipRaces(t)
	s, m := open(t)
	err := s.Update(context.Background(), func(tx *everheap.Tx) error {
		over := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(over)
			err := until(nil, func(i int) error {
				_, err := m.Has(tx, i)
				return err
			})
			if !errors.Is(err, everheap.ErrShared) {
				t.Errorf("reading beside changes: %v", err)
			}
		})
		err := until(over, func(i int) error { return m.Set(tx, i%1000, value(0, i)) })
		wg.Wait()
		return err
	})
	if !errors.Is(err, everheap.ErrShared) {
		t.Errorf("the transaction that was read by another goroutine meanwhile: %v", err)
	}
}

// The function of an Update returns while another goroutine still uses the transaction: that
// goroutine gets an error, and writes to no block that has another owner by then.
func TestUpdate_EndsBeforeItsGoroutines(t *testing.T) {
	skipRaces(t)
	s, m := open(t)
	for round := range 50 {
		began, ended := make(chan struct{}), make(chan error, 1)
		err := s.Update(context.Background(), func(tx *everheap.Tx) error {
			go func() {
				ended <- until(nil, func(i int) error {
					if i == 100 {
						close(began)
					}
					return m.Set(tx, i%1000, value(round%20, i))
				})
			}()
			<-began
			if round%2 == 1 {
				return errors.New("no")
			}
			return nil
		})
		if err != nil && !errors.Is(err, everheap.ErrShared) && err.Error() == "" {
			t.Error(err)
		}
		for i := range 20 { // the blocks of the transaction may be reused at once
			if err := m.Set(s, i, "after"); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; !errors.Is(err, everheap.ErrClosed) && !errors.Is(err, everheap.ErrShared) {
			t.Errorf("using a transaction after its end: %v", err)
		}
		if round%10 == 0 {
			check(t, s)
		}
	}
}

// Similar uses are legal: nested uses by one goroutine, and several goroutines one after the other.
func TestUpdate_UsedInTurns(t *testing.T) {
	s, m := open(t)
	err := s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 100 {
			if err := m.Set(tx, i, value(0, i)); err != nil {
				return err
			}
		}
		err := m.Modify(tx, 7, func(v *string) error {
			if _, err := m.Get(tx, 8); err != nil {
				return err
			}
			*v = "changed"
			return m.Set(tx, 9, "inside")
		})
		if err != nil {
			return err
		}
		for k := range m.All(tx) {
			if err := m.Set(tx, 1000+k, "in a loop"); err != nil {
				return err
			}
		}
		next, stop := iter.Pull2(m.All(tx)) // another goroutine walks, alternating with this one
		defer stop()
		for range 10 {
			k, _, ok := next()
			if !ok {
				return errors.New("the walk has ended early")
			}
			if _, err := m.Delete(tx, k); err != nil {
				return err
			}
		}
		var inTurn error
		for g := range 4 { // handed on, one after the other
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 50 {
					inTurn = errors.Join(inTurn, m.Set(tx, 5000+g*100+i, value(g, i)))
				}
			})
			wg.Wait()
		}
		return inTurn
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := m.Len(s); n != 390 || err != nil {
		t.Errorf("%d entries (%v), want 390", n, err)
	}
}
