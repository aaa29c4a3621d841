package micro

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// benchBackup is a space of 200,000 entries of about 150 bytes, and its backup.
func benchBackup(b *testing.B) (*everheap.Space, []byte) {
	b.Helper()
	s := spacetest.Open(b, filepath.Join(b.TempDir(), "s"), everheap.WithMaxSize(1<<30))
	m := spacetest.MapOf[string, string](b, s)
	spacetest.Update(b, s, func(tx *everheap.Tx) error {
		for i := range 200_000 {
			if err := m.Set(tx, fmt.Sprint("key ", i), strings.Repeat("v", 100)); err != nil {
				return err
			}
		}
		return nil
	})
	return s, spacetest.BackupOf(b, s)
}

func BenchmarkBackup(b *testing.B) {
	s, stream := benchBackup(b)
	b.SetBytes(int64(len(stream)))
	b.ResetTimer()
	for b.Loop() {
		spacetest.Must(b, s.Backup(io.Discard))
	}
}

func BenchmarkRestoreBackup(b *testing.B) {
	_, stream := benchBackup(b)
	b.SetBytes(int64(len(stream)))
	parent, n := b.TempDir(), 0
	b.ResetTimer()
	for b.Loop() {
		n++
		spacetest.Must(b, everheap.RestoreBackup(filepath.Join(parent, fmt.Sprint(n)), bytes.NewReader(stream)))
	}
}
