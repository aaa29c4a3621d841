//go:build unix

package spacetest

import (
	"fmt"
	"maps"

	"github.com/everheap/everheap"
)

// What a bank's transactions own: values with maps in them, which are replaced whole, or changed by copies.

// bankOwned is such a value: both maps say how often the child had which remainder, as far as its counter says.
type bankOwned struct {
	N     uint64
	Fixed everheap.Dict[string, uint64]
	Free  map[string]uint64
}

// bankWords is how many keys the maps have, at most.
const bankWords = 7

// makeOwned makes the value after n transactions.
func makeOwned(n uint64) bankOwned {
	v := bankOwned{N: n, Free: map[string]uint64{}}
	for i := range min(n, bankWords) {
		v.Free[fmt.Sprint("word ", i)] = (n - i + bankWords - 1) / bankWords
	}
	v.Fixed = everheap.DictOf(v.Free)
	return v
}

// own is what a transaction of a child does to its value: every other one changes what was there, the others replace it.
func (b Bank) own(tx *everheap.Tx, id int, n uint64) error {
	if n%2 == 0 {
		return b.owned.Set(tx, id, makeOwned(n))
	}
	return b.owned.Upsert(tx, id, func(v *bankOwned, found bool) error {
		if found && v.N != n-1 {
			return fmt.Errorf("before transaction %d of child %d what it owns is of %d", n, id, v.N)
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

// auditOwned verifies what the children own; their counters are given.
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
		return fmt.Errorf("version %d: %d children own something, of %d", tx.Version(), seen, len(owns))
	}
	return nil
}
