package backup

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/spacetest"
)

// fillAll stores some entries of every kind.
func fillAll(t testing.TB, s *everheap.Space, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	spacetest.FillKind(t, s, spacetest.StringToString, r, 300)
	spacetest.FillKind(t, s, spacetest.StringToCompound, r, 200)
	spacetest.FillKind(t, s, spacetest.IntToInt, r, 2000)
	spacetest.FillKind(t, s, spacetest.ArrayToBytes, r, 200)
	spacetest.FillKind(t, s, spacetest.StructToArray, r, 200)
	spacetest.FillKind(t, s, spacetest.TimeToUint8, r, 200)
	spacetest.FillKind(t, s, spacetest.FloatToStruct, r, 200)
}

// slowly gives the writers time to commit between two pieces.
type slowly struct{ w io.Writer }

func (s *slowly) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.w.Write(b)
}

// littleBackup is a backup small enough to try all places.
func littleBackup(t testing.TB) []byte {
	t.Helper()
	s := spacetest.Scratch(t)
	users, err := everheap.OpenMap[string, spacetest.Compound](s, "users")
	spacetest.Must(t, err)
	spacetest.Must(t, users.Set(s, "ada", spacetest.Compound{Name: "Ada", Tags: []string{"a", "b"}, When: time.Unix(1, 2)}))
	spacetest.Must(t, spacetest.MapOf[int, string](t, s).Set(s, 1, "one"))
	return spacetest.BackupOf(t, s)
}

// refused restores a stream that is not a backup: the restore must fail, and leave no file.
func refused(t testing.TB, parent string, stream io.Reader, what string, opts ...everheap.Option) {
	t.Helper()
	err := everheap.RestoreBackup(filepath.Join(parent, "s"), stream, append(opts, spacetest.WithoutSyncs)...)
	if !errors.Is(err, everheap.ErrCorrupt) {
		t.Fatalf("%s: %v", what, err)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) > 0 {
		t.Fatalf("%s: %v is left behind, %v", what, left, err)
	}
}

// framesOf cuts a backup into its head and its frames.
func framesOf(t testing.TB, stream []byte) (head []byte, frames [][]byte) {
	t.Helper()
	head, rest := stream[:format.BackupHeadSize], stream[format.BackupHeadSize:]
	for len(rest) > 0 {
		h, ok := format.DecodeBackupFrame(rest)
		if !ok {
			t.Fatal("no frame")
		}
		n := format.BackupFrameSize + int(h.Size)
		frames, rest = append(frames, rest[:n]), rest[n:]
	}
	return head, frames
}

// readFunc is a reader made of a function.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
