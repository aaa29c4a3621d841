// Package collect drops the objects that no name reaches.
//
// A collection drops the objects that no name reaches, including cycles of them, while other
// processes write. It holds a version S and marks the objects that the names reach in it. Every
// other object of S is garbage, unless a later version brings it back. So each transaction that
// drops a part of the garbage first compares, under the writer lock, its base with the version that
// was looked at last, and keeps everything that has changed and everything that this refers to.
//
// Let K be the set of kept objects.
//
// Invariants:
//
//	G1  K fits a version P, which is held: K has every object that has a name in P; and for each
//	    object of K that exists in P, K has all objects that its handles in P refer to. So K has
//	    everything that P reaches.
//	G2  CatchUp makes K fit a later version N, which is held too, whatever was committed in
//	    between. An object with the same block in P and N refers to the same objects: both
//	    versions are held, so a block that both have has not changed. An object with another block
//	    in N than in P, or in N alone, is put into K, with everything that it refers to,
//	    transitively, except what is known to be in K: the entries that a member of K had in P
//	    refer to members. The catalog of names is such an object. No history is needed: so it does
//	    not matter whether a handle was moved from one object to another, a checkpoint was
//	    restored, or types have changed.
//	G3  The transaction that drops objects starts, under the writer lock, from a version that K
//	    fits, and drops no object of K. So no remaining object of K refers to a dropped one, and K
//	    also fits the version that this transaction publishes. It publishes on top of that very
//	    base or not at all (E1). So every object that another transaction makes or links is either
//	    seen by the comparison, or comes after the drop and is checked against the objects that
//	    then exist (engine.Space.checkHandle).
//	G4  K grows by whole comparisons: an unfinished one leaves K as it was. Otherwise K would have
//	    an object whose handles were never followed.
//	G5  A collection drops only objects of S that were not in K at that time, and never a
//	    descriptor of a type: its index means the same type in every process that knows it.
//	G6  Dropping an object only removes it from the object table: a reader of an older version can
//	    still read it (I2). Its ID is never used again (engine.Space.takeIndex).
//	G7  Damage never makes an object garbage: a read error while K is made ends the collection.
//	    Damaged garbage is kept.
//
// Two concurrent collections do no harm: an object that the other one has dropped does not exist in
// N any more. Running one at a time (Collector) only saves work.
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
	Objects  uint64         // objects of S, without the space's own and types
	Dropped  uint64
	Rescued  uint64 // garbage of S that later versions changed or refer to
	Bytes    format.ByteCount
	Batches  int // transactions that dropped objects
	Duration time.Duration
}

// Collections is shared by the collections of one process.
type Collections struct {
	*member.Member
	durable *durable.Writer
	store   *edit.Store
	Options Options
	// Change runs fn in a transaction of its own and passes the address of the base's state. It
	// returns the version that the transaction published.
	Change func(ctx context.Context, fn func(tx *edit.Editor, base format.Addr) error) (format.Version, error)

	turn chan struct{} // full while a collection runs
	mu   sync.Mutex
	// The mutex guards these.
	cancel context.CancelFunc // ends the collection in the background; nil if none runs
	next   time.Time          // no collection begins in the background before this time
	last   Collection         // the last that ended completely
}

// Options says how a process collects.
type Options struct {
	None  bool   // none in the background
	Batch int    // for tests: how many objects one transaction drops; 0: as many as its time allows
	Step  func() // for tests: called between steps, without a lock; may be nil
}

// Init prepares s for a member that is about to open the space. The caller sets Change next.
func (s *Collections) Init(m *member.Member, d *durable.Writer, store *edit.Store, o Options) {
	s.Member, s.durable, s.store, s.Options = m, d, store, o
	s.turn = make(chan struct{}, 1)
}

// Last returns the last collection that ended completely.
func (s *Collections) Last() Collection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

var (
	// ErrBehind means that a comparison would take longer than a transaction may hold the writer
	// lock.
	ErrBehind = errors.New("too much has changed to compare it in time")
	// errReplaced ends a collection in the background when another one has begun.
	errReplaced = errors.New("another collection has begun")
)

