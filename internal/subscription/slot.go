package subscription

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// A slot has a name and a version, and is free while the version is 0. One word has the version
// together with a serial number, how many times the slot was taken. A compare-and-swap of that word
// takes the slot, changes its version and frees it. So a process that was suspended, and continues
// with an occupant that is gone, changes nothing, whatever has taken the slot since.
type slot struct {
	maker    *atomic.Uint64 // the process that is filling it while it is free
	position *atomic.Uint64
	name     *nameWords
}

type nameWords = [format.MaxSubscriptionName / 8]atomic.Uint64

const serialShift = 48

// read returns the serial number and the version of the slot; the version is 0 if it is free.
func (s slot) read() (serial uint64, version format.Version) {
	position := s.position.Load()
	return position >> serialShift, format.Version(position & format.AddrMask)
}

// swap changes the version of the occupant with the serial number; 0 frees the slot.
func (s slot) swap(serial uint64, old, version format.Version) bool {
	return s.position.CompareAndSwap(serial<<serialShift|uint64(old), serial<<serialShift|uint64(version))
}

// take fills the slot, if it is free and no other process is filling it; fill sets the other words.
// A process that dies in take leaves the slot free.
func (s slot) take(v *live.Live, name string, version format.Version, fill func()) (serial uint64, ok bool) {
	by, me := s.maker.Load(), uint64(v.Incarnation())
	if _, at := s.read(); at != 0 || by != 0 && v.Alive(format.Incarnation(by)) || !s.maker.CompareAndSwap(by, me) {
		return 0, false
	}
	defer s.maker.CompareAndSwap(me, 0)
	serial, at := s.read()
	if at != 0 { // it was taken since the look
		return 0, false
	}
	putName(s.name, name)
	fill()
	next := (serial + 1) & (1<<16 - 1)
	s.position.Store(next<<serialShift | uint64(version))
	return next, true
}

// end frees the slot if its occupant has the serial number.
func (s slot) end(serial uint64) {
	for {
		now, at := s.read()
		if now != serial || at == 0 || s.swap(serial, at, 0) {
			return
		}
	}
}

// nameIn returns the name in words.
func nameIn(words *nameWords) string {
	b := make([]byte, 0, format.MaxSubscriptionName)
	for i := range words {
		b = binary.LittleEndian.AppendUint64(b, words[i].Load())
	}
	return strings.TrimRight(string(b), "\x00")
}

// putName puts a name into words.
func putName(words *nameWords, name string) {
	var b [format.MaxSubscriptionName]byte
	copy(b[:], name)
	for i := range words {
		words[i].Store(binary.LittleEndian.Uint64(b[8*i:]))
	}
}
