package format

import (
	"encoding/binary"
	"fmt"

	"github.com/everheap/everheap/internal/checksum"
)

// Magic bytes of a backup.
const (
	BackupMagic      = "EVBACKUP" // starts it
	BackupFrameMagic = "EVBF"     // starts each frame
)

// BackupHead starts a backup: a stream of the changes that make one version of a space.
// Frames follow.
type BackupHead struct {
	Magic    [8]byte  `doc:"EVBACKUP"`
	Format   uint32   `doc:"version of the format"`
	Salvaged uint32   `doc:"1: got out of a damaged space, so that a change may delete what is not there"`
	Stream   [16]byte `doc:"random name of this backup; if it is chained, the last 8 bytes are the chain of the version"`
	SpaceID  [16]byte `doc:"the space that it was made of"`
	Secret   uint64   `doc:"random seed of the hashes of that space"`
	Window   uint64   `doc:"bytes of its window, a power of two"`
	Limit    uint64   `doc:"its maximum size"`
	Created  uint64   `doc:"time of its creation, nanoseconds since 1970 UTC"`
	Version  uint64   `doc:"the version"`
	UnixNano uint64   `doc:"time of its commit, nanoseconds since 1970 UTC"`
	Tag      uint16   `doc:"tag in the upper bits of the IDs of that space"`
	Chained  uint8    `doc:"1: the name has the chain of the version in it; a replica can go on from there"`
	Reserved [5]byte  `doc:"zero"`
	Sum      uint32   `doc:"CRC32C of the fields before"`
}

// SetChain enters the chain of the version.
func (h *BackupHead) SetChain(chain uint64) {
	h.Chained = 1
	binary.LittleEndian.PutUint64(h.Stream[8:], chain)
}

// Chain returns the chain of the version; ok is false if the backup does not say it.
func (h *BackupHead) Chain() (chain uint64, ok bool) {
	return binary.LittleEndian.Uint64(h.Stream[8:]), h.Chained == 1
}

// BackupFrame starts a piece of a backup. The payload follows: changes, one after
// another, where one can go on in the next frame; or a BackupEnd.
type BackupFrame struct {
	Magic  [4]byte `doc:"EVBF"`
	Sum    uint32  `doc:"CRC32C of the fields after this one and of the payload, continued from the checksum of the frame before, or of the head"`
	Size   uint32  `doc:"bytes of the payload"`
	Kind   uint32  `doc:"1: changes; 2: the end"`
	Number uint64  `doc:"of the frame, from 1"`
}

// BackupEnd is the payload of the last frame: the totals of the stream.
type BackupEnd struct {
	NextIndex uint64 `doc:"index that the next new object gets"`
	Objects   uint64 `doc:"number of objects, the two that every space has included"`
	Changes   uint64 `doc:"number of changes"`
	Bytes     uint64 `doc:"bytes of the changes, as in the frames"`
	Lost      uint64 `doc:"pieces that could not be read, of a damaged space; else 0"`
}

// The kinds of frames of a backup.
const (
	BackupChanges = 1
	BackupLast    = 2
)

// Sizes of the records of a backup.
var (
	BackupHeadSize  = binary.Size(BackupHead{})
	BackupFrameSize = binary.Size(BackupFrame{})
	BackupEndSize   = binary.Size(BackupEnd{})
)

// MaxBackupFrame is the greatest payload of a frame of a backup.
const MaxBackupFrame = 1 << 20

// Encode returns the bytes of the head, checksum included.
func (h *BackupHead) Encode() []byte {
	copy(h.Magic[:], BackupMagic)
	h.Format = FormatVersion
	return encodeSummed(h, &h.Sum)[:BackupHeadSize]
}

// DecodeBackupHead verifies and returns the head.
func DecodeBackupHead(b []byte) (*BackupHead, error) {
	damage := func(what string) error { return &DamageError{"backup", 0, what} }
	if len(b) < BackupHeadSize || string(b[:8]) != BackupMagic {
		return nil, damage("this is no backup of a space")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != FormatVersion {
		return nil, damage(fmt.Sprintf("format version %d; this program reads version %d", v, FormatVersion))
	}
	h := new(BackupHead)
	if !decodeSummed(b, h, &h.Sum) {
		return nil, damage("the checksum of the head does not match")
	}
	if h.Window < 64<<20 || h.Window&(h.Window-1) != 0 || h.Window > AddrMask || h.Limit < 64<<20 || h.Limit > h.Window || h.Limit%ExtentSize != 0 || h.Salvaged > 1 || h.Version == 0 || h.Version >= MaxVersion || h.Tag == 0 {
		return nil, damage("the head tells of an impossible space")
	}
	return h, nil
}

// PutBackupFrame writes the head of a frame to the start of b, which is the whole
// frame, and returns its checksum; before is that of the frame before.
func PutBackupFrame(b []byte, kind uint32, number uint64, before uint32) (sum uint32) {
	copy(b, BackupFrameMagic)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-BackupFrameSize))
	binary.LittleEndian.PutUint32(b[12:], kind)
	binary.LittleEndian.PutUint64(b[16:], number)
	sum = checksum.Update(before, b[8:])
	binary.LittleEndian.PutUint32(b[4:], sum)
	return sum
}

// DecodeBackupFrame reads the head of a frame. ok is false if there is none. The
// checksum is not looked at.
func DecodeBackupFrame(b []byte) (h BackupFrame, ok bool) {
	if len(b) < BackupFrameSize || string(b[:4]) != BackupFrameMagic {
		return h, false
	}
	copy(h.Magic[:], b)
	h.Sum, h.Size = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	h.Kind, h.Number = binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint64(b[16:])
	return h, h.Size <= MaxBackupFrame && (h.Kind == BackupChanges || h.Kind == BackupLast && int(h.Size) == BackupEndSize)
}

// BackupFrameSum returns the checksum that the frame b must have.
func BackupFrameSum(b []byte, before uint32) uint32 { return checksum.Update(before, b[8:]) }

// Append appends the bytes of the end to b.
func (e *BackupEnd) Append(b []byte) []byte {
	for _, w := range [...]uint64{e.NextIndex, e.Objects, e.Changes, e.Bytes, e.Lost} {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// DecodeBackupEnd reads the payload of the last frame.
func DecodeBackupEnd(b []byte) (e BackupEnd, ok bool) {
	if len(b) != BackupEndSize {
		return e, false
	}
	for i, w := range [...]*uint64{&e.NextIndex, &e.Objects, &e.Changes, &e.Bytes, &e.Lost} {
		*w = binary.LittleEndian.Uint64(b[8*i:])
	}
	return e, true
}
