// Package table is the object table: from the index of an object to the block
// that it is now. The table is a radix vector of addresses; its root is in the
// state, so a version's table is all of the version.
//
// Start reading at Object, then Edit and Replace.
package table

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/object"
	"github.com/everheap/everheap/internal/vector"
)

// ErrNoObject says that no object has the index.
var ErrNoObject = errors.New("no object has this ID")

// KindError says that an object is of another kind than expected.
type KindError struct{ Want, Got format.Kind }

// Error implements error.
func (e *KindError) Error() string {
	return fmt.Sprintf("the object is a %s, not a %s", e.Got, e.Want)
}

// find returns the address of an object's block, and verifies its kind: that is
// in the cache line that the payload begins in.
func find(r *heap.Reader, root format.Link, index uint64, kind format.Kind) (format.Addr, unsafe.Pointer, error) {
	word, err := vector.Get(r, root, index)
	if err != nil {
		return 0, nil, err
	}
	if word == 0 {
		return 0, nil, ErrNoObject
	}
	a := format.Addr(word)
	p, err := r.Payload(a, kind)
	if err != nil {
		if r.Plausible(a) && object.Is(r.Kind(a)) && r.Verify(a, r.Kind(a)) == nil {
			return 0, nil, &KindError{kind, r.Kind(a)}
		}
		return 0, nil, err
	}
	if got := r.Kind(a); got != kind {
		if object.Is(got) {
			return 0, nil, &KindError{kind, got}
		}
		return 0, nil, &format.DamageError{File: "heap", What: fmt.Sprintf("the object table leads to a block of kind %s", got)}
	}
	return a, p, nil
}

// Object returns the payload of an object of the kind; ErrNoObject or a
// *KindError if there is none.
func Object(r *heap.Reader, root format.Link, index uint64, kind format.Kind) (unsafe.Pointer, error) {
	_, p, err := find(r, root, index, kind)
	return p, err
}

// Any returns the kind and the payload of an object of whatever kind; ErrNoObject if
// there is none.
func Any(r *heap.Reader, root format.Link, index uint64) (format.Kind, unsafe.Pointer, error) {
	word, err := vector.Get(r, root, index)
	if err != nil {
		return 0, nil, err
	}
	if word == 0 {
		return 0, nil, ErrNoObject
	}
	a := format.Addr(word)
	if !r.Plausible(a) || !object.Is(r.Kind(a)) {
		return 0, nil, &format.DamageError{File: "heap", What: fmt.Sprintf("the object table leads to %#x, where no object is", word)}
	}
	kind := r.Kind(a)
	p, err := r.Payload(a, kind)
	return kind, p, err
}

// Edit returns the payload of an object, writable, and the new root: the block
// is the transaction's own, copied if it was not.
func Edit(t *heap.Txn, root format.Link, index uint64, kind format.Kind, size format.ByteCount) (format.Link, unsafe.Pointer, error) {
	a, _, err := find(&t.Reader, root, index, kind)
	if err != nil {
		return 0, nil, err
	}
	if t.Editable(a) {
		return root, t.Payload(a), nil
	}
	if a, err = t.Copy(a, kind, size); err != nil {
		return 0, nil, err
	}
	root, err = vector.Set(t, root, index, uint64(a))
	return root, t.Payload(a), err
}

// New writes a new object and enters it under the index.
func New(t *heap.Txn, root format.Link, index uint64, kind format.Kind, size format.ByteCount) (format.Link, unsafe.Pointer, error) {
	a, err := t.Alloc(kind, size)
	if err != nil {
		return 0, nil, err
	}
	root, err = Enter(t, root, index, a)
	return root, t.Payload(a), err
}

// Enter makes a block of the transaction the new object with the index.
func Enter(t *heap.Txn, root format.Link, index uint64, a format.Addr) (format.Link, error) {
	return vector.Set(t, root, index, uint64(a))
}

// Replace makes a block of the transaction the object with the index, and drops the one
// that it was, which was found by Object.
func Replace(t *heap.Txn, root format.Link, index uint64, old, a format.Addr) (format.Link, error) {
	root, err := vector.Set(t, root, index, uint64(a))
	if err == nil {
		t.Free(old)
	}
	return root, err
}

// Walk visits the nodes of the table, and calls object with the index and the
// address of every object.
func Walk(r *heap.Reader, root format.Link, visit vector.Visit, object func(index uint64, a format.Addr) error) error {
	return vector.Walk(r, root, visit, func(i, w uint64) error { return object(i, format.Addr(w)) })
}
