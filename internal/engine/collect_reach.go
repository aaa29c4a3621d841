package engine

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/trie"
	"github.com/everheap/everheap/internal/vector"
)

// indexSet is a set of indexes of objects, one bit each.
type indexSet struct{ pages []*indexPage }

type indexPage [512]uint64

const pageIndexes = 64 * uint64(len(indexPage{}))

// has reports whether an index is in the set.
func (s *indexSet) has(index uint64) bool {
	page := index / pageIndexes
	if page >= uint64(len(s.pages)) || s.pages[page] == nil {
		return false
	}
	return s.pages[page][index%pageIndexes/64]&(1<<(index%64)) != 0
}

// add adds an index and reports whether it was not in the set.
func (s *indexSet) add(index uint64) bool {
	page := index / pageIndexes
	for page >= uint64(len(s.pages)) {
		s.pages = append(s.pages, nil)
	}
	if s.pages[page] == nil {
		s.pages[page] = new(indexPage)
	}
	word, bit := &s.pages[page][index%pageIndexes/64], uint64(1)<<(index%64)
	isNew := *word&bit == 0
	*word |= bit
	return isNew
}

// remove takes an index that was added out of the set.
func (s *indexSet) remove(index uint64) {
	s.pages[index/pageIndexes][index%pageIndexes/64] &^= 1 << (index % 64)
}

// valueCells are the layouts of the blocks with values of one type.
type valueCells struct{ value, item *entry.Cell }

// keep puts an object into K. What it refers to is still to be put there: see drain. An
// index that is yet to be given is nobody's.
func (c *collector) keep(index uint64) {
	if index < c.next && c.kept.add(index) {
		c.todo = append(c.todo, index)
		if !c.marks {
			c.added = append(c.added, index)
		}
	}
}

