//go:build unix

package spacetest

import (
	"fmt"

	"github.com/everheap/everheap"
)

// The log of a bank is a sorted map. Each transaction adds itself, and sometimes removes old
// transactions of its child. So in every version the log has the newest transactions of each
// child, in order and without a gap.
type bankLog = everheap.Sorted[logKey, uint64]

// logKey names a transaction.
type logKey struct {
	Child int
	N     uint64
}

// bankLogged is how many transactions of a child are in the log at most.
const bankLogged = 600

// logIn adds a transaction of a child to the log. If the child then has too many, logIn
// removes the older half.
func (b Bank) logIn(tx *everheap.Tx, id int, n uint64) error {
	if err := b.log.Set(tx, logKey{id, n}, n*n); err != nil {
		return err
	}
	from, to := everheap.Including(logKey{Child: id}), everheap.Excluding(logKey{Child: id + 1})
	if b.log.Rank(tx, logKey{Child: id + 1})-b.log.Rank(tx, logKey{Child: id}) <= bankLogged {
		return nil
	}
	left := bankLogged / 2
	for k := range b.log.Range(tx, from, to) {
		if _, err := b.log.Delete(tx, k); err != nil {
			return err
		}
		if left--; left == 0 {
			break
		}
	}
	return nil
}

// auditLog verifies the log. owns has the children's counters.
func (b Bank) auditLog(tx *everheap.Tx, owns map[string]uint64) error {
	last := map[int]uint64{}
	count, before := 0, logKey{}
	for k, v := range b.log.All(tx) {
		if k.Child < before.Child || *v != k.N*k.N || k.Child == before.Child && k.N != before.N+1 && count > 0 {
			return fmt.Errorf("version %d: entry %d of the log is %v with %d, after %v", tx.Version(), count, k, *v, before)
		}
		if count%97 == 0 && b.log.Rank(tx, k) != count {
			return fmt.Errorf("version %d: entry %d of the log is %v, whose rank is %d", tx.Version(), count, k, b.log.Rank(tx, k))
		}
		count, before = count+1, k
		last[k.Child] = k.N
	}
	if n, err := b.log.Len(tx); err != nil || n != count {
		return fmt.Errorf("version %d: the log has %d entries, and says %d (%v)", tx.Version(), count, n, err)
	}
	for child, n := range last {
		if owns[Own(child)] != n {
			return fmt.Errorf("version %d: the log ends with transaction %d of child %d, whose counter is %d", tx.Version(), n, child, owns[Own(child)])
		}
	}
	return nil
}
