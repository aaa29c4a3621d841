package live

import (
	"encoding/binary"
	"io"
	"os"
	"unsafe"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// Detached returns words that no process shares, for a look at a heap that is not
// open as a space. Nothing but Words may be called.
func Detached(init func(*format.Live)) *Live {
	v := &Live{words: new(format.Live)}
	init(v.words)
	return v
}

// Peek reads which state the live file of dir says to be the newest, without
// changing anything. ok is false if the file is not of this boot and of this heap,
// or if its recovery was cut short.
func Peek(dir *mapping.Dir, space [16]byte, heap os.FileInfo) (current format.Addr, ok bool) {
	f, err := dir.Open(FileName, os.O_RDONLY, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	status, err := mapping.StatusOf(f)
	if err != nil || status.Size != format.LiveSize {
		return 0, false
	}
	id, err := identity(space, heap, status)
	if err != nil {
		return 0, false
	}
	const n = unsafe.Offsetof(format.Live{}.Segments)
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil || id.Matches(b[:format.PageSize]) != nil {
		return 0, false
	}
	if binary.LittleEndian.Uint64(b[unsafe.Offsetof(format.Live{}.Recovering):]) != 0 {
		return 0, false
	}
	return format.Addr(binary.LittleEndian.Uint64(b[unsafe.Offsetof(format.Live{}.Current):])), true
}
