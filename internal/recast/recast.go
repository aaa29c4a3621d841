// Package recast changes the stored types of objects to those of a program. A recast changes the
// types of an object, and of all objects that it reaches by handles whose types change with it: a
// handle's type in a value must agree with the types of the object that it refers to. A recast is a
// part of one transaction. The journal cannot record that transaction (heap.Txn.Unlist), since it
// records changes of entries and not of types.
//
// A conversion turns values of one type into values of another: layout.Conversion does so value by
// value. If the contents of an object change, its new tree or vector is built beside the old one.
//
// Invariants:
//
//	R1  One transaction changes an object's types and its contents, so they agree in every
//	    version; and every operation of a program compares the program's types with the object's
//	    types in the version that it sees (edit.Map.fits, edit.typed.fits). So a program with
//	    other types gets an error and never a wrong value, whenever it opened the object.
//	    Descriptors never change, so the outcome of a comparison stays right. If a descriptor was
//	    stored by a transaction that may still abort, only that transaction remembers the
//	    comparison.
//	R2  A handle in a value of an object refers to an object that has the types that the handle's
//	    type says; or to one that has got other types since, through another object, and then
//	    using the handle is an error. So a recast has nothing to do below an object that already
//	    has the program's types.
//	R3  A recast changes each object once, to one pair of types: if other handles with another
//	    type reach the object, the recast fails, and nothing has changed.
//	R4  The recast verifies everything that it converts, including checksums: otherwise it would
//	    give damage a valid checksum.
//	R5  While a recast runs, handles may be stored without a check (edit.Editor.CheckHandle),
//	    since their objects may not have their new types yet. The recast follows every handle
//	    whose type may be wrong, so all are right when it ends.
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

// TypeChange says which changes of types a program accepts when it opens an object, and how to
// convert values.
type TypeChange struct {
	Evolve   bool
	Steps    []*layout.Step
	Progress func(done, total int) // may be nil
}

const (
	progressInterval = 100 * time.Millisecond
	maxListed        = 1 << 18 // the blocks of more entries are left to a sweep, and not freed one by one
)

// recast is a recast in progress.
type recast struct {
	ed          *edit.Editor
	how         *TypeChange
	r           heap.Reader // reads what is converted (R4)
	conversions map[conversionOf]*conversion
	met         metObjects
	todo        []task // the object that was met last is recast first
	done        uint64 // entries converted
	total       uint64 // entries of the objects that were met so far
	values      uint64 // how many single values were recast
	reported    time.Time
	indexed     []uint64 // maps with indexes whose types have changed
}

// task is an object that is to be recast.
type task struct {
	index      uint64
	conversion *conversion
}

// ChangeTypes gives the object with a name the types of a program, if its types differ and how
// accepts the change. handle is the type of the program's handles for the object.
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

// nameType adds the name of an object to an error about its types.
func nameType(err error, name string) error {
	if e := (*failure.TypeError)(nil); errors.As(err, &e) && e.Name == "" {
		e.Name = name
	}
	return err
}

// run recasts the objects in todo, and those that it meets on the way.
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

// recastsOf has, by kind, the function that gives an object other types. A kind without one has no
// types.
var recastsOf map[format.Kind]func(c *recast, t task) error

func init() { // its functions use it
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

// reach adds the object that a handle refers to, unless it was met before. from is the conversion
// of the object that has the handle. A dangling handle is left alone, since using it is an error
// anyway; but a function of the program must not make one.
func (c *recast) reach(from *conversion, handle *layout.Type, id format.ID) error {
	index := id.Index()
	if id.Tag() != c.ed.Tag() {
		return c.dangling(from, handle, id)
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
		return c.dangling(from, handle, id)
	}
	if err != nil {
		return c.ed.ObjectError(id, err)
	}
	key, value, count := object.Contents(kind, payload)
	if value == 0 { // it is one of the space's own
		return c.dangling(from, handle, id)
	}
	c.met.add(index, handle)
	p, err := c.conversion(conversionOf{key, value, handle})
	if err != nil || p.done() {
		return err
	}
	if !p.possible(c.how.Evolve) {
		e := p.err(c.how)
		if from != nil {
			e.Lines = append([]string{fmt.Sprintf("  its handles refer to the %s %016x:", object.Called(kind), uint64(id))}, e.Lines...)
		}
		return e
	}
	if !p.same() || p.affectsAny() || object.Of(kind).About().Whole {
		c.total += count
	}
	c.todo = append(c.todo, task{index, p})
	return nil
}

// dangling returns the error for a dangling handle; nil if the program has not made it.
func (c *recast) dangling(from *conversion, handle *layout.Type, id format.ID) error {
	if from == nil || !from.made() {
		return nil
	}
	return fmt.Errorf("%w: the %s %016x in a value that Migrate has made refers to an object that does not exist", failure.ErrDangling, handle, uint64(id))
}

// follow adds the objects that the handles in a value refer to, if their types can have changed.
// bounds are those of the block with the value.
func (c *recast) follow(p *conversion, typ *layout.Type, value unsafe.Pointer, bounds layout.Bounds) error {
	return typ.Judge(value, bounds, func(handle *layout.Type, id uint64) error {
		if !p.affects(handle) {
			return nil
		}
		return c.reach(p, handle, format.ID(id))
	})
}

// giveUp frees the blocks of a structure of n entries, all of which were read before. walk calls
// its argument with each block. Blocks that this transaction may allocate again at once are freed
// after the walk.
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

// step counts a converted entry.
func (c *recast) step() {
	c.done++
	if c.how.Progress != nil && c.done%256 == 0 && time.Since(c.reported) >= progressInterval {
		c.report()
		c.reported = time.Now()
	}
}

// report calls Progress.
func (c *recast) report() {
	if c.how.Progress != nil && c.total > 0 {
		c.how.Progress(int(c.done), int(c.total))
	}
}
