package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

// sealed makes a backup from any bytes of changes, with correct checksums and counts.
func sealed(changes []byte) []byte {
	h := format.BackupHead{Window: 64 << 20, Version: 9, Tag: 77, Secret: 5}
	stream := h.Encode()
	end := format.BackupEnd{NextIndex: format.FirstIndex, Objects: 2, Bytes: uint64(len(changes))}
	for rest := changes; ; end.Changes++ {
		op, _, next, ok := format.NextOp(rest)
		if !ok {
			break
		}
		if kind := format.OpKindOf(op.What); kind == format.OpNewType || kind == format.OpNewMap {
			end.Objects++
			end.NextIndex = max(end.NextIndex, format.ObjectOf(op.What)+1)
		}
		rest = next
	}
	sum := h.Sum
	put := func(kind uint32, number uint64, payload []byte) {
		frame := append(make([]byte, format.BackupFrameSize), payload...)
		sum = format.PutBackupFrame(frame, kind, number, sum)
		stream = append(stream, frame...)
	}
	number := uint64(0)
	for rest := changes; len(rest) > 0; {
		n := min(len(rest), 1000)
		number++
		put(format.BackupChanges, number, rest[:n])
		rest = rest[n:]
	}
	put(format.BackupLast, number+1, end.Append(nil))
	return stream
}

// RestoreBackup accepts or refuses any bytes. Any changes with correct checksums are refused, or make
// a usable space. The first byte selects one of the two tests.
func FuzzRestore(f *testing.F) {
	stream := littleBackup(f)
	f.Add(append([]byte{0}, stream...))
	f.Add(append([]byte{0}, stream[:100]...))
	_, frames := framesOf(f, stream)
	changes := []byte{1}
	for _, frame := range frames[:len(frames)-1] {
		changes = append(changes, frame[format.BackupFrameSize:]...)
	}
	f.Add(changes)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		stream := data[1:]
		if data[0] != 0 {
			stream = sealed(stream)
		}
		parent := spacetest.MemoryDir(t)
		dir := filepath.Join(parent, "s")
		var err error
		spacetest.Within(t, time.Minute, "restoring", func() { err = everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithoutSyncs) })
		if err != nil {
			if !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrNoSpace) {
				t.Errorf("neither restored nor refused: %v", err)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			return
		}
		s, err := everheap.Open(dir, spacetest.WithoutSyncs)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		spacetest.CheckSpace(t, s)
		_, _ = s.Collections()
		if m, err := everheap.OpenMap[int, string](s, "m"); err == nil {
			spacetest.Must(t, m.Set(s, 1, "written"))
		}
		again := spacetest.BackupOf(t, s)
		spacetest.Must(t, everheap.RestoreBackup(filepath.Join(parent, "again"), bytes.NewReader(again), spacetest.WithoutSyncs))
	})
}
