package everheap_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

// benchBackup is a space of 200,000 entries of about 150 bytes, and its backup.
func benchBackup(b *testing.B) (*everheap.Space, []byte) {
	b.Helper()
	s := open(b, filepath.Join(b.TempDir(), "s"), everheap.WithMaxSize(1<<30))
	m := mapOf[string, string](b, s)
	update(b, s, func(tx *everheap.Tx) error {
		for i := range 200_000 {
			if err := m.Set(tx, fmt.Sprint("key ", i), strings.Repeat("v", 100)); err != nil {
				return err
			}
		}
		return nil
	})
	return s, backupOf(b, s)
}

func BenchmarkBackup(b *testing.B) {
	s, stream := benchBackup(b)
	b.SetBytes(int64(len(stream)))
	b.ResetTimer()
	for b.Loop() {
		must(b, s.Backup(io.Discard))
	}
}

func BenchmarkRestoreBackup(b *testing.B) {
	_, stream := benchBackup(b)
	b.SetBytes(int64(len(stream)))
	parent, n := b.TempDir(), 0
	b.ResetTimer()
	for b.Loop() {
		n++
		must(b, everheap.RestoreBackup(filepath.Join(parent, fmt.Sprint(n)), bytes.NewReader(stream)))
	}
}
