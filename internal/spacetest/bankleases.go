//go:build unix

package spacetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/everheap/everheap"
)

// The leases of a bank expire, by the clock of the machine, a moment after a transaction
// gives them; the map terms says when each lease expires. Processes remove expired leases
// meanwhile. The last notes expire some time after they were stored or touched.
type bankLeases struct {
	given everheap.Map[logKey, bankLease]
	terms everheap.Map[logKey, bankTerm] // the last lease of each key
	last  everheap.Sorted[logKey, uint64]
}

// bankLease is a lease that a transaction has given.
type bankLease struct {
	Holder string `everheap:"unique"`
	N      uint64
	Until  time.Time `everheap:"expires"`
}

// bankTerm says when a lease expires.
type bankTerm struct {
	N     uint64
	Until time.Time
}

const (
	bankLeased = 16 // keys of each child
	bankHeld   = 8  // holders of each child: half as many
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

// lease is a transaction's change of the leases: it gives one, unless the holder has one.
func (b Bank) lease(tx *everheap.Tx, id int, n uint64, r *rand.Rand) error {
	l, begin := &b.leases, time.Now() // the transaction's time is not before begin, however long the process stands still
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
		return fmt.Errorf("lease %d of child %d was given, although its holder has one until %v", n, id, term.Until)
	case errors.Is(err, everheap.ErrDuplicate):
		if failed != nil || term.Until.Before(begin) {
			return fmt.Errorf("lease %d of child %d was refused, although the one until %v has expired (%w)", n, id, term.Until, err)
		}
		return nil
	case err != nil:
		return err
	}
	return l.terms.Set(tx, key, bankTerm{n, v.Until})
}

// auditLeases verifies that exactly the leases which have not expired are found. owns has
// the children's counters.
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
			return fmt.Errorf("version %d: the lease %v until %v is missing at %v", tx.Version(), key, term.Until, time.Now())
		case p == nil:
			continue
		case !p.Until.After(begin) || p.N != term.N || !p.Until.Equal(term.Until):
			return fmt.Errorf("version %d: at %v lease %d until %v is found, but %d until %v was given", tx.Version(), begin, p.N, p.Until, term.N, term.Until)
		}
		there++
		if k, q := holders.Peek(tx, p.Holder); k != key || q != p {
			return fmt.Errorf("version %d: the index has lease %v, not %v", tx.Version(), k, key)
		}
	}
	n, err := l.given.Len(tx)
	if err != nil || n != there || holders.Len(tx) != n {
		return fmt.Errorf("version %d: %d leases are found, Len says %d, and %d are in the index (%v)", tx.Version(), there, n, holders.Len(tx), err)
	}
	n = 0
	for key, v := range l.last.All(tx) {
		if n++; *v%bankLeased != key.N || *v > owns[Own(key.Child)] {
			return fmt.Errorf("version %d: %v was noted with %d, the counter is %d", tx.Version(), key, *v, owns[Own(key.Child)])
		}
	}
	if m, err := l.last.Len(tx); err != nil || m != n {
		return fmt.Errorf("version %d: %d notes are found, Len says %d (%v)", tx.Version(), n, m, err)
	}
	return nil
}
