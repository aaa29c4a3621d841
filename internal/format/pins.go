package format

import (
	"strings"
	"unsafe"
)

// Pins starts the payload of a block with checkpoints; that many Pin follow.
type Pins struct {
	Count uint64 `doc:"number of checkpoints that follow"`
}

// Pin is one checkpoint: a version that stays readable as long as a readable version lists
// it.
type Pin struct {
	Version uint64           `doc:"the version"`
	State   uint64           `doc:"address of its state block"`
	Created uint64           `doc:"time of the checkpoint, nanoseconds since 1970 UTC"`
	Restore uint64           `doc:"version that restored this one, which has no name here: kept until a sweep that began later has ended; 0: a checkpoint with a name"`
	Name    [MaxPinName]byte `doc:"name, filled up with zeros"`
}

// Limits of checkpoints.
const (
	MaxPinName = 96   // bytes
	MaxPins    = 1000 // in a space
)

// Sizes of the records of checkpoints.
const (
	PinsHeadSize = int(unsafe.Sizeof(Pins{}))
	PinSize      = int(unsafe.Sizeof(Pin{}))
)

var (
	_ [8]byte   = [PinsHeadSize]byte{}
	_ [128]byte = [PinSize]byte{}
)

// NameOf returns the name of a checkpoint.
func (p *Pin) NameOf() string {
	name, _, _ := strings.Cut(string(p.Name[:]), "\x00")
	return name
}
