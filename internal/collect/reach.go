package collect

import (
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/vector"
	"github.com/everheap/everheap/internal/view"
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

// remove removes an index that was added.
func (s *indexSet) remove(index uint64) {
	s.pages[index/pageIndexes][index%pageIndexes/64] &^= 1 << (index % 64)
}

// layoutOf names the objects that share a layout.
type layoutOf struct {
	kind       format.Kind
	key, value uint64 // as of object.Contents
}

// keep puts an object into K, and leaves its references to drain. An index that was not given out
// yet belongs to no object.
func (c *Collector) keep(index uint64) {
	if index < c.next && c.kept.add(index) {
		c.todo = append(c.todo, index)
		if !c.marks {
			c.added = append(c.added, index)
		}
	}
}

// drain puts into K, transitively, everything that its new members refer to in a version.
func (c *Collector) drain(tx *edit.Editor) error {
	for len(c.todo) > 0 {
		last := len(c.todo) - 1
		index := c.todo[last]
		c.todo = c.todo[:last]
		word, err := vector.Get(tx.Reader, format.Link(tx.State.Table), index)
		if err == nil && word != 0 { // otherwise the handle dangles
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

// references puts into K everything that an object refers to in a version.
func (c *Collector) references(tx *edit.Editor, index uint64, a format.Addr) error {
	kind, p, err := c.open(tx, a)
	if err != nil {
		return err
	}
	l, err := c.layout(tx, index, kind, p)
	if err != nil || l == nil {
		return err
	}
	c.holding = holding{tx, index, object.Of(kind), l}
	return c.holding.kind.Holders(tx.Reader, index, p, *l, c.each)
}

// holding is the object whose holders are being looked at.
type holding struct {
	tx     *edit.Editor
	index  uint64
	kind   object.Kind
	layout *object.Layout
}

// holder puts into K everything that a holder of the object refers to: by its handles, or, if it is
// an entry of the catalog, by the index in it.
func (c *Collector) holder(holder unsafe.Pointer) error {
	of := &c.holding
	if of.index == of.tx.State.Catalog {
		c.keep(*layout.Cast[uint64](of.layout.Shape.ValueOf(holder)))
	} else if err := of.kind.Handles(*of.layout, holder, of.tx.Bounds(holder), c.meet); err != nil {
		return err
	}
	return c.step()
}

// layout returns the layout of an object; nil if its values refer to nothing.
func (c *Collector) layout(tx *edit.Editor, index uint64, kind format.Kind, p unsafe.Pointer) (*object.Layout, error) {
	switch index {
	case tx.State.Catalog:
		return &object.Layout{Shape: c.of.store.Catalog}, nil
	case tx.State.Types:
		return nil, nil
	}
	of := layoutOf{kind: kind}
	of.key, of.value, _ = object.Contents(kind, p)
	if of == c.last.of {
		return c.last.layout, nil
	}
	if l, ok := c.layouts[of]; ok {
		c.last.of, c.last.layout = of, l
		return l, nil
	}
	about := object.Of(kind).About()
	var types [2]*layout.Type
	refers := about.Types == 0 && !about.First // otherwise its types decide
	for i, index := range [2]uint64{of.key, of.value} {
		if i < 2-about.Types {
			continue
		}
		t, err := tx.StoredType(index)
		if err != nil {
			return nil, err
		}
		types[i], refers = t, refers || t.HasHandles()
	}
	var l *object.Layout
	if refers {
		made := object.Of(kind).Layout(types[0], types[1], object.Maker{Shape: c.of.store.Shape})
		l = &made
	}
	c.layouts[of] = l
	return l, nil
}

// CatchUp makes K, which fits the version P, fit a newer version, which then becomes P (G2). After
// an error K and P are as before (G4).
func (c *Collector) CatchUp(now *view.View) error {
	c.added, c.next = c.added[:0], now.State.NextIndex
	err := DiffObjects(&c.prev.Editor, &now.Editor, func(index uint64, before, after format.Addr) error {
		if after == 0 {
			return nil
		}
		if before != 0 && c.kept.has(index) {
			return c.changes(now, index, before, after)
		}
		if c.keep(index); before == 0 {
			c.todo = append(c.todo, index) // even if K had it: some of its handles may have dangled
		}
		return c.step()
	})
	if now.State.Catalog != c.prev.State.Catalog {
		c.todo = append(c.todo, now.State.Catalog)
	}
	if err == nil {
		err = c.drain(&now.Editor)
	}
	if err != nil {
		for _, index := range c.added {
			c.kept.remove(index)
		}
		c.todo = c.todo[:0]
		return err
	}
	c.prev.Drop()
	c.prev = now
	return nil
}

// changes puts into K everything that a member with another block than in P refers to now and did
// not refer to in P.
func (c *Collector) changes(now *view.View, index uint64, before, after format.Addr) error {
	wasKind, was, err := c.open(&c.prev.Editor, before)
	if err != nil {
		return err
	}
	kind, p, err := c.open(&now.Editor, after)
	if err != nil {
		return err
	}
	wasKey, wasValue, _ := object.Contents(wasKind, was)
	key, value, _ := object.Contents(kind, p)
	if kind != wasKind || key != wasKey || value != wasValue || object.Of(kind).About().Whole {
		return c.references(&now.Editor, index, after) // its types have changed, or there is no comparison
	}
	l, err := c.layout(&now.Editor, index, kind, p)
	if err != nil || l == nil {
		return err
	}
	differences, err := edit.CompareObject(&c.prev.Editor, &now.Editor, kind, index, p, *l)
	if err != nil {
		return err
	}
	c.holding = holding{&now.Editor, index, object.Of(kind), l}
	return c.inAll(differences)
}

// inAll puts into K everything that the new values of a comparison refer to.
func (c *Collector) inAll(differences *edit.Comparison) error {
	var failed error
	for more := differences != nil; more && failed == nil; {
		var err error
		more, err = differences.Step(func(p object.Pair) {
			if failed == nil && p.Now != nil {
				failed = c.holder(p.Now)
			}
		})
		if failed == nil {
			failed = err
		}
		if failed == nil {
			failed = c.step()
		}
	}
	return failed
}

// DiffObjects calls each with the index of every object whose blocks differ in two versions, and
// with the addresses of its two blocks, 0 where the object does not exist. If each returns an
// error, DiffObjects stops and returns it. It costs as much as what has changed. Both versions are
// held; the newer may be one that a transaction is making.
func DiffObjects(was, now *edit.Editor, each func(index uint64, was, now format.Addr) error) error {
	n := max(was.State.NextIndex, now.State.NextIndex)
	d, err := vector.NewDiffer(was.Reader, format.Link(was.State.Table), now.Reader, format.Link(now.State.Table), n)
	for more := err == nil; more && err == nil; {
		var failed error
		more, err = d.Step(func(i, was, now uint64) {
			if failed == nil {
				failed = each(i, format.Addr(was), format.Addr(now))
			}
		})
		if failed != nil {
			return failed
		}
	}
	return err
}
