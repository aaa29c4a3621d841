// Package expiry has the clock by which entries of maps expire, and removes those that have.
//
// An entry expires at an instant: that in a field of its value, or a time to live after it was
// stored. From then on no transaction sees it, whether it has been removed or not. To find what is due,
// each map whose entries expire has a tree of instants and keys, which is kept as an index is
// (package indexing); in the background some process removes what is due, in small transactions.
//
// Terms: the time of a transaction is that by which it judges all entries. The clock of a space
// is the wall clock of the machine, in nanoseconds since 1970, and never behind the mark: a
// word that all processes share, 0 at first.
//
// Invariants:
//
//	EX1  A transaction has one time: that of its clock when it needs it first. An entry is there for
//	     it if the instant of the entry is later, or the entry has none. What it makes that has a time
//	     to live begins that then. A transaction that touches no map whose entries expire looks at no
//	     clock. (edit.Editor.Time, indexing.isPast)
//	EX2  Before anybody is told that an entry is gone, the mark is at the instant of the entry, or
//	     later. So whoever asks for the time afterwards, in whatever process, has one at which the
//	     entry is gone as well, though the wall clock was put back. (indexing.expiring.gone, Clock.Passed)
//	EX3  The mark goes back to the wall clock only when nobody can miss it. One settler at a time lets
//	     it go back, until it has ended or is dead. It holds the newest version; sets a bit of the mark;
//	     sees that the version still is the newest, and that nothing in it is due at the mark; and changes
//	     the mark if the bit is still set. Who is told that an entry is gone takes the bit away before,
//	     and nobody else sets it. So what anybody was told of is either not in that version, hence removed;
//	     or he was told after the bit was set, and the mark stays. While a settler stands still the mark
//	     stays, too: the clock of the space waits for the wall clock, and nobody waits for it. So a wall
//	     clock that was put forward by mistake, and back, makes expire what was due by it, once,
//	     and not what is stored afterwards. (Clock.Passed, Remover.settle)
//	EX4  The tree of what is due has the instants of all entries of its map that have one, and no
//	     others, in every version (IX1 says it of trees in general). So what has expired is found, and
//	     counted, without a look at what has not.
//	EX5  Two versions are compared as they are at two instants, of which the second is not earlier. A
//	     difference is what is seen in one of them and not in the other, or seen in both and not
//	     the same. So a watch tells once that an entry is gone: when its time has come or when it was
//	     removed, whatever it sees first. (indexing.Keeper.Seen)
//	EX6  The instant of an entry changes only when its block does, or when how entries expire is
//	     declared anew, which makes another tree. So versions in which block and tree are the same agree about the
//	     instant. (edit.Editor.Prolong, indexing.between)
//	EX7  What has expired is removed before anything makes it expire later, or not at all: a new
//	     declaration, or the end of one. So it does not come back. And before an index is built that is
//	     to be unique: so it is in nobody's way.
//	EX8  The remover keeps nothing in memory that it depends on. Each of its transactions looks for what
//	     is due in the version that it starts from, and removes some of it, as a Delete would. So it
//	     may end, or stand still, anywhere; that there is one (format.Live.Remover) only saves work.
//
// Start reading at Clock, then Remover.Look.
package expiry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/view"
)

// Clock is the clock of a space as one process has it. It implements edit.Clock.
type Clock struct {
	m    *member.Member
	wall func() int64
	own  atomic.Uint64 // the mark of a guest, which may not write what others share
}

// Init sets it up for a member that is about to open the space. wall tells the wall clock,
// nanoseconds since 1970; nil: the machine's.
func (c *Clock) Init(m *member.Member, wall func() int64) {
	if c.m, c.wall = m, wall; wall == nil {
		c.wall = func() int64 { return time.Now().UnixNano() }
	}
}

// mark returns the word that has the mark.
func (c *Clock) mark() *atomic.Uint64 {
	if c.m.Guest {
		return &c.own
	}
	return &c.m.Live.Words().Passed
}

// settling is the bit of the mark that says that it is about to go back. The rest of the word are
// nanoseconds.
const settling = 1 << 63

// Now implements edit.Clock.
func (c *Clock) Now() int64 { return max(c.wall(), int64(c.mark().Load()&^settling)) }

// Passed implements edit.Clock. It takes the bit away.
func (c *Clock) Passed(instant int64) {
	at, mark := uint64(max(instant, 0)), c.mark()
	for old := mark.Load(); old&settling != 0 || old < at; old = mark.Load() {
		if mark.CompareAndSwap(old, max(old&^settling, at)) {
			return
		}
	}
}

// A transaction of the remover has the writer lock for a fraction of a millisecond. If others
// write, it waits for several times as long before the next one.
const (
	removeTime = 100 * time.Microsecond
	checkEach  = 4 // entries
	giveWay    = 3 // times as long as it has written
	retryAfter = time.Second
)

// Remover removes what has expired, for one process.
type Remover struct {
	*member.Member
	durable *durable.Writer
	store   *edit.Store
	clock   *Clock
	// Change runs fn in a transaction of its own, with the address of the state that this starts
	// from, and returns the version that it has published.
	Change func(ctx context.Context, fn func(tx *edit.Editor, base format.Addr) error) (format.Version, error)

	mu      sync.Mutex
	running bool
	next    time.Time // before that none begins

	last format.Version // that removeAll has published

	settles sync.Mutex // of who settles, in this process

	// Of the goroutine that looks.
	seen format.Version // that was looked at last
	due  int64          // the first instant in it; 0: none
}

