package spacefile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// DefaultMaxSize is the maximum size of a space whose creator says none.
const DefaultMaxSize = 64 << 30

// Room to grow into.
const (
	growthRoom = 16       // windows are so many times as large as they must be,
	growthMost = 64 << 30 // but no larger than that for the sake of growth
)

// ErrMaxSize says that a space has another maximum size than its opener asks for.
var ErrMaxSize = errors.New("the space has another maximum size")

// Sizes returns the limit and the window of a space that is to hold the given number of
// bytes at the most; 0: the default. Where addresses are scarce there is no room to grow.
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

// LimitOf returns the limit of a space that is to hold so many bytes; 0: the default.
func LimitOf(bytes uint64) uint64 {
	if bytes == 0 {
		bytes = DefaultMaxSize
	}
	if bytes > mapping.MaxWindow {
		return bytes // which no window has
	}
	return (max(bytes, mapping.MinWindow) + format.ExtentSize - 1) &^ (format.ExtentSize - 1)
}

// PickPlace returns a free place for a window, that taken does not refuse; taken
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
