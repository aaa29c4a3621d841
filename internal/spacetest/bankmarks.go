//go:build unix

package spacetest

import (
	"errors"
	"fmt"

	"github.com/everheap/everheap"
)

// The marks of a bank are a map with an index of each kind. Each transaction sets a mark of
// its child, sometimes removes another one, and tries a serial that the child has used,
// which the index must refuse. So in every version the indexes agree with the marks.
type bankMarks = everheap.Map[logKey, bankMark]

// bankMark is the mark of a transaction.
type bankMark struct {
	Serial string `everheap:"unique"`
	Child  int    `everheap:"index=Child,N"`
	N      uint64
	Words  []string `everheap:"index"`
}

// bankMarked is how many marks a child has at most.
const bankMarked = 24

// makeMark makes the mark of a transaction.
func makeMark(id int, n uint64) bankMark {
	m := bankMark{Serial: fmt.Sprint(id, ":", n), Child: id, N: n}
	for i := range n % 4 {
		m.Words = append(m.Words, fmt.Sprint("word", (n+i)%11))
	}
	return m
}

// mark sets the mark of a transaction of a child.
func (b Bank) mark(tx *everheap.Tx, id int, n uint64) error {
	key := func(n uint64) logKey { return logKey{id, n % bankMarked} }
	if err := b.marks.Set(tx, key(n), makeMark(id, n)); err != nil {
		return err
	}
	if n%3 == 0 {
		if _, err := b.marks.Delete(tx, key(n+bankMarked/2)); err != nil {
			return err
		}
	}
	if err := b.marks.Set(tx, key(n+1), makeMark(id, n)); !errors.Is(err, everheap.ErrDuplicate) {
		return fmt.Errorf("the serial of transaction %d of child %d was given twice (%v)", n, id, err)
	}
	return nil
}

// auditMarks verifies the marks and their indexes. owns has the children's counters.
func (b Bank) auditMarks(tx *everheap.Tx, owns map[string]uint64) error {
	all := everheap.Unbounded[string]()
	n, words := 0, 0
	for key, m := range b.marks.All(tx) {
		if want := makeMark(key.Child, m.N); fmt.Sprint(want) != fmt.Sprint(*m) || m.N%bankMarked != key.N || m.N > owns[Own(key.Child)] {
			return fmt.Errorf("version %d: mark %v is %v; the counter is %d", tx.Version(), key, *m, owns[Own(key.Child)])
		}
		n, words = n+1, words+len(m.Words)
	}
	serials, byChild := everheap.IndexOf[bankMark, string](b.marks, "Serial"), everheap.IndexOf[bankMark, int](b.marks, "Child,N")
	byWord := everheap.IndexOf[bankMark, string](b.marks, "Words")
	if x, y, z := serials.Len(tx), byChild.Len(tx), byWord.Len(tx); x != n || y != n || z != words {
		return fmt.Errorf("version %d: of %d marks with %d words %d, %d and %d are in the indexes", tx.Version(), n, words, x, y, z)
	}
	for serial, key := range serials.Values(tx, all, all) {
		if m := b.marks.Peek(tx, key); m == nil || m.Serial != serial {
			return fmt.Errorf("version %d: the index says that %v has the serial %q: %v", tx.Version(), key, serial, m)
		}
	}
	last := bankMark{}
	for key, m := range byChild.All(tx) {
		if m.Child < last.Child || m.Child == last.Child && m.N <= last.N && last.Serial != "" || b.marks.Peek(tx, key) != m {
			return fmt.Errorf("version %d: the index has mark %v after %v", tx.Version(), *m, last)
		}
		last = *m
	}
	return nil
}
