// Package collect drops the objects that no name reaches.
//
// A collection drops the objects that no name reaches, cycles of them included, while
// others write. It holds a version S and marks what the names reach in it; what is there
// in S and was not marked is garbage, unless a later version brings it back. So each
// transaction that drops some of it first compares, under the writer lock, the version
// that it starts from with the one that was looked at last, and keeps what has changed
// and whatever that refers to.
//
// Let K be the set of objects that are kept.
//
// Invariants:
//
//	G1  K fits a version P, which is held: it has all objects that the names of P
//	    lead to, and, with each object that there is in P, all objects that its
//	    handles in P refer to. So what P reaches is in K.
//	G2  K comes to fit a version N, which is held, too, by what follows, whatever
//	    happened in between (CatchUp). An object that is the same block in P and N
//	    refers to the same objects: both versions are held, so a block that both
//	    have has not changed. An object that is another block in N than in P, or is
//	    in N alone, is put into K, and so is all that it refers to, transitively, as
//	    far as that is not known to be in K: the entries that a member of K has had
//	    in P refer to members. The names are such an object. No history is needed:
//	    so it makes no difference whether a handle was moved from an object to
//	    another, or a checkpoint was restored, or types have changed.
//	G3  The transaction that drops objects starts from a version that K fits, under
//	    the writer lock, and drops none of K. So no object that is left and in K
//	    refers to one that is dropped, and K fits the version that it publishes as
//	    well. It is published from that very base or not at all (E1): so what a
//	    transaction makes, or links, is either seen by the comparison, or it comes
//	    after the drop, and is judged by what is there then (engine.Space.checkHandle).
//	G4  K grows by whole comparisons: one that does not come to its end leaves it
//	    as it was. Else an object would be in K whose handles nobody has looked at.
//	G5  Only objects of S are dropped that were not in K then, and descriptors of
//	    types never: an index means the same in every process that knows it.
//	G6  A dropped object is away from the object table, no more: whoever holds an
//	    older version reads on (I2). Its ID is never used again (engine.Space.takeIndex).
//	G7  What cannot be read to the end keeps everything: an error while K is made
//	    ends the collection. Damage in garbage keeps the garbage.
//
// Two collections at once do no harm: what the other one has dropped is not there any
// more in N. That there is one at a time (Collector) only saves work.
//
// Start reading at Collections.Collect, then Collector.Mark and Collector.Batch.
package collect

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/queue"
	"github.com/everheap/everheap/internal/spacefile"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/view"
)

// Collection is the outcome of a collection.
type Collection struct {
	Version  format.Version // S
	Objects  uint64         // of S, the space's own and types not counted
	Dropped  uint64
	Rescued  uint64 // that no name reached in S, and that later versions have changed, or refer to
	Bytes    format.ByteCount
	Batches  int // transactions that dropped some
	Duration time.Duration
}

// Collections is what the collections of one process have in common.
type Collections struct {
	*member.Member
	durable *durable.Writer
	store   *edit.Store
	Options Options
	// Change runs fn in a transaction of its own, with the address of the state that this
	// starts from, and returns the version that it has published.
	Change func(ctx context.Context, fn func(tx *edit.Editor, base format.Addr) error) (format.Version, error)

	turn chan struct{} // of the one that runs
	mu   sync.Mutex
	// These are under the mutex.
	cancel context.CancelFunc // ends the one in the background; nil: there is none
	next   time.Time          // before that none begins in the background
	last   Collection         // that came to its end
}

// Options say how is collected.
type Options struct {
	None  bool   // not in the background
	Batch int    // for tests: how many objects one transaction drops; 0: as many as there is time for
	Step  func() // for tests: called between the steps, without a lock; may be nil
}

// Init sets it up for a member that is about to open the space. Change is still to be set.
func (s *Collections) Init(m *member.Member, d *durable.Writer, store *edit.Store, o Options) {
	s.Member, s.durable, s.store, s.Options = m, d, store, o
	s.turn = make(chan struct{}, 1)
}

// Last returns the last one that came to its end.
func (s *Collections) Last() Collection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

var (
	// ErrBehind says that a comparison would take longer than the writer lock may
	// be held.
	ErrBehind = errors.New("too much has changed to be looked at in the time")
	// errReplaced ends a collection in the background when another one has begun.
	errReplaced = errors.New("another collection has begun")
)

