//go:build unix

package spacetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/everheap/everheap"
)

// The leases of a bank expire, by the clock of the machine, a moment after they are given; what lies
// beside them says until when they are there. Some process removes them meanwhile. What was
// noted last expires some time after it was stored or touched.
type bankLeases struct {
	given everheap.Map[logKey, bankLease]
	terms everheap.Map[logKey, bankTerm] // what was given last under each key
	last  everheap.Sorted[logKey, uint64]
}

// bankLease is a lease that a transaction has given.
type bankLease struct {
	Holder string `everheap:"unique"`
	N      uint64
	Until  time.Time `everheap:"expires"`
}

// bankTerm tells of a lease.
type bankTerm struct {
	N     uint64
	Until time.Time
}

const (
	bankLeased = 16 // keys of a child
	bankHeld   = 8  // holders of a child: half as many
	bankIdle   = 50 * time.Millisecond
)

// open opens the maps.
func (l *bankLeases) open(sc everheap.Scope) (err error) {
	if l.given, err = everheap.OpenMap[logKey, bankLease](sc, "leases"); err != nil {
		return err
	}
	if l.terms, err = everheap.OpenMap[logKey, bankTerm](sc, "terms"); err != nil {
		return err
	}
	l.last, err = everheap.OpenSorted[logKey, uint64](sc, "last", everheap.WithTTL(bankIdle))
	return err
}

// lease is what a transaction of a child does to the leases: it gives one, if the holder has none.
func (b Bank) lease(tx *everheap.Tx, id int, n uint64, r *rand.Rand) error {
	l, begin := &b.leases, time.Now() // the time of the transaction is not before it, however long it stands still
	if err := l.last.Set(tx, logKey{id, n % bankLeased}, n); err != nil {
		return err
	}
	if _, err := l.last.Touch(tx, logKey{id, (n + 3) % bankLeased}); err != nil || n%2 == 1 {
		return err
	}
	n /= 2
	key, other := logKey{id, n % bankLeased}, logKey{id, (n + bankHeld) % bankLeased}
	v := bankLease{fmt.Sprint(id, ":", n%bankHeld), n, time.Now().Add(time.Duration(r.IntN(200)) * time.Millisecond)}
	err := l.given.Set(tx, key, v)
	term, failed := l.terms.Get(tx, other)
	switch {
	case failed != nil && !errors.Is(failed, everheap.ErrNotFound):
		return failed
	case err == nil && failed == nil && term.Until.After(time.Now()) && v.Until.After(time.Now()):
		return fmt.Errorf("lease %d of child %d is given though its holder has one until %v", n, id, term.Until)
	case errors.Is(err, everheap.ErrDuplicate):
		if failed != nil || term.Until.Before(begin) {
			return fmt.Errorf("lease %d of child %d is refused, and that until %v has expired (%w)", n, id, term.Until, err)
		}
		return nil
	case err != nil:
		return err
	}
	return l.terms.Set(tx, key, bankTerm{n, v.Until})
}

// auditLeases verifies that what has expired is not there, and all else is; the children's
// counters are given.
func (b Bank) auditLeases(tx *everheap.Tx, owns map[string]uint64) error {
	l := &b.leases
	begin, there := time.Now(), 0
	holders := everheap.IndexOf[bankLease, string](l.given, "Holder")
	for key, term := range l.terms.All(tx) {
		p := l.given.Peek(tx, key)
		switch {
		case 2*term.N > owns[Own(key.Child)]:
			return fmt.Errorf("version %d: lease %v is of transaction %d, the counter is %d", tx.Version(), key, 2*term.N, owns[Own(key.Child)])
		case p == nil && term.Until.After(time.Now()):
			return fmt.Errorf("version %d: the lease %v until %v is gone at %v", tx.Version(), key, term.Until, time.Now())
		case p == nil:
			continue
		case !p.Until.After(begin) || p.N != term.N || !p.Until.Equal(term.Until):
			return fmt.Errorf("version %d: at %v there is lease %d until %v; %d until %v was given", tx.Version(), begin, p.N, p.Until, term.N, term.Until)
		}
		there++
		if k, q := holders.Peek(tx, p.Holder); k != key || q != p {
			return fmt.Errorf("version %d: the index leads to lease %v, not to %v", tx.Version(), k, key)
		}
	}
	n, err := l.given.Len(tx)
	if err != nil || n != there || holders.Len(tx) != n {
		return fmt.Errorf("version %d: %d leases are there, Len says %d, and %d are in the index (%v)", tx.Version(), there, n, holders.Len(tx), err)
	}
	n = 0
	for key, v := range l.last.All(tx) {
		if n++; *v%bankLeased != key.N || *v > owns[Own(key.Child)] {
			return fmt.Errorf("version %d: %v was noted with %d, the counter is %d", tx.Version(), key, *v, owns[Own(key.Child)])
		}
	}
	if m, err := l.last.Len(tx); err != nil || m != n {
		return fmt.Errorf("version %d: %d notes are there, Len says %d (%v)", tx.Version(), n, m, err)
	}
	return nil
}
