//go:build invariants && linux

package invariant

import "fmt"

// An Owner is the owner of a piece of the heap: the kind of owner, which one of that kind,
// and the epoch of sweeps under which it became the owner. 0: unknown.
type Owner uint64

// OwnerKind is the kind of an owner.
type OwnerKind uint8

// The kinds of owners.
const (
	Unknown OwnerKind = iota // no process has noted an owner since the ledger began
	Free                     // the lists of free space of an incarnation
	Loose                    // an incarnation that is about to put the piece into such a list
	Taken                    // the transaction of an incarnation
	Version                  // a version that an incarnation has sealed, and perhaps published
	Waiting                  // an incarnation's lists of blocks that it has freed, and that held versions may still use
	Several                  // such lists of several incarnations, for a while after a restore (C2 of the engine)
	Batch                    // a free-block batch that an incarnation has filled
	Freeing                  // a batch of waiting blocks
	Reserve                  // a cell of the reserve
	Blocks                   // for an extent: it was cut into blocks, which have their own owners

	numOwnerKinds
)

var ownerNames = [numOwnerKinds]string{
	"not known", "free", "about to be free", "in the transaction", "of a version", "waiting", "waiting with several", "in a batch", "waiting in a batch", "in the reserve", "cut into blocks",
}

const (
	whoBits   = 40
	epochBits = 20
)

// MakeOwner packs an owner. It keeps the low 20 bits of the epoch.
func MakeOwner(k OwnerKind, who, epoch uint64) Owner {
	return Owner(uint64(k)<<(whoBits+epochBits) | epoch<<whoBits&(1<<(whoBits+epochBits)-1) | who&(1<<whoBits-1))
}

// Kind returns the kind.
func (o Owner) Kind() OwnerKind { return OwnerKind(o >> (whoBits + epochBits)) }

// Who returns which one of the kind it is: usually an incarnation.
func (o Owner) Who() uint64 { return uint64(o) & (1<<whoBits - 1) }

// Epoch returns the low bits of the epoch.
func (o Owner) Epoch() uint64 { return uint64(o) >> whoBits & (1<<epochBits - 1) }

// Under reports whether the owner got the piece under the epoch.
func (o Owner) Under(epoch uint64) bool { return o.Epoch() == epoch&(1<<epochBits-1) }

// String formats the owner.
func (o Owner) String() string {
	if o.Kind() >= numOwnerKinds {
		return fmt.Sprintf("nonsense %#x", uint64(o))
	}
	name := ownerNames[o.Kind()]
	switch o.Kind() {
	case Unknown:
		return name
	case Blocks:
		return fmt.Sprintf("%s of class %d", name, o.Who())
	}
	return fmt.Sprintf("%s of %s, epoch %d", name, Incarnation(o.Who()), o.Epoch())
}

// String names the kind.
func (k OwnerKind) String() string {
	if k < numOwnerKinds {
		return ownerNames[k]
	}
	return "nonsense"
}

// Incarnation formats an incarnation as its counter and the index of its entry.
func Incarnation(i uint64) string { return fmt.Sprintf("%d/%d", i>>9, i&511) }

// Change packs two owners for an event: the kind and the low bits of Who of each.
func Change(from, to Owner) uint64 {
	short := func(o Owner) uint64 { return uint64(o.Kind())<<28 | o.Who()&(1<<28-1) }
	return short(from)<<32 | short(to)
}

// changeText formats a change.
func changeText(c uint64) string {
	short := func(o uint64) string {
		k, who := OwnerKind(o>>28), o&(1<<28-1)
		switch {
		case k >= numOwnerKinds:
			return fmt.Sprintf("nonsense %#x", o)
		case k == Unknown:
			return ownerNames[k]
		case k == Blocks:
			return fmt.Sprintf("%s of class %d", ownerNames[k], who)
		}
		return fmt.Sprintf("%s of %s", ownerNames[k], Incarnation(who))
	}
	return short(c>>32) + " -> " + short(c&(1<<32-1))
}
