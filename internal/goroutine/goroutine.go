// Package goroutine tells goroutines apart, so that one that is about to wait
// for itself gets an error instead.
//
// Start reading at ID and Serial.
package goroutine

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
)

// ID returns a number that no other goroutine has at the same time: the address
// of the runtime's descriptor, which lies in a register or in thread-local
// storage. It is compared and never dereferenced. A later goroutine may get it.
func ID() uintptr { return current() }

// Serial returns a number that no other goroutine of the process ever has: the one
// that stack traces show. It is 0 if this version of Go keeps it where it was not
// found; then nobody can be told apart.
func Serial() uint64 {
	if serialAt == 0 {
		return 0
	}
	return word(serialAt)
}

// serialAt is where in the descriptor the number is; 0: not known. The descriptor
// has no fixed layout, so the place is found by trying: it is the only word that,
// in each of some goroutines, has the number that its stack trace shows. Goroutines
// look at their own descriptors only, of which more than searched is mapped.
var serialAt = findSerial()

const (
	searched = 256 // bytes of the descriptor
	tried    = 4   // goroutines
)

// findSerial looks for the number.
func findSerial() uintptr {
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

// ownPlaces returns the places at which the goroutine's number could be.
func ownPlaces() (list []uintptr) {
	n := tracedSerial()
	for at := uintptr(8); n != 0 && at < searched; at += 8 {
		if word(at) == n {
			list = append(list, at)
		}
	}
	return list
}

// tracedSerial reads the goroutine's number from its stack trace; 0 if that does
// not begin as it always has.
func tracedSerial() uint64 {
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
