package damage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

type filed struct {
	Mail string   `everheap:"unique"`
	Tags []string `everheap:"index"`
}

// filledFiles makes a space with an indexed map.
func filledFiles(t *testing.T) (*everheap.Space, everheap.Map[int, filed]) {
	t.Helper()
	s, err := everheap.Open(filepath.Join(spacetest.MemoryDir(t), "s"), everheap.WithMaxSize(64<<20))
	spacetest.Must(t, err)
	m, err := everheap.OpenMap[int, filed](s, "files")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for i := range 400 {
			if err := m.Set(tx, i, filed{fmt.Sprint("m", i), []string{fmt.Sprint("t", i%7), "all"}}); err != nil {
				return err
			}
		}
		return nil
	})
	return s, m
}

// A check finds an entry that an index lacks, and a surplus entry of an index.
func TestCheck_IndexesAgree(t *testing.T) { // IX1
	s, m := filledFiles(t)
	defer s.Close()
	tx, err := spacetest.Engine(s).Begin(context.Background())
	spacetest.Must(t, err)
	key, value := 7, filed{"another", nil}
	alone, _, err := tx.MapByID(format.ID(m.ID()))
	spacetest.Must(t, err)
	_, err = alone.SetAlone(&tx.Editor, unsafe.Pointer(&key), unsafe.Pointer(&value))
	spacetest.Must(t, err)
	spacetest.Must(t, tx.Commit())
	report, err := s.Check(context.Background())
	spacetest.Must(t, err)
	findings := report.Findings
	if len(findings) != 2 || !strings.Contains(findings[0].What+findings[1].What, `the index Mail lacks "another" of the key 7`) ||
		!strings.Contains(findings[0].What+findings[1].What, "the index Tags has 800 entries, and the map 798 for it") {
		t.Errorf("%+v", findings)
	}
}

// The indexes of a salvaged map agree with it, whatever was lost of either.
func TestSalvage_Indexed(t *testing.T) { // IX1
	s, _ := filledFiles(t)
	w := &wreck{files: map[string][]byte{}}
	dir := s.Stats().Dir
	spacetest.Must(t, s.Close())
	for _, name := range []string{"heap", "journal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		spacetest.Must(t, err)
		w.files[name] = b
	}
	lost := 0
	spacetest.Rounds(t, 12, func(t *testing.T, r *rand.Rand) {
		files := maps.Clone(w.files)
		heap := bytes.Clone(files["heap"])
		for range 1 + r.IntN(6) {
			at := 64<<10 + r.IntN(len(heap)-64<<10)&^4095
			for i := range 256 << r.IntN(5) {
				if at+i < len(heap) {
					heap[at+i] ^= byte(r.Uint32())
				}
			}
		}
		files["heap"] = heap
		dir := w.write(t, files)
		var b bytes.Buffer
		if _, err := everheap.Salvage(dir, &b); err != nil {
			return // the salvage found no version
		}
		dir = filepath.Join(spacetest.MemoryDir(t), "restored")
		spacetest.Must(t, everheap.RestoreBackup(dir, &b, everheap.WithMaxSize(64<<20)))
		s := spacetest.Open(t, dir)
		m, err := everheap.OpenMap[int, filed](s, "files")
		if err != nil {
			return
		}
		spacetest.View(t, s, func(tx *everheap.Tx) error {
			n, _ := m.Len(tx)
			lost += 400 - n
			if in := everheap.IndexOf[filed, string](m, "Mail").Len(tx); in != n {
				t.Errorf("%d entries, %d in the index", n, in)
			}
			return nil
		})
		spacetest.CheckSpace(t, s)
	})
	t.Logf("%d entries were lost", lost)
}
