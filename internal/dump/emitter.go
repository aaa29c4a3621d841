package dump

import (
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/entry"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// emitter implements object.Emitter for the kinds of objects.
type emitter struct{ *Dump }

func (t emitter) Pass() object.Pass { return t.pass }

func (t emitter) Counts() *object.Counts { return &t.Dump.Counts }

func (t emitter) Reader() *heap.Reader { return t.Dump.Reader }

func (t emitter) Payload(a format.Addr) ([]byte, format.OpHead) {
	at := uintptr(a) + format.HeaderSize
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), t.Dump.Reader.Size(a)), format.OpHead{Addr: uint64(at)}
}

func (t emitter) Type(index uint64) *layout.Type { return t.types[index] }

func (t emitter) Know(typ *layout.Type) { t.types[t.object] = typ }

func (t emitter) Shape(key, value *layout.Type) *entry.Shape { return t.Dump.Shape(key, value) }

func (t emitter) Own() *entry.Shape {
	if t.object == t.State.Catalog || t.object == t.State.Types {
		return t.Dump.Own
	}
	return nil
}

func (t emitter) Things(n uint64) { t.budget = object.BlockBudget(n) }

func (t emitter) Visit(a format.Addr, kind format.Kind) (bool, error) { return t.visit(a, kind) }

func (t emitter) Damage(a format.Addr, err error) error { return t.damage(a, err) }

func (t emitter) Once(err error) error { return t.onlyOnce(err) }

func (t emitter) Lead(e unsafe.Pointer, b layout.Bounds) (bool, error) {
	if t.There != nil {
		if err := CheckLead(t.Dump.Own, e, b, t.object == t.State.Types, t.types, t.There); err != nil {
			return false, err
		}
	}
	return t.Name == nil || t.Name(t.object, e, b), nil
}

func (t emitter) Show(typ *layout.Type, p unsafe.Pointer, b layout.Bounds) {
	if t.Meet != nil {
		t.Meet(t.object, typ, p, b)
	}
}

func (t emitter) Emit(op format.OpKind, h format.OpHead, payload []byte) error {
	if t.muted {
		return nil
	}
	h.What = format.MakeWhat(op, t.object)
	t.Failed = t.Put(h, payload)
	return t.Failed
}

// CheckLead checks an entry of one of the space's own maps. It returns an error unless a digest
// refers to the type with that digest, and a name to an existing object.
func CheckLead(own *entry.Shape, e unsafe.Pointer, b layout.Bounds, toType bool, types map[uint64]*layout.Type, there func(index uint64) bool) error {
	var name string
	if err := own.Key.CopyOut(unsafe.Pointer(&name), own.KeyOf(e), b); err != nil {
		return err
	}
	index := *layout.Cast[uint64](own.ValueOf(e))
	switch {
	case !toType && !there(index):
		return fmt.Errorf("the name %q refers to object %d, which does not exist", name, index)
	case toType && (types[index] == nil || layout.Digest(types[index].Encode()) != name):
		return fmt.Errorf("a digest refers to object %d, which is not its type", index)
	}
	return nil
}
