package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
)

// A deed is one running transaction of an owner. It keeps the owner's state up to date with each
// change.
type deed struct {
	world
	tx    *everheap.Tx
	st    *State
	cards cards
	owner uint32
	seq   uint64
	r     *rand.Rand
}

// kinds are the changes that a transaction may consist of. Removals are as frequent as additions, so
// that the space keeps its size.
var kinds = []func(*deed) error{
	(*deed).blobSet, (*deed).blobSet, (*deed).blobTwice, (*deed).blobDelete, (*deed).blobModify,
	(*deed).indexSet, (*deed).indexSet, (*deed).indexDelete, (*deed).indexCut,
	(*deed).listAppend, (*deed).listSet, (*deed).listPop, (*deed).listTruncate,
	(*deed).chainPush, (*deed).chainPush, (*deed).chainCut, (*deed).chainModify, (*deed).chainSide,
	(*deed).nestSet, (*deed).nestSet, (*deed).nestDelete, (*deed).nestDrop,
	(*deed).cardSet, (*deed).cardSet, (*deed).cardDelete,
	(*deed).transfer, (*deed).transfer, (*deed).transfer,
}

// removals are the kinds that make room.
var removals = []func(*deed) error{(*deed).blobDelete, (*deed).indexDelete, (*deed).indexCut, (*deed).listTruncate, (*deed).chainCut, (*deed).nestDrop, (*deed).cardDelete}

// errAborted ends a transaction that must leave nothing behind.
var errAborted = errors.New("chaos: the transaction ends without a commit")

// add notes a new value; drop notes a removed one.
func (d *deed) add(p place, key string, sum uint64) {
	d.st.Count[p]++
	d.st.Digest[p] += mix(p, key, sum)
}

func (d *deed) drop(p place, key string, sum uint64) {
	d.st.Count[p]--
	d.st.Digest[p] -= mix(p, key, sum)
}

// dropped verifies a value that is about to be replaced or removed, and notes it.
func (d *deed) dropped(p place, key string, it *Item) error {
	if it == nil {
		return nil
	}
	d.drop(p, key, it.Sum)
	return it.verify(p, key, d.owner)
}

func (d *deed) item(p place, key string) Item {
	it := newItem(p, key, d.owner, d.seq, d.r)
	d.add(p, key, it.Sum)
	return it
}

func (d *deed) blobKey() string {
	n := d.r.IntN(24)
	return fmt.Sprintf("o%d/%s%d", d.owner, strings.Repeat("blob ", n%7), n)
}

func (d *deed) blobSet() error {
	key := d.blobKey()
	if err := d.dropped(inBlobs, key, d.blobs.Peek(d.tx, key)); err != nil {
		return err
	}
	return d.blobs.Set(d.tx, key, d.item(inBlobs, key))
}

// blobTwice sets one key again and again in one transaction, and removes it in some.
func (d *deed) blobTwice() error {
	key := d.blobKey()
	for range 2 + d.r.IntN(2) {
		if err := d.dropped(inBlobs, key, d.blobs.Peek(d.tx, key)); err != nil {
			return err
		}
		if err := d.blobs.Set(d.tx, key, d.item(inBlobs, key)); err != nil {
			return err
		}
	}
	return nil
}

func (d *deed) blobDelete() error {
	key := d.blobKey()
	old := d.blobs.Peek(d.tx, key)
	if err := d.dropped(inBlobs, key, old); err != nil {
		return err
	}
	return d.removed(old != nil)(d.blobs.Delete(d.tx, key))
}

// removed compares the result of a removal with an earlier lookup.
func (d *deed) removed(was bool) func(bool, error) error {
	return func(removed bool, err error) error {
		if err == nil && removed != was {
			err = fmt.Errorf("a key was there: %v; it was removed: %v", was, removed)
		}
		return err
	}
}

func (d *deed) blobModify() error {
	key := d.blobKey()
	return d.blobs.Upsert(d.tx, key, func(v *Item, found bool) error {
		if found {
			if err := d.dropped(inBlobs, key, v); err != nil {
				return err
			}
		}
		*v = d.item(inBlobs, key)
		return nil
	})
}

func (d *deed) indexKey() Place {
	n := d.r.Uint64N(60)
	return Place{d.owner, n * n, strings.Repeat("key", int(n%5))}
}

func (d *deed) indexSet() error {
	key := d.indexKey()
	if err := d.dropped(inIndex, key.text(), d.index.Peek(d.tx, key)); err != nil {
		return err
	}
	return d.index.Set(d.tx, key, d.item(inIndex, key.text()))
}

func (d *deed) indexDelete() error {
	key := d.indexKey()
	old := d.index.Peek(d.tx, key)
	if err := d.dropped(inIndex, key.text(), old); err != nil {
		return err
	}
	return d.removed(old != nil)(d.index.Delete(d.tx, key))
}

