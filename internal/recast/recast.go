// Package recast changes the stored types of objects to those of a program. A recast is
// the change of the types of an object, and of all objects that it reaches by handles whose
// types change with it: what a value's type says about the objects that its handles refer
// to has to be true. It is part of one transaction, which the journal does not tell
// (heap.Txn.Unlist): it knows the changes of entries, not of types.
//
// What becomes of a type is a conversion, which layout.Conversion carries out value by value. The tree
// or vector of an object whose contents change is built anew beside the old one.
//
// Invariants:
//
//	R1  An object's types and its contents change in one transaction, so in every
//	    version they agree; and a program's types are compared with the object's of
//	    the version that it sees, in every operation (edit.Map.fits, edit.typed.fits). So a
//	    program with other types gets an error and never a wrong value, whenever it
//	    has opened the object. Descriptors never change: a comparison that was made
//	    stays right. One with a descriptor of a transaction that may abort yet is
//	    remembered by that transaction alone.
//	R2  What a handle in a value of an object refers to has the types that the
//	    object's types say, or others that it got since, by way of another object:
//	    then it is an error to use the handle. So from an object that has the
//	    program's types already there is nothing to be reached.
//	R3  Each object is changed once, to one type: who comes by other handles, with
//	    another type in mind, gets an error, and nothing has changed.
//	R4  Everything that is converted is verified before, checksums included: else
//	    damage would get a sound checksum.
//	R5  While a recast runs, handles that are stored are not judged (edit.Editor.CheckHandle):
//	    the object may not have its new types yet. Those that can be wrong are
//	    followed, and so all of them are right when it ends.
//
// Start reading at ChangeTypes.
package recast

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// TypeChange says which changes of its types a program accepts when it opens an
// object, and how.
type TypeChange struct {
	Evolve   bool
	Steps    []*layout.Step
	Progress func(done, total int) // nil: nobody wants to know
}

const (
	progressInterval = 100 * time.Millisecond
	maxListed        = 1 << 18 // entries whose blocks are freed one by one, and not left to a sweep
)

// recast is a recast in progress.
type recast struct {
	ed          *edit.Editor
	how         *TypeChange
	r           heap.Reader // of what is converted (R4)
	conversions map[conversionOf]*conversion
	met         metObjects
	todo        []task // what was met last is done first
	done        uint64 // entries
	total       uint64 // of the objects that were met so far
	values      uint64 // single values that were recast
	reported    time.Time
	indexed     []uint64 // maps with indexes whose types have changed
}

// task is an object that is to be recast.
type task struct {
	index      uint64
	conversion *conversion
}

// ChangeTypes gives the object with a name the types of a program, if they are others
// and how allows it: handle is the type of its handles.
func ChangeTypes(ed *edit.Editor, name string, handle *layout.Type, how *TypeChange) error {
	if err := ed.Err(); err != nil {
		return err
	}
	index, found, err := ed.Named(name)
	if err != nil || !found {
		return err
	}
	c := &recast{ed: ed, how: how, r: ed.Reader.Verifying(), conversions: map[conversionOf]*conversion{}, met: metObjects{pages: map[uint64]*metPage{}}, reported: time.Now()}
	if err := c.reach(nil, handle, format.MakeID(ed.Tag(), index)); err != nil {
		return nameType(err, name)
	}
	if len(c.todo) == 0 {
		return nil
	}
	if ed.Write == nil {
		return nameType(fmt.Errorf("%w: its types would be changed, which takes a writing transaction: %w", failure.ErrReadOnly, c.todo[0].conversion.err(how)), name)
	}
	if err := ed.BeginChange(); err != nil {
		return err
	}
	defer ed.EndChange()
	if err := c.run(); err != nil {
		return ed.Fail(nameType(err, name))
	}
	return nil
}

// nameType enters the name of an object into an error about its types.
func nameType(err error, name string) error {
	if e := (*failure.TypeError)(nil); errors.As(err, &e) && e.Name == "" {
		e.Name = name
	}
	return err
}

// run does what is to be done, and what turns out to be on the way.
func (c *recast) run() error {
	c.ed.Write.Unlist()
	c.ed.BeginRecast()
	defer c.ed.EndRecast()
	for len(c.todo) > 0 {
		last := len(c.todo) - 1
		t := c.todo[last]
		c.todo = c.todo[:last]
		if err := c.object(t); err != nil {
			return err
		}
	}
	for _, index := range c.indexed { // IX1
		if err := indexing.Rebuild(c.ed, format.MakeID(c.ed.Tag(), index), nil); err != nil {
			return err
		}
	}
	c.report()
	return nil
}