// Collector is a collection in progress.
type Collector struct {
	of         *Collections
	ctx        context.Context
	background bool
	deadline   time.Time // end of the comparison; zero: none
	steps      uint

	kept    indexSet   // K
	prev    *view.View // P
	next    uint64     // NextIndex of the version being walked
	todo    []uint64   // members of kept whose references are to be followed
	added   []uint64   // members of kept that the present comparison added (G4)
	marks   bool       // marking, not comparing
	meet    func(kind layout.HandleKind, id uint64) bool
	each    func(holder unsafe.Pointer) error // holder
	holding holding
	layouts map[layoutOf]*object.Layout // nil: such objects refer to nothing
	last    struct {                    // the layout asked for last
		of     layoutOf
		layout *object.Layout
	}

	garbage []uint64
	large   map[uint64]largeObject
	at      int           // position in garbage of the next object
	list    []format.Addr // scratch space for the blocks of an object
	damage  error         // the first damage in garbage
	purged  bool          // indexes of dropped maps were removed: their trees are garbage now

	Collection
}

// largeObject is garbage with very many blocks.
type largeObject struct {
	addr format.Addr
	rest format.ByteCount // bytes of all its other blocks
}

// Collect drops the objects that no name reaches. It returns when all such objects of its start are
// gone, except those that were linked again meanwhile.
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

// collect runs a collection, of Collect or of the background. purged reports whether it has removed
// indexes.
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
	activity := w.NextIndex.Load() + w.Unlinked.Load() // read before S: later activity counts for the next collection
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

// claimCollection makes this goroutine the one that collects, in this process, and as far as
// possible in all processes. A call of Collect ends a collection in the background; a second
// collection in the background gives way to the first.
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
		if background && other != 0 && s.Moves(format.Incarnation(other)) { // a suspended process is not waited for
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

// Until sets the deadline of the comparisons that follow; the zero time means none.
func (c *Collector) Until(deadline time.Time) { c.deadline = deadline }

// End releases everything that the collection holds.
func (c *Collector) End() {
	if c.prev != nil {
		c.prev.Drop()
	}
}

// guarded is Member.Guarded.
func (c *Collector) guarded(fn func() error) error { return c.of.Guarded(fn) }

// View holds the newest version. Every read of it is verified: a damaged object must not look like
// one that refers to nothing.
func (c *Collector) View() (*view.View, error) {
	v, err := view.Newest(c.of.Member, c.of.store)
	if err != nil {
		return nil, err
	}
	r := c.of.Heap.Reader(true)
	v.ReadBy(&r)
	return v, nil
}

// step counts one step of a walk, and returns an error if the walk is to end.
func (c *Collector) step() error {
	if c.steps++; c.steps%64 != 0 {
		return nil
	}
	if !c.deadline.IsZero() && time.Now().After(c.deadline) {
		return ErrBehind
	}
	return c.over()
}

// over returns why the collection is to end; nil if it is to continue.
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

// Mark holds a version, puts everything that its names reach into K, and lists the other objects
// (G1, G5).
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

// condemn adds an object to the garbage. The blocks of a large object are counted now, when no
// process waits.
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

// spare notes that an object of the garbage is damaged, and keeps it (G7).
func (c *Collector) spare(index uint64, err error) {
	if c.damage == nil {
		c.damage = c.of.Located(index, 0, fmt.Errorf("nothing refers to it, but it is damaged and was not dropped: %w", err))
	}
}

// open returns the kind and the payload of an object's block.
func (c *Collector) open(tx *edit.Editor, a format.Addr) (format.Kind, unsafe.Pointer, error) {
	return objectAt(tx.Reader, a)
}

// objectAt returns the kind and the payload of the object whose block the object table names.
func objectAt(r *heap.Reader, a format.Addr) (format.Kind, unsafe.Pointer, error) {
	if !r.Plausible(a) || !object.Is(r.Kind(a)) {
		return 0, nil, &format.DamageError{File: spacefile.HeapName, What: fmt.Sprintf("the object table names %#x, where there is no object", uint64(a))}
	}
	kind := r.Kind(a)
	p, err := r.Payload(a, kind)
	return kind, p, err
}
