package live

import (
	"encoding/binary"
	"io"
	"os"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// Detached returns words that no other process shares, for reading a heap that is not open
// as a space. The caller may call only Words.
func Detached(init func(*format.Live)) *Live {
	v := &Live{words: new(format.Live)}
	init(v.words)
	v.seal = v.words.Salt.Load()
	v.words.Seal.Store(v.seal)
	return v
}

// Peek reads the current state from the live file of dir, without changing anything. ok is
// false if the file is not of this boot and of this heap, or if its recovery was
// interrupted.
func Peek(dir *mapping.Dir, space [16]byte, heap os.FileInfo) (current format.Addr, ok bool) {
	b := peek(dir, space, heap)
	if b == nil || peekWord(b, unsafe.Offsetof(format.Live{}.Recovering)) != 0 {
		return 0, false
	}
	return format.Addr(peekWord(b, unsafe.Offsetof(format.Live{}.Current))), true
}

// Ready reports whether the live file of dir is of this boot and of this heap, and
// recovered, so that a process could join; and whether it says that the disk has failed. It
// takes no lock: the file may be replaced a moment later.
func Ready(dir *mapping.Dir, space [16]byte, heap os.FileInfo) (ready, failed bool) {
	b := peek(dir, space, heap)
	if b == nil || peekWord(b, unsafe.Offsetof(format.Live{}.Recovering)) != 0 {
		return false, false
	}
	return true, peekWord(b, unsafe.Offsetof(format.Live{}.Failed)) != 0
}

// peek reads the first words of the live file of dir; nil if the file is not of this boot
// and of this heap, or was truncated.
func peek(dir *mapping.Dir, space [16]byte, heap os.FileInfo) []byte {
	f, err := dir.Open(FileName, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	status, err := mapping.StatusOf(f)
	if err != nil || status.Size != format.LiveSize {
		return nil
	}
	id, err := identity(space, heap, status)
	if err != nil {
		return nil
	}
	b := make([]byte, unsafe.Offsetof(format.Live{}.Segments))
	if _, err := io.ReadFull(f, b); err != nil || id.Matches(b[:format.PageSize]) != nil {
		return nil
	}
	seal := make([]byte, 8)
	salt := peekWord(b, unsafe.Offsetof(format.Live{}.Salt))
	if _, err := f.ReadAt(seal, int64(unsafe.Offsetof(format.Live{}.Seal))); err != nil || salt == 0 || peekWord(seal, 0) != salt {
		return nil
	}
	return b
}

// peekWord returns a word from the result of peek.
func peekWord(b []byte, offset uintptr) uint64 { return binary.LittleEndian.Uint64(b[offset:]) }
