// Package expiry has the clock by which entries of maps expire, and removes entries that have
// expired.
//
// An entry expires at an instant: the one in a field of its value, or a time to live after it was
// stored. From then on no transaction sees it, whether it was removed or not. To find entries that
// are due, each map whose entries expire has a tree of instants and keys, which is kept like an
// index (package indexing). In the background one process removes due entries, in small
// transactions.
//
// Terms: the time of a transaction is the time by which it decides whether entries have expired.
// The clock of a space is the wall clock of the machine, in nanoseconds since 1970, but never
// earlier than the mark: a word that all processes share, 0 at first.
//
// Invariants:
//
//	EX1  A transaction has one time, that of its clock when it first needs it. It sees an entry
//	     whose instant is later, or that has none. The time to live of an entry that it stores
//	     begins at that time. A transaction that touches no map whose entries expire calls no
//	     clock. (edit.Editor.Time, indexing.isPast)
//	EX2  Before a transaction learns that an entry is gone, the mark is at the instant of the
//	     entry, or later. So every later call of the clock, in any process, returns a time at
//	     which the entry is gone as well, even if the wall clock was set back.
//	     (indexing.expiring.gone, Clock.Passed)
//	EX3  The mark goes back to the wall clock only when no transaction can notice. One settler at
//	     a time lets it go back; another process may settle once that one has ended or died. The
//	     settler holds the newest version; sets a bit of the mark; checks that the version still
//	     is the newest, and that no entry in it is due at the mark; and changes the mark if the
//	     bit is still set. A transaction clears the bit before it learns that an entry is gone,
//	     and only a settler sets it. So if a transaction has learnt that an entry is gone, either
//	     that version no longer has the entry, which was removed; or the transaction learnt it
//	     after the bit was set, and the mark stays. While a settler is suspended the mark stays as
//	     well: the clock of the space then waits for the wall clock, but no process waits for the
//	     settler. So if somebody sets the wall clock forward by mistake, and back, entries due by
//	     it expire once, and entries stored afterwards do not. (Clock.Passed, Remover.settle)
//	EX4  The tree of due entries has, in every version, the instants of all entries of its map
//	     that have one, and no others (IX1 says so of trees in general). So expired entries can be
//	     found and counted without a look at the others.
//	EX5  A comparison looks at two versions at two instants, the second of which is not earlier. A
//	     difference is an entry that is visible in one of them only, or visible in both and not
//	     equal. So a watch reports once that an entry is gone: when its time has come or when it
//	     was removed, whichever the watch sees first. (indexing.Keeper.Seen)
//	EX6  The instant of an entry changes only when its block changes, or when a new declaration
//	     says how entries expire, which makes another tree. So versions with the same block and
//	     the same tree agree on the instant. (edit.Editor.Prolong, indexing.between)
//	EX7  Expired entries are removed before a new declaration makes them expire later, and before
//	     the end of one makes them stay: so they do not come back. They are also removed before a
//	     unique index is built: so they do not conflict with others.
//	EX8  The remover relies on nothing in its memory. Each of its transactions looks for due
//	     entries in its base, and removes some of them, as Delete would. So it may end, or be
//	     suspended, anywhere. Running only one (format.Live.Remover) just saves work.
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

// Clock is the clock of a space in one process. It implements edit.Clock.
type Clock struct {
	m    *member.Member
	wall func() int64
	own  atomic.Uint64 // the mark of a guest, which may not write the shared word
}

// Init prepares c for a member that is about to open the space. wall returns the wall clock in
// nanoseconds since 1970; nil means the machine's.
func (c *Clock) Init(m *member.Member, wall func() int64) {
	if c.m, c.wall = m, wall; wall == nil {
		c.wall = func() int64 { return time.Now().UnixNano() }
	}
}

// mark returns the word with the mark.
func (c *Clock) mark() *atomic.Uint64 {
	if c.m.Guest {
		return &c.own
	}
	return &c.m.Live.Words().Passed
}

// settling is the bit of the mark that a settler sets before the mark goes back. The other bits are
// nanoseconds.
const settling = 1 << 63

// Now implements edit.Clock.
func (c *Clock) Now() int64 { return max(c.wall(), int64(c.mark().Load()&^settling)) }

// Passed implements edit.Clock. It clears the bit.
func (c *Clock) Passed(instant int64) {
	at, mark := uint64(max(instant, 0)), c.mark()
	for old := mark.Load(); old&settling != 0 || old < at; old = mark.Load() {
		if mark.CompareAndSwap(old, max(old&^settling, at)) {
			return
		}
	}
}

// A transaction of the remover has the writer lock for a fraction of a millisecond. If other
// processes write, the remover waits several times as long before its next one.
const (
	removeTime = 100 * time.Microsecond
	checkEach  = 4 // entries removed between looks at the clock
	giveWay    = 3 // the pause is so many times as long as the transaction took
	retryAfter = time.Second
)

// Remover is one process's part in removing expired entries.
type Remover struct {
	*member.Member
	durable *durable.Writer
	store   *edit.Store
	clock   *Clock
	// Change runs fn in a transaction of its own and passes the address of the base's state. It
	// returns the version that the transaction published.
	Change func(ctx context.Context, fn func(tx *edit.Editor, base format.Addr) error) (format.Version, error)

	mu      sync.Mutex
	running bool
	next    time.Time // no removal begins before this time

	last format.Version // the version that removeAll published last

	settles sync.Mutex // held by the settler of this process

	// Only the goroutine that calls Look uses these.
	seen format.Version // the version looked at last
	due  int64          // the first instant in seen; 0: none
}

// Init prepares r for a member that is about to open the space. The caller sets Change next.
func (r *Remover) Init(m *member.Member, d *durable.Writer, store *edit.Store, c *Clock) {
	r.Member, r.durable, r.store, r.clock = m, d, store, c
}

// Look begins to remove expired entries if there are any. The caller has a guard, and calls it from
// time to time. While there is no new version and nothing is due, it costs a load of a word and a
// call of the clock.
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
	go func() { // ends a wait for the writer lock when the space is closed
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

// wanted reports whether an entry is due, or the mark is later than the wall clock.
func (r *Remover) wanted() bool {
	return r.due != 0 && r.due <= r.clock.Now() || int64(r.clock.mark().Load()&^settling) > r.clock.wall()
}

// firstDue returns the first instant at which an entry of a version expires, or has expired; 0 if
// none does.
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

// claimed removes expired entries, unless it sees that another process does so (EX8).
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

// Tidy removes all expired entries, and lets the mark go back if possible. It is for tests.
func (r *Remover) Tidy(ctx context.Context) error {
	return r.Guarded(func() error { return r.tidy(ctx) })
}

func (r *Remover) tidy(ctx context.Context) error {
	if err := r.removeAll(ctx); err != nil {
		return err
	}
	return r.settle()
}

// removeAll removes all expired entries.
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
		if err != nil && !errors.Is(err, failure.ErrSuspended) { // after ErrSuspended nothing was removed
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

// removeSome removes some expired entries, and reports whether there are more.
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

// settle lets the mark go back if it is later than the wall clock, and no other settler is at work
// (EX3).
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
