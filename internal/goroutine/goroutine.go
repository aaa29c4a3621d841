// Package goroutine tells goroutines apart, so that a goroutine that is about to wait for itself gets
// an error instead.
//
// Start reading at ID and GoID.
package goroutine

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
)

// ID returns a number that no other goroutine has at the same time: the address
// of the runtime's descriptor, which is in a register or in thread-local storage. Callers only
// compare it. A later goroutine may get the same number.
func ID() uintptr { return current() }

// GoID returns the goroutine ID of the runtime, which stack traces show and no other
// goroutine of the process ever has. It is 0 for all goroutines if this version of Go keeps it at an
// unknown offset.
func GoID() uint64 {
	if goIDAt == 0 {
		return 0
	}
	return word(goIDAt)
}

// goIDAt is the offset of the ID in the descriptor; 0 if unknown. The descriptor has no fixed layout,
// so findGoID searches for the only word that, in each of several goroutines, equals the ID in the
// stack trace. Each goroutine reads only its own descriptor, which is larger than searched.
var goIDAt = findGoID()

const (
	searched = 256 // bytes of the descriptor
	tried    = 4   // goroutines
)

// findGoID searches for the offset of the ID.
func findGoID() uintptr {
	places := ownPlaces()
	for range tried {
		more := make(chan []uintptr)
		go func() { more <- ownPlaces() }()
		theirs := <-more
		places = slices.DeleteFunc(places, func(p uintptr) bool { return !slices.Contains(theirs, p) })
	}
	if len(places) != 1 {
		return 0
	}
	return places[0]
}

// ownPlaces returns the offsets at which this goroutine's descriptor has its ID.
func ownPlaces() (list []uintptr) {
	n := tracedGoID()
	for at := uintptr(8); n != 0 && at < searched; at += 8 {
		if word(at) == n {
			list = append(list, at)
		}
	}
	return list
}

// tracedGoID reads the goroutine ID from its stack trace; 0 if the trace has an unknown format.
func tracedGoID() uint64 {
	b := make([]byte, 64)
	b = b[:runtime.Stack(b, false)]
	rest, found := bytes.CutPrefix(b, []byte("goroutine "))
	digits, _, more := bytes.Cut(rest, []byte(" "))
	if !found || !more {
		return 0
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
