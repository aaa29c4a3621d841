package recast

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// recastMap is the recast of one map, sorted or not.
type recastMap struct {
	*recast
	index      uint64
	conversion *conversion
	was        format.MapObject
	from, to   *entry.Shape
	key        *layout.Converter
	value      *layout.Converter
	root       format.Link // root of the new tree
}

// recastMap recasts a map. If its entries stay the same, only its descriptors change. Otherwise
// recastMap builds a new tree beside the old one, and then frees the old one: so the space needs
// room for both until the old version is released.
func (c *recast) recastMap(t task) error {
	p := t.conversion
	was, err := c.payload(t.index, p.kind)
	if err != nil {
		return err
	}
	m := recastMap{recast: c, index: t.index, conversion: p, was: *(*format.MapObject)(was),
		from: c.ed.Store().Shape(p.key.From, p.value.From), to: c.ed.Store().Shape(p.key.To, p.value.To)}
	switch {
	case !p.same():
		m.key, m.value = p.keyAndValue()
		err = m.all(m.convert)
		runtime.KeepAlive(p) // the stored forms are in memory of its converters
	case p.affectsAny():
		err = m.all(m.visit)
	}
	if err != nil {
		return err
	}
	now := m.was
	marks := now.Key & format.KeyMarks
	if now.Key, now.Value, err = c.descriptors(p); err != nil {
		return err
	}
	if now.Key |= marks; marks != 0 {
		c.indexed = append(c.indexed, t.index)
	}
	if !p.same() {
		now.Root = uint64(m.root)
	}
	edited, err := c.ed.EditMap(t.index, p.kind)
	if err != nil {
		return err
	}
	*edited = now
	if p.same() {
		return nil
	}
	return c.giveUp(m.was.Count, func(free func(a format.Addr)) error {
		return object.Of(p.kind).Blocks(&c.r, unsafe.Pointer(&m.was), func(a format.Addr, _ format.Kind) (bool, error) {
			free(a)
			return true, nil
		})
	})
}

// all calls each with every entry, and fails if there are not as many as the map counts.
func (m *recastMap) all(each func(entry unsafe.Pointer) error) error {
	return object.Of(m.conversion.kind).Holders(&m.r, m.index, unsafe.Pointer(&m.was), object.Layout{Shape: m.from}, func(e unsafe.Pointer) error {
		err := each(e)
		m.step()
		return err
	})
}

// visit follows the handles of an entry in its new form.
func (m *recastMap) visit(e unsafe.Pointer) error {
	bounds := entry.Bounds(&m.r, e)
	if err := m.follow(m.conversion, m.to.Key, m.to.KeyOf(e), bounds); err != nil {
		return err
	}
	return m.follow(m.conversion, m.to.Value, m.to.ValueOf(e), bounds)
}

// convert stores the new form of an entry.
func (m *recastMap) convert(e unsafe.Pointer) error {
	bounds := entry.Bounds(&m.r, e)
	key, err := m.key.Convert(m.from.KeyOf(e), bounds)
	if err != nil {
		return fmt.Errorf("converting the key %s: %w", m.name(e), err)
	}
	value, err := m.value.Convert(m.from.ValueOf(e), bounds)
	if err != nil {
		return fmt.Errorf("converting the value of the key %s: %w", m.name(e), err)
	}
	to := edit.NewTree(m.conversion.kind, m.to)
	hash := *(*uint64)(e)
	if !m.conversion.key.Same() {
		if hash, err = to.Hash(key); err != nil {
			return fmt.Errorf("converting the key %s: %w", m.name(e), err)
		}
	}
	root, a, old, err := to.Put(m.ed, m.root, hash, key, value)
	if err != nil {
		return fmt.Errorf("converting the value of the key %s: %w", m.name(e), err)
	}
	if old != nil {
		return m.twice(e)
	}
	m.root = root
	if !m.conversion.affectsAny() {
		return nil
	}
	made, err := m.ed.Reader.Payload(a, format.KindEntry)
	if err != nil {
		return err
	}
	return m.visit(made)
}

// twice is the error for an entry whose new key exists already.
func (m *recastMap) twice(e unsafe.Pointer) error {
	if m.conversion.key.Same() {
		return &format.DamageError{File: "heap", What: "a map has the key " + m.name(e) + " twice"}
	}
	return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
		"  the key " + m.name(e) + " and another one would become equal; drop one of them, or tell them apart by Migrate"}}
}

// name returns the key of an entry for messages.
func (m *recastMap) name(e unsafe.Pointer) string {
	const most = 100
	b, err := m.from.Key.AppendJSON(nil, m.from.KeyOf(e), entry.Bounds(&m.r, e))
	if err != nil {
		return "(damaged)"
	}
	if len(b) > most {
		b = append(b[:most], "…"...)
	}
	return string(b)
}
