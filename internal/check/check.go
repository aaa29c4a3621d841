// Package check walks all blocks that a version can reach, to mark them for a sweep, or to verify
// them, block by block, link by link, value by value. Both are the same walk; verifying examines more
// at each step.
//
// The walk trusts only the address of a state block. It verifies every block (place, kind, size,
// checksum) before it reads it, and enters it once. So a damaged link becomes a finding; it cannot
// mislead the walk or keep it from ending.
//
// Start reading at walker.state.
package check

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/table"
)

// Finding is one piece of damage.
type Finding struct {
	Addr   format.Addr // of the block; 0: no particular block
	Object uint64      // index of the object; 0: no object
	What   string
	File   string // name of the file, if the damage is not in a block of the heap
	Offset int64  // in that file
}

// Report is the result of Verify.
type Report struct {
	Version  format.Version
	Objects  uint64
	Entries  uint64
	Blocks   int
	Bytes    format.ByteCount
	Free     format.ByteCount // bytes listed as free
	Findings []Finding
}

// Add adds a finding, unless the report is full, or has a finding about the same block.
func (r *Report) Add(f Finding) {
	if len(r.Findings) < maxFindings && (f.Addr == 0 || !slices.ContainsFunc(r.Findings, func(g Finding) bool { return g.Addr == f.Addr })) {
		r.Findings = append(r.Findings, f)
	}
}

// maxFindings bounds a report: more findings tell nothing new.
const maxFindings = 1000

// Set is a set of blocks. Add adds a block, and reports whether the walk enters it: usually, whether
// the block is new in the set.
type Set interface{ Add(a format.Addr) bool }

// Mark adds every block that the state at a can reach to marks, including the list of its
// checkpoints, but not the versions in that list. It fails on the first block that does not verify.
func Mark(r *heap.Reader, a format.Addr, marks Set) error {
	w := walker{r: r, marks: marks}
	return w.state(a)
}

// Complete is Mark for a version that is certainly held. It also fails on a block written after the
// version: then the block was reused.
func Complete(r *heap.Reader, a format.Addr, marks *heap.Marks) error {
	w := walker{r: r, marks: marks, strict: true, version: format.MaxVersion}
	return w.state(a)
}

// Newer calls fn with every block that the state at a can reach and that was written after the
// version. It does not enter older blocks: the blocks below them are older still. It fails on the
// first block that does not verify.
func Newer(r *heap.Reader, a format.Addr, version format.Version, fn func(a format.Addr, size format.ByteCount)) error {
	return Mark(r, a, newer{r, version, fn})
}

// newer is the set of blocks written after a version.
type newer struct {
	r       *heap.Reader
	version format.Version
	fn      func(a format.Addr, size format.ByteCount)
}

// Add implements Set.
func (n newer) Add(a format.Addr) bool {
	if n.r.Birth(a) <= n.version {
		return false
	}
	n.fn(a, n.r.BlockBytes(a))
	return true
}

// Verify checks all blocks that the state at a and its checkpoints can reach. shape returns the
// layout of the entries of a map, by the types of its keys and values.
func Verify(r *heap.Reader, a format.Addr, marks *heap.Marks, shape func(key, value *layout.Type) *entry.Shape) *Report {
	w := walker{r: r, marks: marks, reached: marks, newShape: shape, report: new(Report), types: map[uint64]*layout.Type{}, strict: true, version: format.MaxVersion}
	if err := w.state(a); err != nil {
		w.find(a, "%v", err)
	}
	w.older = true
	for _, p := range w.pins {
		w.later, w.version = w.later[:0], format.MaxVersion
		if err := w.state(format.Addr(p.State)); err != nil {
			w.find(format.Addr(p.State), "the checkpoint %q: %v", p.NameOf(), err)
		}
	}
	w.report.Blocks, w.report.Bytes = marks.Blocks, marks.Bytes
	return w.report
}

