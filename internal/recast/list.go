package recast

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/table"
	"github.com/everheap/everheap/internal/vector"
)

// recastList is the recast of one list.
type recastList struct {
	*recast
	conversion *conversion
	was        format.ListObject
	from, to   *entry.Cell
	value      *layout.Converter
	root       format.Link // root of the new vector
	placed     uint64      // how many elements it has
	run        []uint64    // the next elements
}

// recastList recasts a list as recastMap recasts a map.
func (c *recast) recastList(t task) error {
	p := t.conversion
	object, err := c.payload(t.index, format.KindList)
	if err != nil {
		return err
	}
	l := recastList{recast: c, conversion: p, was: *(*format.ListObject)(object),
		from: entry.NewItem(p.value.From, nil), to: entry.NewItem(p.value.To, c.ed.Store().CheckHandle)}
	switch {
	case !p.same():
		_, l.value = p.keyAndValue()
		if err = l.all(l.convert); err == nil {
			err = l.place()
		}
		runtime.KeepAlive(p) // the stored form is in memory of its converter
	case p.affectsAny():
		err = l.all(func(_ uint64, item unsafe.Pointer) error { return l.visit(item) })
	}
	if err != nil {
		return err
	}
	now := l.was
	if _, now.Value, err = c.descriptors(p); err != nil {
		return err
	}
	if !p.same() {
		now.Root = uint64(l.root)
	}
	edited, err := c.ed.EditList(t.index)
	if err != nil {
		return err
	}
	*edited = now
	if p.same() {
		return nil
	}
	return c.giveUp(l.was.Count, func(free func(a format.Addr)) error {
		visit := func(a format.Addr, _ format.Kind) (bool, error) { free(a); return true, nil }
		return vector.Walk(&c.r, format.Link(l.was.Root), visit, func(i, word uint64) error {
			if i < l.was.Count {
				free(format.Addr(word))
			}
			return nil
		})
	})
}

// all calls each with every element.
func (l *recastList) all(each func(i uint64, item unsafe.Pointer) error) error {
	var failed error
	err := vector.All(&l.r, format.Link(l.was.Root), l.was.Count, func(i, word uint64) bool {
		var item unsafe.Pointer
		if item, failed = l.r.Payload(format.Addr(word), format.KindItem); failed == nil {
			failed = each(i, item)
		}
		l.step()
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// visit follows the handles of an element in its new form.
func (l *recastList) visit(item unsafe.Pointer) error {
	return l.follow(l.conversion, l.to.Type, l.to.ValueOf(item), entry.Bounds(&l.r, item))
}

// convert stores the new form of an element.
func (l *recastList) convert(i uint64, item unsafe.Pointer) error {
	value, err := l.value.Convert(l.from.ValueOf(item), entry.Bounds(&l.r, item))
	if err != nil {
		return fmt.Errorf("converting the element %d: %w", i, err)
	}
	a, err := l.to.New(l.ed.Write, 0, value)
	if err != nil {
		return fmt.Errorf("converting the element %d: %w", i, err)
	}
	l.run = append(l.run, uint64(a))
	if vector.RunLength(l.placed, len(l.run)+1) == len(l.run) {
		if err := l.place(); err != nil {
			return err
		}
	}
	if !l.conversion.affectsAny() {
		return nil
	}
	made, err := l.ed.Reader.Payload(a, format.KindItem)
	if err != nil {
		return err
	}
	return l.visit(made)
}

// place adds the converted elements to the new vector.
func (l *recastList) place() (err error) {
	if len(l.run) > 0 {
		l.root, err = vector.SetRun(l.ed.Write, l.root, l.placed, l.run)
		l.placed += uint64(len(l.run))
		l.run = l.run[:0]
	}
	return err
}

// recastValue recasts a single value. It always writes a new block, since the block names its type.
func (c *recast) recastValue(t task) error {
	p := t.conversion
	from, to := entry.NewValue(p.value.From, nil), entry.NewValue(p.value.To, c.ed.Store().CheckHandle)
	object, err := c.payload(t.index, format.KindValue)
	if err != nil {
		return err
	}
	_, descriptor, err := c.descriptors(p)
	if err != nil {
		return err
	}
	_, x := p.keyAndValue()
	value, err := x.Convert(from.ValueOf(object), entry.Bounds(&c.r, object))
	if err != nil {
		return fmt.Errorf("converting the value %d: %w", t.index, err)
	}
	a, err := to.New(c.ed.Write, format.MakeValueType(descriptor), value)
	runtime.KeepAlive(x)
	if err != nil {
		return fmt.Errorf("converting the value %d: %w", t.index, err)
	}
	root, err := table.Enter(c.ed.Write, format.Link(c.ed.State.Table), t.index, a)
	if err != nil {
		return err
	}
	c.ed.State.Table = uint64(root)
	c.values++
	err = c.giveUp(c.values, func(free func(a format.Addr)) error {
		free(format.Addr(uintptr(object) - format.HeaderSize))
		return nil
	})
	if err != nil {
		return err
	}
	c.step()
	if !p.affectsAny() {
		return nil
	}
	made, err := c.ed.Reader.Payload(a, format.KindValue)
	if err != nil {
		return err
	}
	return c.follow(p, to.Type, to.ValueOf(made), entry.Bounds(&c.r, made))
}
