//go:build unix

package spacetest

import (
	"bytes"
	"context"
	"math/bits"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/spacefile"
)

// CopySpace copies the files of a space that survive a power loss, and the live file if
// there is one, as cp -r does.
func CopySpace(t testing.TB, from, to string) {
	t.Helper()
	Must(t, os.Mkdir(to, 0o700))
	list, err := os.ReadDir(from)
	Must(t, err)
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(from, f.Name()))
		Must(t, err)
		Must(t, os.WriteFile(filepath.Join(to, f.Name()), b, 0o600))
	}
}

// Rewriters has the operations that rewrite a closed space; they change only addresses.
var Rewriters = map[string]func(dir string, opts ...everheap.Option) error{
	"rebase": func(dir string, opts ...everheap.Option) error {
		return everheap.Rebase(context.Background(), dir, 0, opts...)
	},
	"compact": func(dir string, opts ...everheap.Option) error {
		_, err := everheap.Compact(context.Background(), dir, opts...)
		return err
	},
	"resize": func(dir string, opts ...everheap.Option) error { // alternately to a window twice as large, and back
		info, err := everheap.Describe(dir)
		if err != nil {
			return err
		}
		size := info.Window / 2
		if bits.TrailingZeros64(info.Window)%2 == 0 {
			size = info.Window * 2
		}
		base, err := spacefile.PickPlace(size, nil)
		if err != nil {
			return err
		}
		return engine.Resize(context.Background(), dir, info.MaxSize, base, size, EngineOptions(opts...))
	},
}

// HasFile reports whether a directory has a file.
func HasFile(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// spaceFiles has the contents of all files in a directory.
type spaceFiles struct {
	Dir   string
	Files map[string][]byte
}

func SpaceBytes(t *testing.T, dir string) spaceFiles {
	t.Helper()
	f := spaceFiles{dir, map[string][]byte{}}
	list, err := os.ReadDir(dir)
	Must(t, err)
	for _, e := range list {
		f.Files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		Must(t, err)
	}
	return f
}

// Unchanged fails the test if the files in the directory have changed. A live file that
// belonged to another heap file may be gone.
func (f spaceFiles) Unchanged(t *testing.T) {
	t.Helper()
	now := SpaceBytes(t, f.Dir)
	for name, b := range f.Files {
		if got, ok := now.Files[name]; !bytes.Equal(got, b) && (ok || name != "live") {
			t.Errorf("%s was changed", name)
		}
	}
	for name := range now.Files {
		if _, ok := f.Files[name]; !ok {
			t.Errorf("%s was left behind", name)
		}
	}
}
