package subscription

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
)

// A copy of the space on another machine says which version is durable there. Who speaks for the
// copies notes it here, for all processes: some have commits that wait for copies. Nothing of it
// outlives the live file: copies say it again.

// Acknowledge notes that a copy has a version; ok is false if there is no slot for one more copy.
func Acknowledge(v *live.Live, name string, version format.Version) (ok bool) {
	w := copyOf(v, name)
	if w == nil {
		return false
	}
	w.Version.Store(uint64(version))
	v.Assure() // L16
	v.WakeCopies()
	return true
}

// copyOf returns the slot of a copy, a new one if it has none; nil if there is none.
func copyOf(v *live.Live, name string) *format.LiveCopy {
	for i := range v.Words().Copies {
		if w := &v.Words().Copies[i]; w.Used.Load() == used && nameIn(&w.Name) == name {
			return w
		}
	}
	for i := range v.Words().Copies {
		w := &v.Words().Copies[i]
		by := w.Used.Load()
		if by == used || by != 0 && v.Alive(format.Incarnation(by)) || !w.Used.CompareAndSwap(by, uint64(v.Incarnation())) {
			continue
		}
		putName(&w.Name, name)
		w.Version.Store(0)
		if w.Used.CompareAndSwap(uint64(v.Incarnation()), used) {
			return w
		}
	}
	return nil
}

// ForgetCopies forgets what copies have said: the versions are of another history from now on.
func ForgetCopies(v *live.Live) {
	for i := range v.Words().Copies {
		v.Words().Copies[i].Used.Store(0)
	}
}

// Copies returns the newest version that each copy has said to have.
func Copies(v *live.Live) map[string]format.Version {
	copies := map[string]format.Version{}
	for i := range v.Words().Copies {
		if w := &v.Words().Copies[i]; w.Used.Load() == used {
			version := format.Version(w.Version.Load())
			if name := nameIn(&w.Name); w.Used.Load() == used {
				copies[name] = max(copies[name], version) // two processes may have noted the first one at once
			}
		}
	}
	return copies
}

// AwaitCopies returns how many copies have a version; or waits for a while if they are fewer than n.
func AwaitCopies(v *live.Live, version format.Version, n int, most time.Duration) (have int) {
	seen := v.Words().CopiesFutex.Load()
	for _, at := range Copies(v) {
		if at >= version {
			have++
		}
	}
	v.Assure()
	if have < n {
		v.AwaitCopies(seen, most)
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
