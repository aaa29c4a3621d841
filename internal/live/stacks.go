package live

import "github.com/everheap/everheap/internal/format"

// The stacks of batches pass free space between processes. A head is the address of the
// first batch and the epoch. A process changes it in two ways, each one compare-and-swap:
// it takes everything at once, or it puts a chain on top. Taking everything reads no link
// of a batch that another process may take meanwhile, so no head can deceive it by coming
// back; and putting on top is right whenever the head is what the chain's last link says.
//
// A stack of single blocks, popped by compare-and-swap, would have the ABA problem: the next
// link is read from a block that another process may have taken meanwhile.
//
// Both fail if the head is of another epoch: a sweep has begun, and the caller no longer
// owns its free space.

const (
	headAddrBits = 40
	headAddrMask = 1<<headAddrBits - 1
	epochMask    = 1<<(64-headAddrBits) - 1
)

// packHead builds a head word: the batch's offset in the window divided by 16,
// which 40 bits hold for every window, and the low bits of the epoch. Offset 0
// is the header of the heap file and never a batch.
func packHead(offset, epoch uint64) uint64 { return offset>>4 | epoch<<headAddrBits }

// headOffset unpacks the offset.
func headOffset(head uint64) uint64 { return head & headAddrMask << 4 }

// TakeStack takes all batches of stack i, and returns the first one; 0 if there is none. ok
// is false if the stack has another epoch. A batch is named by its offset in the window; 0
// is nil.
func (v *Live) TakeStack(i int, epoch uint64) (first uint64, ok bool) {
	head := &v.words.Stacks[i].Head
	for {
		h := head.Load()
		if h>>headAddrBits != epoch&epochMask {
			return 0, false
		}
		if headOffset(h) == 0 || head.CompareAndSwap(h, h&^headAddrMask) {
			v.Assure() // no other process owns the contents of the batches (L16)
			return headOffset(h), true
		}
	}
}

// PushStack puts the chain from first on stack i; link stores the previous top into the
// chain's last batch. It reports false if the stack has another epoch: then the caller no
// longer owns the chain.
func (v *Live) PushStack(i int, epoch, first uint64, link func(next uint64)) bool {
	head := &v.words.Stacks[i].Head
	for {
		h := head.Load()
		if h>>headAddrBits != epoch&epochMask {
			return false
		}
		link(headOffset(h))
		if head.CompareAndSwap(h, packHead(first, epoch)) {
			return true
		}
	}
}

// RestoreStack puts the rest of a taken chain back, if no process has pushed a chain since.
// It reports false if one has, or if the stack has another epoch.
func (v *Live) RestoreStack(i int, epoch, first uint64) bool {
	return v.words.Stacks[i].Head.CompareAndSwap(packHead(0, epoch&epochMask), packHead(first, epoch&epochMask))
}

// EmptyStack drops the batches of an older epoch from stack i, and gives the stack the
// epoch. A sweep calls it, and later finds the space of these batches. A sweeper that slept
// while another one began finds a newer epoch, and does not change the stack.
func (v *Live) EmptyStack(i int, epoch uint64) {
	head := &v.words.Stacks[i].Head
	for {
		h := head.Load()
		if age := (epoch - h>>headAddrBits) & epochMask; age == 0 || age > epochMask/2 {
			return
		}
		if head.CompareAndSwap(h, packHead(0, epoch)) {
			return
		}
	}
}

// SetStack gives stack i a chain when the live file is rebuilt.
func SetStack(w *format.Live, i int, first uint64) {
	w.Stacks[i].Head.Store(packHead(first, w.Epoch.Load()))
}

// StackHead returns the first batch of stack i, when no other process runs.
func (v *Live) StackHead(i int) uint64 { return headOffset(v.words.Stacks[i].Head.Load()) }