// Collector is a collection in progress.
type Collector struct {
	of         *Collections
	ctx        context.Context
	background bool
	deadline   time.Time // of the comparison; zero: none
	steps      uint

	kept    indexSet   // K
	prev    *view.View // P
	next    uint64     // NextIndex of the version that is looked at
	todo    []uint64   // in kept; what they refer to is to be put there
	added   []uint64   // to kept, by the comparison that goes on (G4)
	marks   bool       // there is no comparison yet
	meet    func(kind layout.HandleKind, id uint64) bool
	each    func(holder unsafe.Pointer) error // holder
	holding holding
	layouts map[layoutOf]*object.Layout // nil: values of such objects refer to nothing
	last    struct {                    // of them, that was asked for
		of     layoutOf
		layout *object.Layout
	}

	garbage []uint64
	large   map[uint64]largeObject
	at      int           // of garbage: what is next
	list    []format.Addr // room for the blocks of an object
	damage  error         // of garbage, the first
	purged  bool          // indexes of what was dropped before: their trees are garbage now

	Collection
}

// largeObject is garbage with very many blocks.
type largeObject struct {
	addr format.Addr
	rest format.ByteCount // of all blocks but that
}

// Collect drops the objects that no name reaches, and returns when all that there were
// when it began are gone, but for those that were linked again meanwhile.
func (s *Collections) Collect(ctx context.Context) (Collection, error) {
	if err := s.Enter(); err != nil {
		return Collection{}, err
	}
	defer s.Exit()
	c, purged, err := s.collect(ctx, false)
	if err == nil && purged {
		var more Collection
		more, _, err = s.collect(ctx, false)
		c.Dropped += more.Dropped
		c.Bytes += more.Bytes
		c.Batches += more.Batches
		c.Duration += more.Duration
	}
	return c, err
}

// collect is Collect, or what is done by itself.
// purged says that it has removed indexes.
func (s *Collections) collect(ctx context.Context, background bool) (_ Collection, purged bool, err error) {
	defer s.EndGuard(debug.SetPanicOnFault(true), &err)
	if s.ReadOnly {
		return Collection{}, false, failure.ErrReadOnly
	}
	if s.Queue.Mine() {
		return Collection{}, false, queue.ErrSelf
	}
	if err := s.durable.Refused(); err != nil {
		return Collection{}, false, err
	}
	release, err := s.claimCollection(ctx, background)
	if err != nil {
		return Collection{}, false, err
	}
	defer release()
	invariant.Point("collect.claimed")
	began := time.Now()
	c := s.New(ctx, background)
	defer c.End()
	w := s.Live.Words()
	activity := w.NextIndex.Load() + w.Unlinked.Load() // before S: what comes later counts for the next one
	if err := c.guarded(c.Mark); err != nil {
		return c.Collection, c.purged, err
	}
	invariant.Point("collect.marked")
	err = c.DropAll()
	c.Duration = time.Since(began)
	if err == nil {
		s.noteCollection(&c.Collection, activity)
		err = c.damage
	}
	return c.Collection, c.purged, err
}

// claimCollection makes this goroutine the one that collects: of this process, and, as
// far as that can be said, of all. One that was asked for ends those in the background;
// of those in the background the first one goes on.
func (s *Collections) claimCollection(ctx context.Context, background bool) (release func(), err error) {
	c := s
	if !background {
		c.mu.Lock()
		if c.cancel != nil {
			c.cancel()
		}
		c.mu.Unlock()
	}
	select {
	case c.turn <- struct{}{}:
	case <-s.Gone:
		return nil, queue.ErrGone
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: this process is collecting: %w", failure.ErrBusy, ctx.Err())
	}
	defer func() {
		if release == nil {
			<-c.turn
		}
	}()
	w, me := s.Live.Words(), uint64(s.Live.Incarnation())
	for {
		other := w.Collector.Load()
		if background && other != 0 && s.Moves(format.Incarnation(other)) { // one that is stopped is not waited for
			return nil, errReplaced
		}
		if w.Collector.CompareAndSwap(other, me) {
			break
		}
	}
	return func() {
		defer func() { <-c.turn }()
		w.Collector.CompareAndSwap(me, 0)
	}, nil
}

// New begins a collection; End must follow.
func (s *Collections) New(ctx context.Context, background bool) *Collector {
	c := &Collector{of: s, ctx: ctx, background: background, layouts: map[layoutOf]*object.Layout{}, large: map[uint64]largeObject{}}
	c.each = c.holder
	c.meet = func(_ layout.HandleKind, id uint64) bool {
		if id := format.ID(id); id.Tag() == s.Head.Tag {
			c.keep(id.Index())
		}
		return true
	}
	return c
}