// walker walks one version.
type walker struct {
	r        *heap.Reader
	marks    Set
	visitor  object.Visit // visit, made at the first use
	reached  *heap.Marks  // the marks, if the walk makes a report
	newShape func(key, value *layout.Type) *entry.Shape
	report   *Report // nil: mark only
	strict   bool    // the version is held: no block of it is younger
	version  format.Version
	object   uint64 // index of the object being walked
	older    bool   // the walk is in a checkpoint: blocks that it shares with the newest version are verified already
	pins     []format.Pin
	types    map[uint64]*layout.Type
	later    []object.At // objects met; their contents are checked when all types are known
}

// find adds a finding about a block. It drops a second finding about the same block, which would only
// say that the block could not be marked.
func (w *walker) find(a format.Addr, what string, args ...any) {
	n := len(w.report.Findings)
	if n > 0 && a != 0 && w.report.Findings[n-1].Addr == a {
		return
	}
	if n < maxFindings {
		w.report.Findings = append(w.report.Findings, Finding{Addr: a, Object: w.object, What: fmt.Sprintf(what, args...)})
	}
}

func (w *walker) visit(a format.Addr, kind format.Kind) (bool, error) {
	if err := w.verify(a, kind); err != nil {
		if w.report == nil {
			return false, err
		}
		w.find(a, "%v", what(err))
		return false, nil
	}
	isNew := w.marks.Add(a)
	return isNew || w.older && kind == format.KindEntry, nil // an entry of a checkpoint may be in another leaf
}

// verify verifies a block. An unreadable page is damage, too.
func (w *walker) verify(a format.Addr, kind format.Kind) (err error) {
	defer onFault(func(at uint64) { err = w.r.Unreadable(a, at) })
	if err := w.r.Verify(a, kind); err != nil {
		return err
	}
	if birth := w.r.Birth(a); w.strict && birth > w.version {
		return w.r.Young(a, birth, w.version)
	}
	return nil
}

// onFault, deferred, recovers from a memory fault and calls fn with its address.
func onFault(fn func(at uint64)) {
	if r := recover(); r != nil {
		fault, ok := r.(interface{ Addr() uintptr })
		if !ok {
			panic(r)
		}
		fn(uint64(fault.Addr()))
	}
}

// kind reads the kind of an object.
func (w *walker) kind(a format.Addr) (kind format.Kind) {
	defer onFault(func(uint64) { kind = format.KindMap }) // verify reports the fault
	if w.r.Plausible(a) && object.Is(w.r.Kind(a)) {
		return w.r.Kind(a)
	}
	return format.KindMap
}

// what returns the description in a damage error, without the place, which the finding has.
func what(err error) string {
	if d := (*format.DamageError)(nil); errors.As(err, &d) {
		return d.What
	}
	return err.Error()
}

func (w *walker) state(a format.Addr) error {
	descend, err := w.visit(a, format.KindState)
	if err != nil || !descend {
		return err
	}
	p, err := w.r.Payload(a, format.KindState)
	if err != nil {
		return err
	}
	if w.r.Size(a) != format.ByteCount(format.StateSize) {
		return errors.New("a state block of the wrong size")
	}
	s := *(*format.State)(p)
	w.version = format.Version(s.Version)
	if format.OpKindOf(s.OpWhat) == format.OpList {
		if _, err := w.visit(format.Addr(s.OpBlock), format.KindOps); err != nil {
			return err
		}
	}
	if err := w.checkpoints(&s); err != nil {
		return err
	}
	var objects uint64
	err = table.Walk(w.r, format.Link(s.Table), w.visit, func(index uint64, a format.Addr) error {
		objects++
		w.object = index
		if w.report != nil && index >= s.NextIndex {
			w.find(a, "the object has an index that the space has not assigned yet")
		}
		return w.any(index, a)
	})
	w.object = 0
	if err != nil || w.report == nil {
		return err
	}
	for _, o := range w.later {
		w.object = o.Index
		if err := w.examine(o); err != nil {
			return err
		}
	}
	w.object = 0
	if !w.older {
		w.report.Version, w.report.Objects = format.Version(s.Version), objects
		w.totals(a, &s, objects)
	}
	return nil
}