// recastsOf gives an object other types, by kind. One that is not there has no types.
var recastsOf map[format.Kind]func(c *recast, t task) error

func init() { // what is in it uses it
	recastsOf = map[format.Kind]func(c *recast, t task) error{
		format.KindMap: (*recast).recastMap, format.KindSorted: (*recast).recastMap,
		format.KindList: (*recast).recastList, format.KindValue: (*recast).recastValue,
	}
}

// object recasts one object.
func (c *recast) object(t task) error {
	if do := recastsOf[t.conversion.kind]; do != nil {
		return do(c, t)
	}
	return fmt.Errorf("a %s has no types", t.conversion.kind)
}

// payload returns the payload of an object of the kind.
func (c *recast) payload(index uint64, kind format.Kind) (unsafe.Pointer, error) {
	return table.Object(&c.r, format.Link(c.ed.State.Table), index, kind)
}

// reach enters an object that a handle leads to, unless it was met before; from is
// the conversion of the object that has the handle. A handle that leads nowhere is left
// alone, since to use it is an error anyway; but a program must not make such values.
func (c *recast) reach(from *conversion, handle *layout.Type, id format.ID) error {
	index := id.Index()
	if id.Tag() != c.ed.Tag() {
		return c.nowhere(from, handle, id)
	}
	if met := c.met.find(index); met != nil {
		if met != handle && !layout.Same(met, handle) { // R3
			return &failure.TypeError{Kind: failure.ErrTypeChanged, Lines: []string{
				fmt.Sprintf("  the object %016x would have to become two: handles refer to it as", uint64(id)),
				"  " + met.String() + " and as", "  " + handle.String()}}
		}
		return nil
	}
	kind := object.OfHandle(handle.Kind())
	payload, err := c.payload(index, kind)
	if errors.Is(err, table.ErrNoObject) {
		return c.nowhere(from, handle, id)
	}
	if err != nil {
		return c.ed.ObjectError(id, err)
	}
	key, value, count := object.Contents(kind, payload)
	if value == 0 { // one of the space itself
		return c.nowhere(from, handle, id)
	}
	c.met.add(index, handle)
	p, err := c.conversion(conversionOf{key, value, handle})
	if err != nil || p.done() {
		return err
	}
	if !p.possible(c.how.Evolve) {
		e := p.err(c.how)
		if from != nil {
			e.Lines = append([]string{fmt.Sprintf("  its handles lead to the %s %016x:", object.Called(kind), uint64(id))}, e.Lines...)
		}
		return e
	}
	if !p.same() || p.affectsAny() || object.Of(kind).About().Whole {
		c.total += count
	}
	c.todo = append(c.todo, task{index, p})
	return nil
}

// nowhere is what to do about a handle that leads to no object.
func (c *recast) nowhere(from *conversion, handle *layout.Type, id format.ID) error {
	if from == nil || !from.made() {
		return nil
	}
	return fmt.Errorf("%w: the %s %016x in a value that Migrate has made refers to an object that does not exist", failure.ErrDangling, handle, uint64(id))
}

// follow enters the objects that the handles in a value lead to, those of the types
// that can have changed. bounds are those of the block that the value lies in.
func (c *recast) follow(p *conversion, typ *layout.Type, value unsafe.Pointer, bounds layout.Bounds) error {
	return typ.Judge(value, bounds, func(handle *layout.Type, id uint64) error {
		if !p.affects(handle) {
			return nil
		}
		return c.reach(p, handle, format.ID(id))
	})
}

// giveUp frees the blocks of a structure of n entries, which was walked as a whole
// before: walk calls its argument with each. What this transaction may use again at
// once is freed after the walk.
func (c *recast) giveUp(n uint64, walk func(free func(a format.Addr)) error) error {
	t := c.ed.Write
	free := t.Free
	if n > maxListed {
		free = t.LeaveToSweep
	}
	var later []format.Addr
	err := walk(func(a format.Addr) {
		if t.Editable(a) {
			later = append(later, a)
		} else {
			free(a)
		}
	})
	for _, a := range later {
		free(a)
	}
	return err
}

// step counts an entry that is done.
func (c *recast) step() {
	c.done++
	if c.how.Progress != nil && c.done%256 == 0 && time.Since(c.reported) >= progressInterval {
		c.report()
		c.reported = time.Now()
	}
}

// report tells the program how far it is.
func (c *recast) report() {
	if c.how.Progress != nil && c.total > 0 {
		c.how.Progress(int(c.done), int(c.total))
	}
}
