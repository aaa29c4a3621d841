package entry

import (
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
)

// CheckHandle returns nil if a handle of the type may be stored, else an error with the reason.
type CheckHandle func(handle *layout.Type, id uint64) error

// minPayload is the size of the smallest payload: an empty payload would look like no block.
const minPayload = 8

// Cell is the layout of blocks with one value: an element of a list, or the object of a reference,
// which has its type before the value. Immutable.
type Cell struct {
	Type        *layout.Type
	kind        format.Kind
	valueAt     uintptr
	ownedAt     uintptr
	valueString bool
	check       CheckHandle
}

// NewItem returns the cell of the elements of a list. The cell calls check for each handle in a new
// element; check is nil if the type has no handles.
func NewItem(t *layout.Type, check CheckHandle) *Cell { return newCell(t, format.KindItem, 0, check) }

// NewValue returns the cell of the objects of references.
func NewValue(t *layout.Type, check CheckHandle) *Cell {
	return newCell(t, format.KindValue, uintptr(format.ValueObjectSize), check)
}

func newCell(t *layout.Type, kind format.Kind, valueAt uintptr, check CheckHandle) *Cell {
	c := &Cell{Type: t, kind: kind, valueAt: valueAt, ownedAt: align(valueAt + t.Size()), valueString: t.IsString()}
	if t.HasHandles() {
		c.check = check
	}
	return c
}

// FixedSize returns the size of the payload without the parts that the value owns.
func (c *Cell) FixedSize() int { return int(c.ownedAt) }

// ValueOf returns the value in the payload of a block.
func (c *Cell) ValueOf(payload unsafe.Pointer) unsafe.Pointer { return unsafe.Add(payload, c.valueAt) }

// New writes a block with a copy of the value; word is the first word of a reference's object.
func (c *Cell) New(t *heap.Txn, word uint64, value unsafe.Pointer) (format.Addr, error) {
	var owned uintptr
	var err error
	if c.valueString {
		owned = uintptr(len(*(*string)(value)))
	} else if owned, err = c.Type.Measure(value); err != nil {
		return 0, err
	}
	size := max(c.ownedAt+owned, minPayload)
	a, err := t.Alloc(c.kind, format.ByteCount(size))
	if err != nil {
		return 0, err
	}
	rw := t.Payload(a)
	for i := c.valueAt + c.Type.Size(); i < max(c.ownedAt, minPayload); i++ { // the gap
		*(*byte)(unsafe.Add(rw, i)) = 0
	}
	if c.valueAt > 0 {
		*(*uint64)(rw) = word
	}
	target := layout.Target{RW: uintptr(rw), RO: uintptr(a) + format.HeaderSize, Size: size}
	if c.valueString {
		putString(target, c.valueAt, c.ownedAt, *(*string)(value), owned)
	} else {
		err = c.Type.Flatten(target, c.valueAt, c.ownedAt, owned, value)
	}
	if err == nil && c.check != nil {
		err = c.Type.Judge(c.ValueOf(stored(a)), blockBounds(a, size), c.check)
	}
	if err != nil {
		t.Free(a)
		return 0, err
	}
	return a, nil
}

// stored returns the payload of a block in the read view.
func stored(a format.Addr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(nil), uintptr(a)+format.HeaderSize)
}

// blockBounds returns the limits of a payload of a size.
func blockBounds(a format.Addr, size uintptr) layout.Bounds {
	lo := uintptr(a) + format.HeaderSize
	return layout.Bounds{Lo: lo, Hi: lo + size}
}