// Keeps reports whether an object is in K.
func (c *Collector) Keeps(index uint64) bool { return c.kept.has(index) }

// Until bounds the comparisons that follow; the zero time: nothing does.
func (c *Collector) Until(deadline time.Time) { c.deadline = deadline }

// End lets go of what the collection holds.
func (c *Collector) End() {
	if c.prev != nil {
		c.prev.Drop()
	}
}

// guarded is Member.Guarded.
func (c *Collector) guarded(fn func() error) error { return c.of.Guarded(fn) }

// View holds the newest version. All that is read of it is verified: damage must not
// look like an object that nothing refers to.
func (c *Collector) View() (*view.View, error) {
	v, err := view.Newest(c.of.Member, c.of.store)
	if err != nil {
		return nil, err
	}
	r := c.of.Heap.Reader(true)
	v.ReadBy(&r)
	return v, nil
}

// step counts one thing that was looked at, and returns why it is time to end.
func (c *Collector) step() error {
	if c.steps++; c.steps%64 != 0 {
		return nil
	}
	if !c.deadline.IsZero() && time.Now().After(c.deadline) {
		return ErrBehind
	}
	return c.over()
}

// over returns why the collection is to end; nil if it is not.
func (c *Collector) over() error {
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case c.of.Quitting():
		return failure.ErrClosed
	case c.of.IsLost() != nil:
		return c.of.IsLost()
	case c.background && c.of.Live.Words().Collector.Load() != uint64(c.of.Live.Incarnation()):
		return errReplaced
	}
	return nil
}

// Mark holds a version, puts all that its names reach into K, and lists the rest (G1, G5).
func (c *Collector) Mark() (err error) {
	if c.prev, err = c.View(); err != nil {
		return err
	}
	s := c.prev.State
	c.Version, c.next = c.prev.Version(), s.NextIndex
	c.marks = true
	c.keep(s.Types)
	c.keep(s.Catalog)
	if err := c.drain(&c.prev.Editor); err != nil {
		return err
	}
	c.marks = false
	visit := func(format.Addr, format.Kind) (bool, error) { return true, nil }
	return table.Walk(c.prev.Reader, format.Link(s.Table), visit, func(index uint64, a format.Addr) error {
		if err := c.step(); err != nil {
			return err
		}
		kind, p, err := c.open(&c.prev.Editor, a)
		switch {
		case err != nil && c.kept.has(index):
			return err
		case err != nil:
			c.spare(index, err)
			return nil
		case object.First(kind) || index == s.Types || index == s.Catalog:
			return nil
		}
		c.Objects++
		if c.kept.has(index) {
			return nil
		}
		return c.condemn(index, a, kind, p)
	})
}

// condemn enters an object into the list of garbage. What a large one takes is counted
// now, when nobody waits.
func (c *Collector) condemn(index uint64, a format.Addr, kind format.Kind, p unsafe.Pointer) error {
	if _, _, n := object.Contents(kind, p); n > smallObject {
		o := largeObject{addr: a}
		err := c.of.store.EachBlock(c.prev.Reader, kind, p, func(a format.Addr) error {
			o.rest += c.prev.Reader.BlockBytes(a)
			return c.step()
		})
		if over := c.over(); over != nil {
			return over
		}
		if err != nil {
			c.spare(index, err)
			return nil
		}
		c.large[index] = o
	}
	c.garbage = append(c.garbage, index)
	return nil
}

// spare notes that garbage is damaged, and stays (G7).
func (c *Collector) spare(index uint64, err error) {
	if c.damage == nil {
		c.damage = c.of.Located(index, 0, fmt.Errorf("nothing refers to it, and it is damaged, so it was not dropped: %w", err))
	}
}

// open returns the kind and the payload of an object's block.
func (c *Collector) open(tx *edit.Editor, a format.Addr) (format.Kind, unsafe.Pointer, error) {
	return objectAt(tx.Reader, a)
}

// objectAt returns the kind and the payload of the object whose block the object table names.
func objectAt(r *heap.Reader, a format.Addr) (format.Kind, unsafe.Pointer, error) {
	if !r.Plausible(a) || !object.Is(r.Kind(a)) {
		return 0, nil, &format.DamageError{File: spacefile.HeapName, What: fmt.Sprintf("the object table leads to %#x, where no object is", uint64(a))}
	}
	kind := r.Kind(a)
	p, err := r.Payload(a, kind)
	return kind, p, err
}
