package heap_test

import (
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/heap/heaptest"
)

// In a transaction with very many walks, stamps do not become marks: the log has the removal
// of an entry that replaced one of the base, and the entries at the end.
func TestLog_AfterVeryManyWalks(t *testing.T) {
	space := heaptest.Open(t, 64<<20)
	var base block
	update := func(fn func(txn *heap.Txn)) {
		t.Helper()
		if err := space.Update(t, func(txn *heap.Txn) error { fn(txn); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(txn *heap.Txn) { base = fill(t, txn, 64, 1) })
	const many = 1<<30 - 4
	for more := range 8 {
		update(func(txn *heap.Txn) {
			txn.Age(many)
			for range more {
				txn.Freeze()
				txn.Thaw()
			}
			before := fill(t, txn, 64, 2)
			txn.Freeze()
			during := fill(t, txn, 64, 3)
			if txn.Editable(before.addr) || !txn.Editable(during.addr) {
				t.Errorf("after %d walks more: a block under a walk is editable, or a block written since is not", more)
			}
			txn.Freeze()
			if txn.Editable(before.addr) || txn.Editable(during.addr) {
				t.Errorf("after %d walks more: a block under one of two walks is editable", more)
			}
			txn.Thaw()
			txn.Thaw()
			if !txn.Editable(before.addr) || !txn.Editable(during.addr) {
				t.Errorf("after %d walks more: a block is not editable, although there is no walk", more)
			}
			txn.LogSet(1, during.addr, base.addr)
			txn.Free(during.addr)
			txn.Log(format.Op{What: format.MakeWhat(format.OpDelete, 1), Block: uint64(during.addr)})
			txn.LogSet(1, before.addr, 0)
			txn.CompactLog()
			if n := txn.Logged(); n != 3*uint64(format.OpHeadSize+64) {
				t.Errorf("after %d walks more: %d bytes are logged", more, n)
			}
			txn.Free(before.addr)
		})
	}
}
