//go:build unix

package spacetest

import (
	"fmt"

	"github.com/everheap/everheap"
)

// The chains of a bank are objects without names. Each transaction of a child puts a link
// before the child's chain, and moves the chain's list to the new link. Sometimes it cuts
// the chain, and the rest becomes garbage. So in every version each chain has the newest
// transactions of its child, newest first, and the list ends with them.
type bankChains = everheap.Map[int, everheap.Ref[bankLink]]

// bankLink is a link of a chain.
type bankLink struct {
	N      uint64
	Before []everheap.Ref[bankLink] // the previous link, or empty
	List   everheap.List[uint64]    // of the first link only
}

const (
	bankCut   = 16 // a chain with this many links is cut
	bankLinks = 4  // this many links are left then
)

// addLink puts a link before the chain of a child.
func (b Bank) addLink(tx *everheap.Tx, id int, n uint64) error {
	link := bankLink{N: n}
	first, err := b.chains.Get(tx, id)
	switch {
	case IsNotFound(err):
		link.List, err = everheap.NewList[uint64](tx)
	case err == nil:
		link.Before = []everheap.Ref[bankLink]{first}
		err = first.Modify(tx, func(old *bankLink) error {
			link.List, old.List = old.List, everheap.List[uint64]{}
			return nil
		})
	}
	if err == nil && n%bankCut == 0 {
		if link.List, err = everheap.NewList[uint64](tx); err == nil { // the old list becomes garbage, too
			err = b.cut(tx, first)
		}
	}
	if err == nil {
		err = link.List.Append(tx, n)
	}
	if err == nil {
		first, err = everheap.New(tx, link)
	}
	if err == nil {
		err = b.chains.Set(tx, id, first)
	}
	return err
}

// cut cuts a chain after its first links.
func (b Bank) cut(tx *everheap.Tx, r everheap.Ref[bankLink]) error {
	for range bankLinks {
		l := r.Peek(tx)
		if len(l.Before) == 0 {
			return nil
		}
		r = l.Before[0]
	}
	return r.Modify(tx, func(l *bankLink) error { l.Before = nil; return nil })
}

// auditChains verifies the chains; the children's counters are given.
func (b Bank) auditChains(tx *everheap.Tx, owns map[string]uint64) error {
	found := 0
	for id, r := range b.chains.All(tx) {
		found++
		n := owns[Own(id)]
		first := r.Peek(tx)
		list := first.List
		links := uint64(0)
		for l := first; ; l = l.Before[0].Peek(tx) {
			if l.N != n-links || links > 0 && !l.List.IsNil() {
				return fmt.Errorf("version %d: link %d of the chain of child %d is of transaction %d, the counter is %d", tx.Version(), links, id, l.N, n)
			}
			if links++; len(l.Before) == 0 {
				break
			}
		}
		if links < min(n, bankLinks) {
			return fmt.Errorf("version %d: the chain of child %d has %d links after %d transactions", tx.Version(), id, links, n)
		}
		length, err := list.Len(tx)
		if err != nil || length == 0 {
			return fmt.Errorf("version %d: the list of child %d has %d elements: %w", tx.Version(), id, length, err)
		}
		for i, v := range list.All(tx) {
			if *v != n-uint64(length-1-i) {
				return fmt.Errorf("version %d: element %d of %d of the list of child %d is %d, the counter is %d", tx.Version(), i, length, id, *v, n)
			}
		}
	}
	if found != len(owns) {
		return fmt.Errorf("version %d: %d chains of %d children", tx.Version(), found, len(owns))
	}
	return nil
}
