//go:build unix

package spacetest

import (
	"fmt"
	"maps"

	"github.com/everheap/everheap"
)

// Values of a bank with maps inside. A transaction replaces such a value as a whole, or
// changes a copy of it.

// bankOwned is such a value: both maps count how often each remainder came up in the child's
// transactions.
type bankOwned struct {
	N     uint64
	Fixed everheap.Dict[string, uint64]
	Free  map[string]uint64
}

// bankWords is the greatest number of keys in the maps.
const bankWords = 7

// makeOwned returns the value after n transactions.
func makeOwned(n uint64) bankOwned {
	v := bankOwned{N: n, Free: map[string]uint64{}}
	for i := range min(n, bankWords) {
		v.Free[fmt.Sprint("word ", i)] = (n - i + bankWords - 1) / bankWords
	}
	v.Fixed = everheap.DictOf(v.Free)
	return v
}

// own is a transaction's change of its child's value: every other transaction changes a
// copy, the others replace the value.
func (b Bank) own(tx *everheap.Tx, id int, n uint64) error {
	if n%2 == 0 {
		return b.owned.Set(tx, id, makeOwned(n))
	}
	return b.owned.Upsert(tx, id, func(v *bankOwned, found bool) error {
		if found && v.N != n-1 {
			return fmt.Errorf("before transaction %d of child %d its owned value is of transaction %d", n, id, v.N)
		}
		if v.Free == nil {
			v.Free = map[string]uint64{}
		}
		word := fmt.Sprint("word ", (n-1)%bankWords)
		v.N = n
		v.Free[word]++
		v.Fixed = v.Fixed.With(word, v.Free[word])
		return nil
	})
}

// auditOwned verifies the children's values. owns has their counters.
func (b Bank) auditOwned(tx *everheap.Tx, owns map[string]uint64) error {
	seen := 0
	for id, v := range b.owned.Copies(tx) {
		seen++
		want := makeOwned(owns[Own(id)])
		if v.N != want.N || !maps.Equal(v.Free, want.Free) || !maps.Equal(v.Fixed.Map(), want.Free) {
			return fmt.Errorf("version %d: child %d owns %v and %v of %d transactions, want %v of %d", tx.Version(), id, v.Free, v.Fixed.Map(), v.N, want.Free, want.N)
		}
	}
	if seen != len(owns) {
		return fmt.Errorf("version %d: %d of %d children have an owned value", tx.Version(), seen, len(owns))
	}
	return nil
}
