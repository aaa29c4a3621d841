package spacefile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// DefaultMaxSize is the maximum size of a space whose creator names none, in bytes.
const DefaultMaxSize = 64 << 30

// Room to grow into.
const (
	growthRoom = 16       // a window is this many times as large as the maximum size needs,
	growthMost = 64 << 30 // but growth alone makes no window larger than this
)

// ErrMaxSize says that a space has a maximum size other than its opener asks for.
var ErrMaxSize = errors.New("the space has another maximum size")

// Sizes returns the limit and the window size, in bytes, for a space that may hold at most
// that many bytes; 0: DefaultMaxSize. Where addresses are scarce the window has no room to
// grow.
func Sizes(bytes uint64) (limit, window uint64, err error) {
	limit = LimitOf(bytes)
	if window, err = mapping.WindowSize(limit); err != nil {
		return 0, 0, err
	}
	if roomy := max(window, min(window*growthRoom, growthMost)); mapping.Fits(roomy) {
		window = roomy
	}
	return limit, window, nil
}

// LimitOf returns the limit for a space that may hold at most that many bytes; 0: DefaultMaxSize.
func LimitOf(bytes uint64) uint64 {
	if bytes == 0 {
		bytes = DefaultMaxSize
	}
	if bytes > mapping.MaxWindow {
		return bytes // WindowSize will refuse it
	}
	return (max(bytes, mapping.MinWindow) + format.ExtentSize - 1) &^ (format.ExtentSize - 1)
}

// PickPlace returns a free base for a window of that size which taken does not refuse; taken
// may be nil.
func PickPlace(size uint64, taken func(base, size uint64) bool) (uint64, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return 0, err
	}
	if taken == nil {
		taken = func(base, size uint64) bool { return false }
	}
	return mapping.PickPlace(size, binary.LittleEndian.Uint64(seed[:]), taken)
}
