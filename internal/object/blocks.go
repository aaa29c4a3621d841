package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// ErrCircles is the error for a tree with more blocks than its contents can need.
var ErrCircles = errors.New("its links form a circle, or reach more than it can hold")

// BlockBudget returns an upper bound on the blocks of a tree that holds so many things.
func BlockBudget(things uint64) uint64 { return (min(things, 1<<48) + 1) * 16 }

// EachBlock calls visit with every block of an object except the object's own, whose payload is p.
// It fails on damage: a block that does not verify, or more or fewer entries than the object
// counts. After an error visit may have got only a part of the blocks. r verifies each block once;
// verified reads blocks after that.
func EachBlock(r, verified *heap.Reader, kind format.Kind, p unsafe.Pointer, visit func(a format.Addr) error) error {
	k := Of(kind)
	if k == nil {
		return fmt.Errorf("blocks of kind %s are no objects", kind)
	}
	_, _, want := k.Contents(p)
	budget, found := BlockBudget(want), uint64(0)
	err := k.Blocks(verified, p, func(a format.Addr, kind format.Kind) (bool, error) {
		if budget == 0 {
			return false, ErrCircles
		}
		budget--
		if err := r.Verify(a, kind); err != nil {
			return false, err
		}
		if n := NodeOf(kind); n != nil && n.Hold != nil {
			found++
		}
		return true, visit(a)
	})
	if k.About().Whole {
		found = want
	}
	if err == nil && found != want {
		err = fmt.Errorf("the %s counts %d values, and %d can be found", kind, want, found)
	}
	return err
}
