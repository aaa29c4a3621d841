package windows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// maxSizes are the maximum sizes that the programme gives the space in turn.
var maxSizes = []uint64{300 << 20, 280 << 20}

// others are the processes that continue while the victim is suspended.
type others struct {
	t   *testing.T
	dir string
	s   *everheap.Space
	w   *world
	r   *rand.Rand
	seq int

	slowest time.Duration // slowest operation so far
	which   string
}

// timed notes the time of an operation that began at a moment.
func (o *others) timed(what string, began time.Time) {
	if took := time.Since(began); took > o.slowest {
		o.slowest, o.which = took, what
	}
}

// open opens the space.
func (o *others) open() {
	o.t.Helper()
	var err error
	o.s, err = everheap.Open(o.dir)
	must(o.t, err)
	o.w, err = openWorld(o.s)
	must(o.t, err)
}

// update changes the space in one transaction, which must not wait for long.
func (o *others) update(fn func(tx *everheap.Tx) error, opts ...everheap.UpdateOption) {
	o.t.Helper()
	ctx, cancel := forAWhile()
	defer cancel()
	defer o.timed("update", time.Now())
	must(o.t, again(func() error { return o.s.Update(ctx, fn, opts...) }))
}

// do runs an operation on the whole space, which must not wait for long either.
func (o *others) do(what string, fn func(ctx context.Context) error) {
	o.t.Helper()
	ctx, cancel := forAWhile()
	defer cancel()
	defer o.timed(what, time.Now())
	if err := again(func() error { return fn(ctx) }); err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

// programme replaces, frees, sweeps, punches, grows, collects, checkpoints, restores, resizes,
// anchors and closes the space and its contents.
func (o *others) programme() {
	o.t.Helper()
	o.rewrite(3)
	o.do("collect", func(ctx context.Context) error { _, err := o.s.Collect(ctx); return err })
	o.compact()
	o.grow()
	o.do("checkpoint", func(context.Context) error { return o.checkpoint("merciless") })
	before := o.read()
	o.rewrite(2)
	o.do("view at a checkpoint", func(context.Context) error {
		return o.s.ViewAt("merciless", func(tx *everheap.Tx) error { _, err := o.w.audit(tx); return err })
	})
	o.do("restore", func(ctx context.Context) error { return o.s.Restore(ctx, "merciless") })
	o.seq = before["others"]
	o.rewrite(1)
	o.do("drop a checkpoint", func(context.Context) error { return o.s.DropCheckpoint("merciless") })
	o.do("resize", func(ctx context.Context) error { return o.s.Resize(ctx, maxSizes[o.r.IntN(len(maxSizes))]) })
	o.rewrite(1)
	o.compact()
	o.do("sync", func(ctx context.Context) error { return o.s.Sync(ctx) })
	o.reopen()
	o.rewrite(1)
	o.read()
}

// reopen closes the space and opens it again.
func (o *others) reopen() {
	o.t.Helper()
	began := time.Now()
	must(o.t, o.s.Close())
	o.open()
	o.timed("close and open", began)
}

// compact sweeps, and gives free extents back. A process suspended in a transaction keeps others from
// that, and from nothing else (I7).
func (o *others) compact() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := again(func() error { _, err := o.s.Compact(ctx); return err })
	if err != nil && !errors.Is(err, everheap.ErrBusy) {
		o.t.Fatalf("compact: %v", err)
	}
}

// checkpoint makes a checkpoint, or accepts one that an interrupted call has made.
func (o *others) checkpoint(name string) error {
	err := o.s.Checkpoint(name)
	if errors.Is(err, everheap.ErrExists) {
		return nil
	}
	return err
}

// rewrite replaces all blocks a number of times, and changes some values.
func (o *others) rewrite(times int) {
	o.t.Helper()
	for range times {
		o.update(o.w.touch)
		for range 10 {
			o.seq++
			var opts []everheap.UpdateOption
			if o.r.IntN(4) == 0 {
				opts = append(opts, everheap.Durable)
			}
			o.update(func(tx *everheap.Tx) error { return o.w.change(tx, "others", o.seq, o.r) }, opts...)
		}
	}
}

// grow makes the file longer, and then deletes entries.
func (o *others) grow() {
	o.t.Helper()
	for i := range 6 {
		key := fmt.Sprint("long ", i)
		it := Item{Place: key, Body: make([]byte, 1<<20)}
		it.Sum = it.sum()
		o.update(func(tx *everheap.Tx) error { return o.w.items.Set(tx, key, it) })
	}
	o.update(func(tx *everheap.Tx) error {
		for i := range 6 {
			if _, err := o.w.items.Delete(tx, fmt.Sprint("long ", i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// read verifies the contents of the newest version.
func (o *others) read() (seqs map[string]int) {
	o.t.Helper()
	must(o.t, o.s.View(func(tx *everheap.Tx) (err error) {
		seqs, err = o.w.audit(tx)
		return err
	}))
	return seqs
}

// check verifies all blocks, and that acknowledged transactions are there.
func (o *others) check(acknowledged map[string]int) {
	o.t.Helper()
	seqs := o.read()
	for process, n := range acknowledged {
		if seqs[process] < n {
			o.t.Errorf("%s was told of its transaction %d; the newest is %d", process, n, seqs[process])
		}
	}
	report, err := o.s.Check(context.Background())
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range report.Findings {
		o.t.Errorf("check: %+v", f)
	}
}