// checkpoints visits the list of checkpoints of a version.
func (w *walker) checkpoints(s *format.State) error {
	a := format.Addr(s.Pins)
	if a == 0 {
		return nil
	}
	descend, err := w.visit(a, format.KindPins)
	if err != nil || !descend || w.report == nil || w.older {
		return err
	}
	p, err := w.r.Payload(a, format.KindPins)
	if err != nil {
		return err
	}
	n, size := (*format.Pins)(p).Count, uint64(w.r.Size(a))
	if n > format.MaxPins || size < uint64(format.PinsHeadSize)+n*uint64(format.PinSize) {
		w.find(a, "the list of checkpoints is longer than its block")
		return nil
	}
	w.pins = append(w.pins, unsafe.Slice((*format.Pin)(unsafe.Add(p, format.PinsHeadSize)), n)...)
	for _, p := range w.pins {
		if p.Version == 0 || p.Version >= s.Version {
			w.find(a, "the checkpoint %q is of an impossible version %d", p.NameOf(), p.Version)
		}
	}
	return nil
}

// totals compares the walk's counts with those in the state.
func (w *walker) totals(a format.Addr, s *format.State, objects uint64) {
	if len(w.report.Findings) > 0 {
		return // damage hides blocks from the count
	}
	if objects != s.Objects {
		w.find(a, "the state says %d objects, there are %d", s.Objects, objects)
	}
	if w.reached.Bytes != format.ByteCount(s.BlockBytes) {
		w.find(a, "the state says %d bytes of blocks, there are %d", s.BlockBytes, w.reached.Bytes)
	}
	for _, index := range []uint64{s.Catalog, s.Types} {
		if index == 0 || index >= s.NextIndex {
			w.find(a, "the state names an impossible object %d", index)
		}
	}
}

// any walks an object. The header of its block has the kind.
func (w *walker) any(index uint64, a format.Addr) error {
	kind := w.kind(a)
	descend, err := w.visit(a, kind)
	if err != nil || !descend {
		return err
	}
	p, err := w.r.Payload(a, kind)
	if err != nil {
		return err
	}
	k := object.Of(kind)
	o := object.At{Index: index, Addr: a, Kind: kind}
	switch {
	case k == nil:
		return fmt.Errorf("objects of kind %s are not known to this program", kind)
	case k.About().First && w.report == nil:
		return nil
	case k.About().First:
		return k.Check(w.checker(), o, p)
	case !k.Fits(w.r.Size(a)):
		return fmt.Errorf("a %s object of the wrong size", kind)
	case w.report != nil:
		w.later = append(w.later, o)
		return nil
	}
	if w.visitor == nil {
		w.visitor = w.visit
	}
	return k.Blocks(w.r, p, w.visitor)
}

// examine checks the contents of an object.
func (w *walker) examine(o object.At) error {
	p, err := w.r.Payload(o.Addr, o.Kind)
	if err != nil {
		return err
	}
	return object.Of(o.Kind).Check(w.checker(), o, p)
}

// checker implements object.Checker for the kinds of objects.
type checker struct{ *walker }

func (w *walker) checker() object.Checker { return checker{w} }

// The methods of object.Checker.

func (c checker) Reader() *heap.Reader { return c.r }

func (c checker) Visit(a format.Addr, kind format.Kind) (bool, error) { return c.visit(a, kind) }

func (c checker) Find(a format.Addr, what string, args ...any) { c.find(a, what, args...) }

func (c checker) Sound() bool { return len(c.report.Findings) == 0 }

func (c checker) Older() bool { return c.older }

func (c checker) Count(values uint64) { c.report.Entries += values }

func (c checker) Type(index uint64) *layout.Type { return c.types[index] }

func (c checker) Know(index uint64, t *layout.Type) { c.types[index] = t }

func (c checker) Shape(key, value *layout.Type) *entry.Shape { return c.newShape(key, value) }
