package object

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
)

// ErrCircles says that a tree has more blocks than what it holds can take.
var ErrCircles = errors.New("its links lead in circles, or to more than it can hold")

// BlockBudget returns more blocks than a tree with so many things in it has.
func BlockBudget(things uint64) uint64 { return (min(things, 1<<48) + 1) * 16 }

// EachBlock calls visit with every block of an object but the object's own, whose payload
// is p. It fails on damage: blocks that do not verify, or more or fewer entries than the
// object says. What visit was told until then is not all of the object. r verifies, each
// block once; verified reads what was.
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
		err = fmt.Errorf("the %s says that it has %d, and %d can be found", kind, want, found)
	}
	return err
}
