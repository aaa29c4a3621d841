package collect

import (
	"errors"
	"fmt"
	"time"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/vector"
)

// A transaction that drops garbage has the writer lock for about a millisecond: half of it to
// compare, half of it to drop. If others have changed too much to compare in that time, it gives
// up, and the collection compares without the lock; the next transaction then finds fewer changes.
const (
	smallObject   = 256 // objects with at most so many entries or elements free their blocks one by one
	compareTime   = time.Millisecond / 2
	dropTime      = time.Millisecond / 2
	leastBatch    = 64   // objects
	mostBatch     = 4096 // objects
	maxPatience   = 64   // the patience grows to at most so many times compareTime
	maxBehind     = 32   // so many times in a row a comparison may be too late
	dropCheckEach = 16   // objects
)

// DropAll drops the garbage, a part of it in each transaction.
func (c *Collector) DropAll() error {
	var last format.Version // the version that the last batch published
	patience, behind := compareTime, 0
	for c.at < len(c.garbage) {
		c.pauseForTests()
		began, contended := time.Now(), c.of.Queue.Contended()
		base, published, err := c.Batch(patience)
		switch {
		case errors.Is(err, ErrBehind):
			if behind++; behind > maxBehind {
				return fmt.Errorf("%w: other processes change more than a collection can compare: %w", failure.ErrBusy, err)
			}
			patience = min(2*patience, maxPatience*compareTime)
			err = c.guarded(c.catchUpUnlocked)
		case errors.Is(err, failure.ErrSuspended): // the batch has dropped nothing
			err = nil
		case err == nil:
			invariant.Point("collect.committed")
			patience, behind = compareTime, 0
			if base != last || contended != c.of.Queue.Contended() { // others write, or wait: leave them as much time
				c.pause(time.Since(began))
			}
			last = published
		}
		if err == nil {
			err = c.over()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pause waits, unless the collection is to end.
func (c *Collector) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	case <-c.of.Quit:
	}
}

// pauseForTests lets a test do what other processes could do now.
func (c *Collector) pauseForTests() {
	if step := c.of.Options.Step; step != nil {
		step()
	}
}

// catchUpUnlocked makes K fit the newest version, without the writer lock.
func (c *Collector) catchUpUnlocked() error {
	now, err := c.View()
	if err == nil {
		if err = c.CatchUp(now); err != nil {
			now.Drop()
		}
	}
	return err
}

// Batch runs one transaction that drops garbage (G3).
func (c *Collector) Batch(patience time.Duration) (base, published format.Version, err error) {
	at, before := c.at, c.Collection
	published, err = c.of.Change(c.ctx, func(tx *edit.Editor, from format.Addr) error {
		now, err := c.View()
		if err != nil {
			return err
		}
		if now.Held() != from { // another process has taken the lock over
			now.Drop()
			return failure.ErrSuspended
		}
		base = now.Version()
		c.deadline = time.Now().Add(patience)
		err = c.CatchUp(now)
		c.deadline = time.Time{}
		if err != nil {
			now.Drop()
			return err
		}
		invariant.Point("collect.compared")
		if err = c.drop(tx); err == nil {
			invariant.Point("collect.dropped")
		}
		return err
	})
	if err != nil { // the transaction has dropped nothing
		c.at, c.Collection = at, before
	}
	return base, published, err
}

// drop drops a part of the garbage, but no object of K.
func (c *Collector) drop(tx *edit.Editor) error {
	began, dropped := time.Now(), c.Dropped
	log := dropLog{tx: tx}
	for n := 0; c.at < len(c.garbage); n++ {
		if n == c.of.Options.Batch && n > 0 || n >= leastBatch && n%dropCheckEach == 0 && (n >= mostBatch || time.Since(began) > dropTime) {
			break
		}
		index := c.garbage[c.at]
		c.at++
		if c.kept.has(index) {
			c.Rescued++
			continue
		}
		size, err := c.dropOne(tx, index)
		switch {
		case tx.Failure() != nil:
			return tx.Failure()
		case err != nil:
			c.spare(index, err)
		case size > 0:
			log.add(index)
			c.Dropped++
			c.Bytes += size
		}
	}
	log.flush()
	if c.Dropped > dropped {
		c.Batches++
	}
	if c.at < len(c.garbage) {
		return nil
	}
	removed, err := indexing.Purge(tx)
	c.purged = c.purged || removed
	return err
}

// dropOne drops an object, and returns how many bytes its blocks have; 0 if another collection has
// dropped it.
func (c *Collector) dropOne(tx *edit.Editor, index uint64) (format.ByteCount, error) {
	word, err := vector.Get(tx.Reader, format.Link(tx.State.Table), index)
	if err != nil || word == 0 {
		return 0, err
	}
	if cap(c.list) < smallObject {
		c.list = make([]format.Addr, 0, 4*smallObject)
	}
	o, large := c.large[index]
	if !large {
		return tx.Drop(index, c.list)
	}
	if invariant.Enabled {
		c.of.Live.Record().AssertAt(o.addr == format.Addr(word), word, "an object that is not kept has not changed (G2)")
	}
	if o.addr != format.Addr(word) {
		return 0, nil
	}
	return tx.DropLarge(index, o.rest)
}

// dropLog logs dropped objects, in the order of their indexes.
type dropLog struct {
	tx   *edit.Editor
	from uint64
	mask uint64
}

// add adds an object, whose index is greater than all earlier ones.
func (l *dropLog) add(index uint64) {
	if l.mask != 0 && index-l.from >= 64 {
		l.flush()
	}
	if l.mask == 0 {
		l.from = index
	}
	l.mask |= 1 << (index - l.from)
}

// flush logs the objects that were added.
func (l *dropLog) flush() {
	if l.mask != 0 {
		l.tx.Write.Log(format.Op{What: format.MakeWhat(format.OpDrop, l.from), Arg: l.mask})
	}
	l.mask = 0
}
