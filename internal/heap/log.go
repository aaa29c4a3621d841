package heap

import (
	"errors"
	"slices"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// A log collects the changes of one transaction, for the journal. It copies nothing: a
// change names the block that was stored or removed, and the heap keeps such blocks until
// the journal has that version (I2). A block that the transaction itself drops again loses
// its stamp. The transaction does not reuse it before its change is removed from the list,
// or the transaction ends.
type log struct {
	on        bool // changes are collected
	unlisted  bool // the list does not describe the version
	truncates bool // some change is a truncation
	ops       []format.Op
	bytes     uint64        // size of ops in the journal; dropped changes count until the list is compacted
	dropped   []format.Addr // dropped blocks of the kinds to which changes refer
	compact   int           // length of ops at which the list is compacted
}

const (
	// MaxLogged is the greatest size, in bytes, of the changes of one transaction in the
	// journal. A larger transaction is cheaper to anchor than to log.
	MaxLogged    = 32 << 20
	firstCompact = 4096
)

func (l *log) begin() {
	l.on, l.unlisted, l.truncates, l.bytes, l.compact = true, false, false, 0, firstCompact
	l.ops, l.dropped = l.ops[:0], l.dropped[:0]
}

// LogSet logs that an entry was stored. old is the entry of the same key that it replaced, 0
// if there was none.
//
// An entry is fresh if its key was missing before, or if it replaced a fresh entry of this
// transaction. So after a fresh entry is removed the key is as it was before the transaction
// first stored it. Changes of other keys commute with those in between: so the log needs
// neither the store nor the removal. Keys that are stored and removed in one transaction
// leave no log.
func (t *Txn) LogSet(object uint64, entry, old format.Addr) {
	if !t.log.on {
		return
	}
	if old == 0 || t.isFresh(old) {
		t.heap.writable(entry).Sum |= fresh
	}
	t.Log(format.Op{What: format.MakeWhat(format.OpSet, object), Block: uint64(entry)})
}

// isFresh reports whether an entry was written by this transaction and is fresh.
func (t *Txn) isFresh(a format.Addr) bool {
	hd := t.heap.header(a)
	return hd.Birth() == t.version && hd.Sum&fresh != 0
}

// Log adds a change to the transaction's log, other than an OpSet. The block of an OpDelete
// is the block of the removed entry.
func (t *Txn) Log(op format.Op) {
	l := &t.log
	if !l.on {
		return
	}
	if format.OpKindOf(op.What) == format.OpDelete && t.isFresh(format.Addr(op.Block)) {
		return // LogSet; its block was dropped, and the change that stored it is taken off with it
	}
	l.ops = append(l.ops, op)
	l.bytes += t.journalBytes(op)
	switch format.OpKindOf(op.What) {
	case format.OpDelete:
		t.keep(format.Addr(op.Block))
	case format.OpTruncate:
		l.truncates = true
	}
	if len(l.ops) >= l.compact || l.bytes > MaxLogged {
		t.compactLog()
	}
}

// journalBytes returns how many bytes a change has in the journal.
func (t *Txn) journalBytes(op format.Op) uint64 {
	n := uint64(format.OpHeadSize)
	if a := op.Carried(); a != 0 {
		n += uint64(t.heap.header(a).Size+7) &^ 7
	}
	return n
}

// keep keeps a removed entry until the journal has read its key: an entry of this
// transaction, or an entry of the base whose birth the journal has already. An entry of this
// transaction gets its stamp back, so that it stays listed.
func (t *Txn) keep(a format.Addr) {
	hd := t.heap.header(a)
	for i := len(t.freed) - 1; i >= 0 && hd.Birth() <= t.logged; i-- { // otherwise it waits already
		if t.freed[i].addr == a {
			t.unlogged = append(t.unlogged, t.freed[i])
			t.freed = slices.Delete(t.freed, i, i+1)
			return
		}
	}
	if n := len(t.log.dropped); n > 0 && t.log.dropped[n-1] == a {
		t.log.dropped = t.log.dropped[:n-1]
		t.heap.writable(a).Sum = t.stamp
		t.unlogged = append(t.unlogged, freed{a, t.version, t.version, blockSize(hd)})
	}
}

// drop takes a block of this transaction out of use.
func (l *log) drop(t *Txn, a format.Addr) {
	t.heap.writable(a).Sum &= marks // no stamp: stamps begin at 1
	l.dropped = append(l.dropped, a)
}

// listed reports whether the list still needs the change, and removes a dropped block from
// it. If a value was stored and then replaced or truncated, a later change describes that.
// But only the change that created an object or an element says that it exists: that change
// stays, without a value, until the later change sets one.
func (t *Txn) listed(op *format.Op) bool {
	a := op.Carried()
	if a == 0 || t.heap.header(a).Sum&^marks != 0 {
		return true
	}
	switch format.OpKindOf(op.What) {
	case format.OpSet, format.OpSetValue, format.OpSetItem:
		return false
	case format.OpNewValue, format.OpAppend:
		op.Block = 0
	}
	return true
}

// compactLog removes dropped changes from the list. If the list is still too long it gives
// up the list.
func (t *Txn) compactLog() {
	l := &t.log
	kept := l.ops[:0]
	for _, op := range l.ops {
		if t.listed(&op) {
			kept = append(kept, op)
		}
	}
	l.ops = kept
	l.undo()
	l.bytes = 0
	for _, op := range l.ops {
		l.bytes += t.journalBytes(op)
	}
	l.compact = max(firstCompact, 2*len(l.ops))
	t.releaseDropped()
	if l.bytes > MaxLogged {
		t.Unlist()
	}
}

// undo removes changes that later truncations have undone: elements that were appended or
// set beyond the remaining length, and truncations to a greater length. So a list that is
// used as a stack leaves a log as long as itself. Changes of different objects commute, and
// undo removes the changes of one list from the last one back: so earlier changes apply to
// the same list as before.
func (l *log) undo() {
	if !l.truncates {
		return
	}
	lists := map[uint64][]int{} // by list: the changes that count so far
	for i := range l.ops {
		op := &l.ops[i]
		kind, object := format.OpKindOf(op.What), format.ObjectOf(op.What)
		if kind != format.OpAppend && kind != format.OpSetItem && kind != format.OpTruncate {
			continue
		}
		list := lists[object]
		if kind == format.OpTruncate {
			for n := len(list) - 1; n >= 0 && l.ops[list[n]].Arg >= op.Arg; n-- {
				l.ops[list[n]].What = 0
				list = list[:n]
			}
		}
		lists[object] = append(list, i)
	}
	l.ops = slices.DeleteFunc(l.ops, func(op format.Op) bool { return op.What == 0 })
}

// releaseDropped makes the dropped blocks free for reuse; if a walk or a borrowed pointer
// may still look at one, it becomes free at the end of the transaction.
func (t *Txn) releaseDropped() {
	for _, a := range t.log.dropped {
		hd := t.heap.writable(a)
		if t.frozen > 0 || t.borrowed || hd.Sum&lent != 0 {
			t.retire(a)
			continue
		}
		t.dropBlock(a, blockSize(hd))
	}
	t.log.dropped = t.log.dropped[:0]
}

// Unlist says that no list can describe the transaction's changes, later ones included: its
// version needs an anchor.
func (t *Txn) Unlist() {
	l := &t.log
	if !l.on {
		return
	}
	l.on, l.unlisted = false, true
	l.ops = l.ops[:0]
	t.releaseDropped()
}

// NoLog says that the changes need no log.
func (t *Txn) NoLog() { t.log.on = false }

// Replaying says that the changes come from the journal: they need no log, and the sweep
// after the recovery finds the blocks that they free.
func (t *Txn) Replaying() { t.log.on, t.leaks = false, true }

// Logged returns how many bytes the transaction's changes will have in the journal.
func (t *Txn) Logged() uint64 { return t.log.bytes }

// SealLog returns the changes for the state: the only change, the address of a block with
// several, or a mark that they are not listed.
func (t *Txn) SealLog() (format.Op, error) {
	l := &t.log
	if l.unlisted {
		return format.Op{What: format.MakeWhat(format.OpUnlisted, 0)}, nil
	}
	if len(l.dropped) > 0 {
		t.compactLog()
	}
	if l.unlisted {
		return format.Op{What: format.MakeWhat(format.OpUnlisted, 0)}, nil
	}
	switch len(l.ops) {
	case 0:
		return format.Op{}, nil
	case 1:
		return l.ops[0], nil
	}
	a, err := t.Alloc(format.KindOps, format.ByteCount(len(l.ops)*format.OpSize))
	if errors.Is(err, mapping.ErrNoSpace) || errors.Is(err, ErrFull) { // anchors take no space
		t.Unlist()
		return format.Op{What: format.MakeWhat(format.OpUnlisted, 0)}, nil
	}
	if err != nil {
		return format.Op{}, err
	}
	copy(unsafe.Slice((*format.Op)(t.Payload(a)), len(l.ops)), l.ops)
	return format.Op{What: format.MakeWhat(format.OpList, 0), Block: uint64(a)}, nil
}
