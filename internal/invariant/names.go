//go:build invariants && linux

package invariant

import (
	"fmt"
	"strings"
)

const numEvents = Unusual + 1

// events has the names of the events, and the formats of a and b: %i is an incarnation, %d a
// number, %x a hexadecimal number, %_ nothing.
var events = [numEvents]struct{ name, numbers string }{
	Took: {"taken", change}, Sealed: {"sealed", change}, Freed: {"freed", change}, Settled: {"settled", change},
	Returned: {"returned", change}, Listed: {"listed", change}, Pushed: {"pushed", change}, Accepted: {"accepted", change}, Carved: {"carved", change}, CutOff: {"cut off", change},
	Cut: {"cut", change}, Joined: {"joined", change}, Found: {"swept up", change}, Lent: {"put into the reserve", change},
	Unlent: {"out of the reserve", change}, Spared: {"spared", change}, Leaked: {"leaked", change},
	Began: {"joins", "as %i"}, Left: {"leaves", "as %i"}, Dead: {"finds dead", "%i"}, TookOver: {"takes over", "from %i, alive: %d"},
	Swapped: {"swapped to", "version %d, from %x"}, Lost: {"could not swap to", "version %d, from %x"},
	Epoch: {"raises the epoch", "to %d, floor %x"}, Forgot: {"forgets", "for epoch %d, below %x"}, Abandoned: {"abandons all lists", ""},
	GaveUp: {"gives up the sweep", "of epoch %d"}, Swept: {"has swept", "epoch %d: %d bytes"}, Grew: {"grows the file", "%_to %x"},
	Marked: {"marked holes", "%_%d bytes"}, Punched: {"punched", "%_%d bytes"}, Anchored: {"anchored", "version %d in slot %d"},
	Unusual: {"sees strangers", ""},
}

// change is the format of the numbers of a change of hands.
const change = "%c, %d bytes"

// String names the event.
func (e Event) String() string {
	if e < numEvents && events[e].name != "" {
		return events[e].name
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// tell formats the numbers of an event.
func (e Event) tell(a, b uint64) string {
	if e >= numEvents {
		return fmt.Sprintf("%#x, %#x", a, b)
	}
	text := events[e].numbers
	for _, n := range []uint64{a, b} {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			break
		}
		told := ""
		switch text[i+1] {
		case 'i':
			told = Incarnation(n)
		case 'c':
			told = changeText(n)
		case 'd':
			told = fmt.Sprint(n)
		case 'x':
			told = fmt.Sprintf("%#x", n)
		}
		text = text[:i] + told + text[i+2:]
	}
	return text
}

// changeOf reports whether the event is a change of hands.
func (e Event) changeOf() bool { return e < numEvents && events[e].numbers == change }

// ranged reports whether the event is about all pieces in a range of bytes.
func (e Event) ranged() bool { return e.changeOf() || e == Marked || e == Punched }
