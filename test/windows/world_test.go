package windows

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/everheap/everheap"
)

// Item is a value with its place; its sum covers the place and the bytes.
type Item struct {
	Place string
	Body  []byte
	Sum   uint32
}

func (it *Item) sum() uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(it.Place)), crc32.IEEETable, it.Body)
}

// newItem makes an item for a place; one of twenty fills extents.
func newItem(place string, r *rand.Rand) Item {
	size := 10 + r.IntN(900)
	if r.IntN(20) == 0 {
		size = 40_000 + r.IntN(200_000)
	}
	it := Item{Place: place, Body: make([]byte, size)}
	for i := range it.Body {
		it.Body[i] = byte(size + i)
	}
	it.Sum = it.sum()
	return it
}

// verify returns an error if an item is not the one stored at the place.
func (it *Item) verify(place string) error {
	if it.Place != place || it.sum() != it.Sum {
		return fmt.Errorf("the item in %s says %q, with %d bytes of sum %#x, not %#x", place, it.Place, len(it.Body), it.sum(), it.Sum)
	}
	return nil
}

// Sizes of the collections.
const (
	accounts = 40
	fortune  = 100 // of each account
	keys     = 60
)

// world has the collections of the space.
type world struct {
	accounts everheap.Map[string, int]
	seqs     everheap.Map[string, int] // by process: its newest transaction
	items    everheap.Map[string, Item]
	sorted   everheap.Sorted[string, Item]
	list     everheap.List[Item]
	refs     everheap.Map[string, everheap.Ref[Item]]
}

// openWorld opens the collections, and fills new ones.
func openWorld(s *everheap.Space) (w *world, err error) {
	w = new(world)
	var errs [6]error
	w.accounts, errs[0] = everheap.OpenMap[string, int](s, "accounts")
	w.seqs, errs[1] = everheap.OpenMap[string, int](s, "seqs")
	w.items, errs[2] = everheap.OpenMap[string, Item](s, "items")
	w.sorted, errs[3] = everheap.OpenSorted[string, Item](s, "sorted")
	w.list, errs[4] = everheap.OpenList[Item](s, "list")
	w.refs, errs[5] = everheap.OpenMap[string, everheap.Ref[Item]](s, "refs")
	return w, errors.Join(errs[:]...)
}

// found fills the accounts.
func (w *world) found(tx *everheap.Tx) error {
	for i := range accounts {
		if err := w.accounts.Set(tx, fmt.Sprint("a", i), fortune); err != nil {
			return err
		}
	}
	return nil
}

// change changes some entries of each collection, in a transaction of a process.
func (w *world) change(tx *everheap.Tx, process string, seq int, r *rand.Rand) error {
	from, to, sum := fmt.Sprint("a", r.IntN(accounts)), fmt.Sprint("a", r.IntN(accounts)), r.IntN(10)
	key := fmt.Sprint("k", r.IntN(keys))
	errs := []error{
		w.accounts.Modify(tx, from, func(v *int) error { *v -= sum; return nil }),
		w.accounts.Modify(tx, to, func(v *int) error { *v += sum; return nil }),
		w.seqs.Set(tx, process, -1), // drops a block of this transaction
		w.seqs.Set(tx, process, seq),
	}
	for range 1 + r.IntN(3) {
		errs = append(errs, w.items.Set(tx, key, newItem(key, r)))
	}
	switch r.IntN(6) {
	case 0:
		_, err := w.items.Delete(tx, fmt.Sprint("k", r.IntN(keys)))
		errs = append(errs, err)
	case 1:
		errs = append(errs, w.sorted.Set(tx, key, newItem("/"+key, r)))
	case 2:
		_, err := w.sorted.Delete(tx, key)
		errs = append(errs, err)
	case 3:
		errs = append(errs, w.lengthen(tx, r))
	case 4:
		ref, err := everheap.New(tx, newItem("ref "+key, r))
		errs = append(errs, err, w.refs.Set(tx, key, ref)) // the replaced object becomes garbage
	case 5:
		_, err := w.refs.Delete(tx, key)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lengthen appends to the list, or cuts it.
func (w *world) lengthen(tx *everheap.Tx, r *rand.Rand) error {
	n, err := w.list.Len(tx)
	if err != nil {
		return err
	}
	if n > 80 {
		return w.list.Truncate(tx, r.IntN(n))
	}
	for i := n; i < n+1+r.IntN(9); i++ {
		if err := w.list.Append(tx, newItem(fmt.Sprint("[", i), r)); err != nil {
			return err
		}
	}
	return nil
}

// touch replaces every block of every collection: it stores each value again.
func (w *world) touch(tx *everheap.Tx) error {
	for i := range accounts {
		key := fmt.Sprint("a", i)
		v, err := w.accounts.Get(tx, key)
		for _, v := range []int{-1, v} {
			err = errors.Join(err, w.accounts.Set(tx, key, v))
		}
		if err != nil {
			return err
		}
	}
	for i := range keys {
		key := fmt.Sprint("k", i)
		if it, err := w.items.Get(tx, key); err == nil {
			if err := w.items.Set(tx, key, it); err != nil {
				return err
			}
		} else if !errors.Is(err, everheap.ErrNotFound) {
			return err
		}
		if it, err := w.sorted.Get(tx, key); err == nil {
			if err := w.sorted.Set(tx, key, it); err != nil {
				return err
			}
		} else if !errors.Is(err, everheap.ErrNotFound) {
			return err
		}
	}
	n, err := w.list.Len(tx)
	for i := 0; i < n && err == nil; i++ {
		var it Item
		if it, err = w.list.Get(tx, i); err == nil {
			err = w.list.Set(tx, i, it)
		}
	}
	return err
}

// audit verifies all values, and returns the newest transaction of each process.
func (w *world) audit(tx *everheap.Tx) (map[string]int, error) {
	total := 0
	for _, v := range w.accounts.All(tx) {
		total += *v
	}
	if total != accounts*fortune {
		return nil, fmt.Errorf("the accounts hold %d, not %d", total, accounts*fortune)
	}
	for key, it := range w.items.All(tx) {
		if err := it.verify(key); err != nil {
			return nil, err
		}
	}
	for key, it := range w.sorted.All(tx) {
		if err := it.verify("/" + key); err != nil {
			return nil, err
		}
	}
	for i, it := range w.list.All(tx) {
		if err := it.verify(fmt.Sprint("[", i)); err != nil {
			return nil, err
		}
	}
	for key, ref := range w.refs.All(tx) {
		if err := ref.Peek(tx).verify("ref " + key); err != nil {
			return nil, err
		}
	}
	seqs := map[string]int{}
	for process, seq := range w.seqs.All(tx) {
		seqs[process] = *seq
	}
	return seqs, nil
}
