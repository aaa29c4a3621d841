package damage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// TestCheck_FindsEveryDamagedBlock flips one bit at one place after another: if a value that is read
// has changed, or could have, Check reports it.
func TestCheck_FindsEveryDamagedBlock(t *testing.T) { // I5
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20))
	spacetest.Must(t, err)
	m, err := everheap.OpenMap[string, spacetest.Compound](s, "m")
	spacetest.Must(t, err)
	for i := range 40 {
		spacetest.Must(t, m.Set(s, fmt.Sprint("key ", i), spacetest.Compound{Name: fmt.Sprint("name ", i), Tags: []string{"a", "b"}, When: time.Unix(int64(i), 0).UTC()}))
	}
	spacetest.Must(t, s.Close())
	path := filepath.Join(dir, "heap")
	clean, err := os.ReadFile(path)
	spacetest.Must(t, err)

	reader, err := everheap.Open(dir, everheap.WithReadOnly(), everheap.WithVerify())
	spacetest.Must(t, err)
	defer reader.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	spacetest.Must(t, err)
	defer f.Close()
	entries := func() (n int) { // the entries that can be read without an error
		_ = reader.View(func(tx *everheap.Tx) error {
			for k, v := range m.All(tx) {
				if v.Name == "name "+k[len("key "):] && len(v.Tags) == 2 {
					n++
				}
			}
			return nil
		})
		return n
	}
	if n := entries(); n != 40 {
		t.Fatalf("%d entries", n)
	}
	missed, hit := 0, 0
	for at := 65536; at < len(clean); at += 16 + 1 { // nearly every place
		if clean[at] == 0 {
			continue
		}
		_, err := f.WriteAt([]byte{clean[at] ^ 4}, int64(at))
		spacetest.Must(t, err)
		report, err := spacetest.Engine(reader).Check(context.Background())
		found := err != nil || len(report.Findings) > 0
		if readable := entries(); readable != 40 && !found {
			t.Errorf("a change at %d hides entries, and Check does not see it", at)
			missed++
		}
		if found {
			hit++
		}
		_, err = f.WriteAt(clean[at:at+1], int64(at))
		spacetest.Must(t, err)
		if missed > 5 {
			break
		}
	}
	if hit < 50 {
		t.Errorf("only %d changes were found", hit)
	}
	spacetest.CheckSpace(t, reader)
}
