// Package memory tests how much memory the work on one huge value takes: at most 1.2
// times the value, beyond what the caller gives or gets.
package memory

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/everheap/everheap"
)

var mebibytes = flag.Int("memory.mib", 96, "size of the value, in MiB")

// fixed is the allowance that does not depend on the size of the value.
const fixed = 8 << 20

// record is a value of three kinds of parts: one large piece, strings, and structs with pointers.
type record struct {
	Data  []byte
	Words []string
	N     int32
}

// wide is the type to which a record evolves.
type wide struct {
	Data  []byte
	Words []string
	N     int64
}

// makeRecord returns a record of about the size.
func makeRecord(size int) record {
	r := record{Data: make([]byte, size/2), Words: make([]string, size/2/64)}
	for i := range r.Data {
		r.Data[i] = byte(i * 7)
	}
	word := strings.Repeat("w", 48)
	for i := range r.Words {
		r.Words[i] = word
	}
	return r
}

// took returns how many bytes fn allocates in Go memory, garbage included: an upper bound of its
// memory at any moment.
func took(t *testing.T, what string, size int, fn func() error) float64 {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := fn(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	runtime.ReadMemStats(&after)
	ratio := float64(after.TotalAlloc-before.TotalAlloc) / float64(size)
	t.Logf("%-10s %.2f of the value; anonymous memory at most %d MiB", what, ratio, anonymous(t)>>20)
	return ratio
}

// anonymous returns the memory of the process that is not mapped from a file.
func anonymous(t *testing.T) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func TestHugeValue_TakesLittleMemory(t *testing.T) {
	size := *mebibytes << 20
	limit := int64(8*size) + 1<<30
	dir := filepath.Join(t.TempDir(), "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(uint64(limit)))
	if err != nil {
		t.Fatal(err)
	}
	values, err := everheap.OpenMap[string, record](s, "values")
	if err != nil {
		t.Fatal(err)
	}
	value := makeRecord(size)
	bounded := func(what string, most float64, fn func() error) {
		t.Helper()
		if ratio := took(t, what, size, fn); ratio > most+float64(fixed)/float64(size) {
			t.Errorf("%s takes %.2f times the value; at most %.2f are right", what, ratio, most)
		}
		debug.FreeOSMemory()
	}
	ctx := context.Background()
	bounded("set", 0.2, func() error { return values.Set(s, "a", value) })
	bounded("sync", 0.2, func() error { return s.Sync(ctx) })
	bounded("update", 0.2, func() error {
		return s.Update(ctx, func(tx *everheap.Tx) error { return values.Set(tx, "a", value) }, everheap.Durable)
	})
	bounded("get", 1.2, func() error {
		v, err := values.Get(s, "a")
		if err == nil && (len(v.Data) != len(value.Data) || v.Words[9] != value.Words[9]) {
			t.Error("another value")
		}
		return err
	})
	// Three copies are the caller's: the first value, and then the old and the new one.
	bounded("watch", 3.2, func() error { return watchOne(ctx, s, values, value) })
	file := filepath.Join(t.TempDir(), "backup")
	bounded("backup", 0.2, func() error {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.Backup(f)
	})
	copied := filepath.Join(t.TempDir(), "copied")
	bounded("restore", 1.2, func() error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return everheap.RestoreBackup(copied, f, everheap.WithMaxSize(uint64(limit)))
	})
	os.Remove(file)
	os.RemoveAll(copied)
	bounded("check", 0.2, func() error {
		_, err := s.Check(ctx)
		return err
	})
	bounded("evolve", 1.2, func() error {
		_, err := everheap.OpenMap[string, wide](s, "values", everheap.Evolve())
		return err
	})
	bounded("close", 0.2, s.Close)
	bounded("compact", 1.2, func() error {
		_, err := everheap.Compact(ctx, dir)
		return err
	})
	bounded("salvage", 1.2, func() error {
		_, err := everheap.Salvage(dir, io.Discard)
		return err
	})
}

// watchOne changes the value and waits until the watch yields the change.
func watchOne(ctx context.Context, s *everheap.Space, values everheap.Map[string, record], value record) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told := false
	for c, err := range values.Watch(ctx, s, everheap.WithInitial()) {
		if err != nil || told {
			return err
		}
		_ = c
		told = true
		value.N++
		if err := values.Set(s, "a", value); err != nil {
			return err
		}
	}
	return nil
}