// drain puts into K what the new members refer to in a version, transitively.
func (c *collector) drain(tx *Tx) error {
	for len(c.todo) > 0 {
		last := len(c.todo) - 1
		index := c.todo[last]
		c.todo = c.todo[:last]
		word, err := vector.Get(tx.reader, format.Link(tx.state.Table), index)
		if err == nil && word != 0 { // else a handle leads nowhere
			err = c.references(tx, index, format.Addr(word))
		}
		if err == nil {
			err = c.step()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// references puts into K what an object refers to in a version.
func (c *collector) references(tx *Tx, index uint64, a format.Addr) error {
	kind, p, err := c.open(tx, a)
	if err != nil {
		return err
	}
	switch kind {
	case format.KindMap, format.KindSorted:
		return c.entries(tx, index, kind, (*format.MapObject)(p))
	case format.KindList:
		return c.items(tx, (*format.ListObject)(p))
	case format.KindValue:
		typeIndex, _ := format.ValueType((*format.ValueObject)(p).Type)
		cells, err := c.cellsOf(tx, typeIndex)
		if err != nil || cells == nil {
			return err
		}
		return cells.value.Type.Handles(cells.value.ValueOf(p), tx.Bounds(p), c.meet)
	}
	return nil
}

// entries puts into K what the entries of a map refer to.
func (c *collector) entries(tx *Tx, index uint64, kind format.Kind, object *format.MapObject) error {
	sh, err := c.shapeOf(tx, index, object)
	if err != nil || sh == nil {
		return err
	}
	var failed error
	found := uint64(0)
	yield := func(e unsafe.Pointer) bool {
		found++
		if failed = c.entry(tx, index, sh, e); failed == nil {
			failed = c.step()
		}
		return failed == nil
	}
	if kind == format.KindSorted {
		err = btree.Range(tx.reader, format.Link(object.Root), sh, Bound{}, Bound{}, object.Count, false, yield)
	} else {
		_, err = trie.All(tx.reader, format.Link(object.Root), object.Count, yield)
	}
	if failed != nil {
		return failed
	}
	if err == nil && found != object.Count {
		err = &format.DamageError{File: HeapName, What: fmt.Sprintf("the map %d says %d entries, %d can be found", index, object.Count, found)}
	}
	return err
}

// entry puts into K what an entry refers to: by its handles; a name by the index that it
// stands for.
func (c *collector) entry(tx *Tx, index uint64, sh *entry.Shape, e unsafe.Pointer) error {
	if index == tx.state.Catalog {
		c.keep(*layout.Cast[uint64](sh.ValueOf(e)))
		return nil
	}
	bounds := tx.Bounds(e)
	err := sh.Key.Handles(sh.KeyOf(e), bounds, c.meet)
	if err == nil {
		err = sh.Value.Handles(sh.ValueOf(e), bounds, c.meet)
	}
	return err
}

// items puts into K what the elements of a list refer to.
func (c *collector) items(tx *Tx, object *format.ListObject) error {
	cells, err := c.cellsOf(tx, object.Value)
	if err != nil || cells == nil {
		return err
	}
	var failed error
	err = vector.All(tx.reader, format.Link(object.Root), object.Count, func(_, word uint64) bool {
		failed = c.item(tx, cells.item, format.Addr(word))
		return failed == nil
	})
	return joinFailure(err, failed)
}

// item puts into K what an element refers to.
func (c *collector) item(tx *Tx, cell *entry.Cell, a format.Addr) error {
	p, err := tx.reader.Payload(a, format.KindItem)
	if err == nil {
		err = cell.Type.Handles(cell.ValueOf(p), tx.Bounds(p), c.meet)
	}
	if err == nil {
		err = c.step()
	}
	return err
}

// shapeOf returns the layout of the entries of a map; nil if they refer to nothing.
func (c *collector) shapeOf(tx *Tx, index uint64, object *format.MapObject) (*entry.Shape, error) {
	switch index {
	case tx.state.Catalog:
		return c.sp.catalog, nil
	case tx.state.Types:
		return nil, nil
	}
	pair := [2]uint64{object.Key, object.Value}
	if sh, ok := c.pairs[pair]; ok {
		return sh, nil
	}
	key, err := tx.storedType(object.Key)
	if err != nil {
		return nil, err
	}
	value, err := tx.storedType(object.Value)
	if err != nil {
		return nil, err
	}
	var sh *entry.Shape
	if key.HasHandles() || value.HasHandles() {
		sh = c.sp.shape(key, value)
	}
	c.pairs[pair] = sh
	return sh, nil
}

// cellsOf returns the layouts of the blocks with values of a type; nil if they refer to
// nothing.
func (c *collector) cellsOf(tx *Tx, typeIndex uint64) (*valueCells, error) {
	if cells, ok := c.cells[typeIndex]; ok {
		return cells, nil
	}
	t, err := tx.storedType(typeIndex)
	if err != nil {
		return nil, err
	}
	var cells *valueCells
	if t.HasHandles() {
		cells = &valueCells{entry.NewValue(t, nil), entry.NewItem(t, nil)}
	}
	c.cells[typeIndex] = cells
	return cells, nil
}

// catchUp makes K, which fits the version P, fit a newer one, which takes the place of
// P then (G2). After an error K and P are what they were (G4).
func (c *collector) catchUp(now *Tx) error {
	c.added, c.next = c.added[:0], now.state.NextIndex
	err := diffObjects(c.prev, now, func(index uint64, before, after format.Addr) error {
		if after == 0 {
			return nil
		}
		if before != 0 && c.kept.has(index) {
			return c.changes(now, index, before, after)
		}
		if c.keep(index); before == 0 {
			c.todo = append(c.todo, index) // also if K had it: handles may have led nowhere
		}
		return c.step()
	})
	if now.state.Catalog != c.prev.state.Catalog {
		c.todo = append(c.todo, now.state.Catalog)
	}
	if err == nil {
		err = c.drain(now)
	}
	if err != nil {
		for _, index := range c.added {
			c.kept.remove(index)
		}
		c.todo = c.todo[:0]
		return err
	}
	c.prev.DropView()
	c.prev = now
	return nil
}

// changes puts into K what a member, which is another block than in P, refers to now and
// has not referred to in P.
func (c *collector) changes(now *Tx, index uint64, before, after format.Addr) error {
	wasKind, was, err := c.open(c.prev, before)
	if err != nil {
		return err
	}
	kind, p, err := c.open(now, after)
	if err != nil {
		return err
	}
	wasKey, wasValue, _ := contents(wasKind, was)
	if key, value, _ := contents(kind, p); kind != wasKind || key != wasKey || value != wasValue {
		return c.references(now, index, after) // its types have changed
	}
	var differences *comparison
	var each func(p pair) error
	switch kind {
	case format.KindMap, format.KindSorted:
		object := (*format.MapObject)(p)
		sh, err := c.shapeOf(now, index, object)
		if err != nil || sh == nil {
			return err
		}
		each = func(p pair) error { return c.entry(now, index, sh, p.now) }
		differences, err = compareMaps(c.prev, now, &Map{index: index, kind: kind, shape: sh}, object)
		if err != nil {
			return err
		}
	case format.KindList:
		object := (*format.ListObject)(p)
		cells, err := c.cellsOf(now, object.Value)
		if err != nil || cells == nil {
			return err
		}
		each = func(p pair) error {
			return cells.item.Type.Handles(cells.item.ValueOf(p.now), now.Bounds(p.now), c.meet)
		}
		differences, err = compareLists(c.prev, now, index, object, cells.item)
		if err != nil {
			return err
		}
	default:
		return c.references(now, index, after)
	}
	return c.inAll(differences, each)
}

// inAll calls each with what is new in a comparison.
func (c *collector) inAll(differences *comparison, each func(p pair) error) error {
	var failed error
	for more := differences != nil; more && failed == nil; {
		var err error
		more, err = differences.step(func(p pair) {
			if failed == nil && p.now != nil {
				failed = each(p)
			}
		})
		if failed = joinFailure(err, failed); failed == nil {
			failed = c.step()
		}
	}
	return failed
}