// indexCut removes some consecutive keys, while it walks over them.
func (d *deed) indexCut() error {
	n := 0
	for key, old := range d.index.Range(d.tx, everheap.Including(d.indexKey()), everheap.Excluding(Place{Owner: d.owner + 1})) {
		if err := d.dropped(inIndex, key.text(), old); err != nil {
			return err
		}
		if err := d.removed(true)(d.index.Delete(d.tx, key)); err != nil {
			return err
		}
		if n++; n == 5 {
			break
		}
	}
	return nil
}

func (d *deed) listAppend() error {
	if d.st.List.IsNil() {
		var err error
		if d.st.List, err = everheap.NewList[Item](d.tx); err != nil {
			return err
		}
	}
	n, err := d.st.List.Len(d.tx)
	if err != nil || n > 60 {
		return err
	}
	more := make([]Item, 1+d.r.IntN(4))
	for i := range more {
		more[i] = newItem(inList, "", d.owner, d.seq, d.r)
		d.add(inList, strconv.Itoa(n+i), more[i].Sum)
	}
	return d.st.List.Append(d.tx, more...)
}

// listPick chooses an element; -1 if there is none.
func (d *deed) listPick() (i int, err error) {
	if d.st.List.IsNil() {
		return -1, nil
	}
	n, err := d.st.List.Len(d.tx)
	if err != nil || n == 0 {
		return -1, err
	}
	return d.r.IntN(n), nil
}

// listDrop verifies and notes an element that is removed.
func (d *deed) listDrop(i int, it *Item) error {
	if it == nil {
		return fmt.Errorf("the list of owner %d lacks the element %d", d.owner, i)
	}
	d.drop(inList, strconv.Itoa(i), it.Sum)
	return it.verify(inList, "", d.owner)
}

func (d *deed) listSet() error {
	i, err := d.listPick()
	if err != nil || i < 0 {
		return err
	}
	it := newItem(inList, "", d.owner, d.seq, d.r)
	if i%2 == 0 {
		if err := d.listDrop(i, d.st.List.Peek(d.tx, i)); err != nil {
			return err
		}
		err = d.st.List.Set(d.tx, i, it)
	} else {
		err = d.st.List.Modify(d.tx, i, func(v *Item) error {
			if err := d.listDrop(i, v); err != nil {
				return err
			}
			*v = it
			return nil
		})
	}
	d.add(inList, strconv.Itoa(i), it.Sum)
	return err
}

func (d *deed) listPop() error {
	i, err := d.listPick()
	if err != nil || i < 0 {
		return err
	}
	n, err := d.st.List.Len(d.tx)
	if err != nil {
		return err
	}
	last, err := d.st.List.Pop(d.tx)
	if err != nil {
		return err
	}
	return d.listDrop(n-1, &last)
}

func (d *deed) listTruncate() error {
	at, err := d.listPick()
	if err != nil || at < 0 {
		return err
	}
	n, err := d.st.List.Len(d.tx)
	if err != nil {
		return err
	}
	for i := at; i < n; i++ {
		if err := d.listDrop(i, d.st.List.Peek(d.tx, i)); err != nil {
			return err
		}
	}
	return d.st.List.Truncate(d.tx, at)
}

func (d *deed) cardKey() string { return fmt.Sprintf("o%d/card %d", d.owner, d.r.IntN(20)) }

func (d *deed) cardSet() error {
	key := d.cardKey()
	old, err := d.cards.get(d.tx, key)
	if err == nil {
		err = d.cardDrop(key, old)
	} else if errors.Is(err, everheap.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	c := newCard(key, d.owner, d.seq)
	d.add(inCards, key, c.Sum)
	return d.cards.set(d.tx, key, c)
}

func (d *deed) cardDrop(key string, old Card1) error {
	d.drop(inCards, key, old.Sum)
	if old.Owner != d.owner || old.Sum != old.sum(key) {
		return fmt.Errorf("card %q: owner %d, transaction %d, sum %#x, and it says %#x", key, old.Owner, old.Seq, old.sum(key), old.Sum)
	}
	return nil
}

func (d *deed) cardDelete() error {
	key := d.cardKey()
	old, err := d.cards.get(d.tx, key)
	if errors.Is(err, everheap.ErrNotFound) {
		return d.removed(false)(d.cards.remove(d.tx, key))
	}
	if err == nil {
		err = d.cardDrop(key, old)
	}
	if err != nil {
		return err
	}
	return d.removed(true)(d.cards.remove(d.tx, key))
}

// transfer moves an amount between two of the accounts, in whichever structures.
func (d *deed) transfer() error {
	amount := d.r.Int64N(deposit)
	if err := d.pay(-amount); err != nil {
		return err
	}
	return d.pay(amount)
}

func (d *deed) pay(amount int64) error {
	change := func(v *int64) error { *v += amount; return nil }
	account := uint16(d.r.IntN(accounts))
	switch d.r.IntN(3) {
	case 0:
		return d.accounts.Modify(d.tx, account, change)
	case 1:
		v, err := d.savings.Get(d.tx, account)
		if err != nil {
			return err
		}
		return d.savings.Set(d.tx, account, v+amount)
	default:
		return d.vault.Modify(d.tx, func(v *Vault) error {
			v.Amount += amount
			v.Last = fmt.Sprint(d.owner, " in ", d.seq)
			return nil
		})
	}
}
