package live

import (
	"encoding/binary"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/oslock"
)

// A copy of the space on another machine says which version is durable there. Who speaks for the
// copies notes it here, for all processes: some have commits that wait for copies. Nothing of it
// outlives the live file: copies say it again.

// Acknowledge notes that a copy has a version; ok is false if there is no slot for one more copy.
func (v *Live) Acknowledge(name string, version format.Version) (ok bool) {
	w := v.copyOf(name)
	if w == nil {
		return false
	}
	w.Version.Store(uint64(version))
	v.Assure() // L16
	v.words.CopiesFutex.Add(1)
	oslock.FutexWake(futexWord(&v.words.CopiesFutex), math.MaxInt32)
	return true
}

// copyOf returns the slot of a copy, a new one if it has none; nil if there is none.
func (v *Live) copyOf(name string) *format.LiveCopy {
	for i := range v.words.Copies {
		if w := &v.words.Copies[i]; w.Used.Load() == subscriptionUsed && nameIn(&w.Name) == name {
			return w
		}
	}
	for i := range v.words.Copies {
		w := &v.words.Copies[i]
		used := w.Used.Load()
		if used == subscriptionUsed || used != 0 && v.Alive(format.Incarnation(used)) || !w.Used.CompareAndSwap(used, uint64(v.incarnation)) {
			continue
		}
		putName(&w.Name, name)
		w.Version.Store(0)
		if w.Used.CompareAndSwap(uint64(v.incarnation), subscriptionUsed) {
			return w
		}
	}
	return nil
}

// ForgetCopies forgets what copies have said: the versions are of another history from now on.
func (v *Live) ForgetCopies() {
	for i := range v.words.Copies {
		v.words.Copies[i].Used.Store(0)
	}
}

// Copies returns the newest version that each copy has said to have.
func (v *Live) Copies() map[string]format.Version {
	copies := map[string]format.Version{}
	for i := range v.words.Copies {
		if w := &v.words.Copies[i]; w.Used.Load() == subscriptionUsed {
			version := format.Version(w.Version.Load())
			if name := nameIn(&w.Name); w.Used.Load() == subscriptionUsed {
				copies[name] = max(copies[name], version) // two processes may have noted the first one at once
			}
		}
	}
	return copies
}

// AwaitCopies returns how many copies have a version; or waits for a while if they are fewer than n.
func (v *Live) AwaitCopies(version format.Version, n int, most time.Duration) (have int) {
	seen := v.words.CopiesFutex.Load()
	for _, at := range v.Copies() {
		if at >= version {
			have++
		}
	}
	v.Assure()
	if have < n {
		oslock.FutexWait(futexWord(&v.words.CopiesFutex), seen, most)
	}
	return have
}

type nameWords = [format.MaxSubscriptionName / 8]atomic.Uint64

// nameIn returns the name in some words.
func nameIn(words *nameWords) string {
	b := make([]byte, 0, format.MaxSubscriptionName)
	for i := range words {
		b = binary.LittleEndian.AppendUint64(b, words[i].Load())
	}
	return strings.TrimRight(string(b), "\x00")
}

// putName puts a name into some words.
func putName(words *nameWords, name string) {
	var b [format.MaxSubscriptionName]byte
	copy(b[:], name)
	for i := range words {
		words[i].Store(binary.LittleEndian.Uint64(b[8*i:]))
	}
}
