package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/everheap/everheap"
)

// WorkerVerb is the verb by which the demo starts processes of itself.
const WorkerVerb = "demo-worker"

// worker is a process of the demo, seen from inside.
type worker struct {
	dir string // of the space
	n   int    // number of Frobs
	in  *bufio.Scanner
	out io.Writer
}

// Work plays a role of the demo, in a process that Run has started.
func Work(role, dir string, n int, args []string, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // the first process ends this one
	w := &worker{dir, n, bufio.NewScanner(in), out}
	switch role {
	case "store":
		return w.store()
	case "change":
		return w.change()
	case "victim":
		return w.victim()
	case "first":
		return w.first(args)
	case "gob":
		return w.gob(args)
	case "measure":
		return w.measure()
	}
	return fmt.Errorf("the demo has no role %q", role)
}

// tell prints a line for the first process.
func (w *worker) tell(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(w.out, "%s\n", b)
	}
	return err
}

// stored is the cost of storing the Frobs.
type stored struct {
	Took time.Duration
	Live uint64
}

// store makes the space and stores the Frobs, each in a transaction of its own.
func (w *worker) store() error {
	s, m, err := openFrobs(w.dir)
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range w.n {
		if err := m.Set(s, key(i), frob(i)); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	answer := stored{Took: time.Since(began), Live: s.Stats().Live}
	return errors.Join(s.Close(), w.tell(answer))
}

// changed has the counts of a process since the last report.
type changed struct {
	Took      time.Duration
	Transfers int
	Reads     int
	Sums      int // of all Foo, each in one View
	Wrong     int // wrong sums, and values that were not whole
	Longest   time.Duration
}

// change transfers, reads and adds up until its input ends. For each line of the input it reports its
// counts.
func (w *worker) change() error {
	s, m, err := openFrobs(w.dir)
	if err != nil {
		return err
	}
	asked := make(chan bool)
	go func() {
		for w.in.Scan() {
			asked <- true
		}
		close(asked)
	}()
	if err := w.tell("ready"); err != nil {
		return err
	}
	began, done := time.Now(), changed{}
	for {
		select {
		case _, more := <-asked:
			if !more {
				return s.Close()
			}
			done.Took = time.Since(began)
			if err := w.tell(done); err != nil {
				return err
			}
			began, done = time.Now(), changed{}
		default:
			if err := w.round(s, m, &done, began); err != nil {
				return err
			}
		}
	}
}

const (
	readsPerRound = 16
	sumEvery      = 200 * time.Millisecond
)

// round does one transfer, some reads, and now and then a sum.
func (w *worker) round(s *everheap.Space, m frobs, done *changed, began time.Time) error {
	start := time.Now()
	err := transfer(s, m, w.n, func() error { return nil })
	if err != nil && !errors.Is(err, everheap.ErrSuspended) {
		return err
	}
	done.Transfers++
	done.Longest = max(done.Longest, time.Since(start))
	err = s.View(func(tx *everheap.Tx) error {
		for range readsPerRound {
			i := rand.IntN(w.n)
			f := m.Peek(tx, key(i))
			if f == nil || f.Next == nil || f.Next.Bar != i { // following a pointer, in the mapped file
				done.Wrong++
			}
			done.Reads++
		}
		return nil
	})
	if err != nil || time.Since(began) < time.Duration(done.Sums+1)*sumEvery {
		return err
	}
	count, sum, err := total(s, m)
	done.Sums++
	if count != w.n || sum != w.n*frobFoo {
		done.Wrong++
	}
	return err
}

// victim writes half of a transfer and waits there for its end.
func (w *worker) victim() error {
	s, m, err := openFrobs(w.dir)
	if err != nil {
		return err
	}
	return transfer(s, m, w.n, func() error {
		if err := w.tell("half"); err != nil {
			return err
		}
		for w.in.Scan() {
		}
		os.Exit(1) // the first process has ended, and cannot kill this one
		return nil
	})
}

// opened has the times of the first reads after a start.
type opened struct {
	Open  time.Duration // from Open to the first value read
	Start time.Duration // from the start of the process
	All   time.Duration // to read all
	Count int
	Sum   int
}

// first opens the space, reads one Frob, and then all. Its argument is the time at which the process
// was started.
func (w *worker) first(args []string) error {
	var nanos int64
	if _, err := fmt.Sscan(args[0], &nanos); err != nil {
		return err
	}
	began := time.Now()
	s, m, err := openFrobs(w.dir, everheap.WithReadOnly())
	if err != nil {
		return err
	}
	if _, err := m.Get(s, key(w.n/2)); err != nil {
		return err
	}
	o := opened{Open: time.Since(began), Start: time.Since(time.Unix(0, nanos))}
	began = time.Now()
	if o.Count, o.Sum, err = total(s, m); err != nil {
		return err
	}
	o.All = time.Since(began)
	return errors.Join(s.Close(), w.tell(o))
}

// check verifies the space, in the first process.
func check(ctx context.Context, dir string) (everheap.Report, int, error) {
	s, m, err := openFrobs(dir)
	if err != nil {
		return everheap.Report{}, 0, err
	}
	_, sum, err := total(s, m)
	report, checkErr := s.Check(ctx)
	return report, sum, errors.Join(err, checkErr, s.Close())
}