// Init sets it up for a member that is about to open the space. Change is still to be set.
func (r *Remover) Init(m *member.Member, d *durable.Writer, store *edit.Store, c *Clock) {
	r.Member, r.durable, r.store, r.clock = m, d, store, c
}

// Look begins, for who has a guard, to remove what has expired, if there is anything. It is called now and then; while no
// version is new and nothing is due it costs a look at a word and at the clock.
func (r *Remover) Look() error {
	v, err := view.Newest(r.Member, r.store)
	if err != nil {
		return err
	}
	defer v.Drop()
	if v.Version() != r.seen {
		if r.due, err = firstDue(&v.Editor); err != nil {
			return err
		}
		r.seen = v.Version()
	}
	if r.due == 0 && r.clock.mark().Load() == 0 || !r.wanted() || r.durable.Refused() != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || time.Now().Before(r.next) {
		return nil
	}
	r.running = true
	ctx, cancel := context.WithCancel(context.Background())
	r.Done.Add(2)
	go func() { // waiting for the writer lock ends with the space
		defer r.Done.Done()
		select {
		case <-r.Quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer r.Done.Done()
		defer cancel()
		err := r.Guarded(func() error { return r.claimed(ctx) })
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running = false
		if err != nil && ctx.Err() == nil {
			r.next = time.Now().Add(retryAfter)
			r.Note(err)
		}
	}()
	return nil
}

// wanted reports whether something is due, or the mark is ahead of the wall clock.
func (r *Remover) wanted() bool {
	return r.due != 0 && r.due <= r.clock.Now() || int64(r.clock.mark().Load()&^settling) > r.clock.wall()
}

// firstDue returns the first instant at which an entry of a version expires, or has expired; 0: none does.
func firstDue(ed *edit.Editor) (first int64, err error) {
	maps, err := indexing.ExpiringMaps(ed)
	for _, id := range maps {
		if ed.IsGone(id.Index()) {
			continue
		}
		at, err := indexing.NextGone(ed, id)
		if err != nil {
			return 0, err
		}
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return first, err
}

// claimed removes, unless another process does, as far as can be said (EX8).
func (r *Remover) claimed(ctx context.Context) error {
	w, me := r.Live.Words(), uint64(r.Live.Incarnation())
	for {
		other := w.Remover.Load()
		if other != 0 && other != me && r.Moves(format.Incarnation(other)) {
			return nil
		}
		if w.Remover.CompareAndSwap(other, me) {
			break
		}
	}
	defer w.Remover.CompareAndSwap(me, 0)
	invariant.Point("expire.claimed")
	return r.tidy(ctx)
}

// Tidy removes all that has expired, and lets the mark go back if it can. It is for tests.
func (r *Remover) Tidy(ctx context.Context) error {
	return r.Guarded(func() error { return r.tidy(ctx) })
}

func (r *Remover) tidy(ctx context.Context) error {
	if err := r.removeAll(ctx); err != nil {
		return err
	}
	return r.settle()
}

// removeAll removes all that has expired.
func (r *Remover) removeAll(ctx context.Context) error {
	for {
		began, more, contended := time.Now(), false, r.Queue.Contended()
		var base, published format.Version
		published, err := r.Change(ctx, func(tx *edit.Editor, _ format.Addr) (err error) {
			base = tx.Version()
			if more, err = removeSome(tx); err == nil {
				invariant.Point("expire.removed")
			}
			return err
		})
		if err != nil && !errors.Is(err, failure.ErrSuspended) { // then nothing was removed
			return err
		}
		if err == nil && !more {
			return nil
		}
		others := base != r.last || contended != r.Queue.Contended() // who waits has published nothing yet
		r.last = published
		if err := r.pause(ctx, time.Since(began), others); err != nil {
			return err
		}
	}
}

// removeSome removes some of what has expired, and reports whether there is more.
func removeSome(tx *edit.Editor) (more bool, err error) {
	maps, err := indexing.ExpiringMaps(tx)
	if err != nil {
		return false, err
	}
	began, n := time.Now(), 0
	stop := func(int) bool {
		n++
		return n%checkEach == 0 && time.Since(began) > removeTime
	}
	for _, id := range maps {
		if tx.IsGone(id.Index()) {
			continue
		}
		if _, more, err = indexing.RemoveGone(tx, id, stop); err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// settle lets the mark go back if it is ahead of the wall clock, and nobody else is about to do so (EX3).
func (r *Remover) settle() error {
	mark, w, me := r.clock.mark(), r.Live.Words(), uint64(r.Live.Incarnation())
	at := mark.Load() &^ settling
	if int64(at) <= r.clock.wall() || !r.settles.TryLock() {
		return nil
	}
	defer r.settles.Unlock()
	if other := w.Settler.Load(); r.Live.Alive(format.Incarnation(other)) || !w.Settler.CompareAndSwap(other, me) {
		return nil
	}
	defer w.Settler.CompareAndSwap(me, 0)
	v, err := view.Newest(r.Member, r.store)
	if err != nil {
		return err
	}
	defer v.Drop()
	if old := mark.Load(); old&^settling != at || !mark.CompareAndSwap(old, at|settling) {
		return nil
	}
	invariant.Point("expire.marked")
	if r.Live.Current() != v.Held() {
		return nil
	}
	due, err := firstDue(&v.Editor)
	if err != nil || due != 0 && due <= int64(at) {
		return err
	}
	invariant.Point("expire.settling")
	mark.CompareAndSwap(at|settling, uint64(max(r.clock.wall(), 0)))
	return nil
}

// pause lets others write.
func (r *Remover) pause(ctx context.Context, wrote time.Duration, others bool) error {
	if !others {
		wrote = 0
	}
	timer := time.NewTimer(giveWay * wrote)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
