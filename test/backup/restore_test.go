package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestRestoreBackup_Cut(t *testing.T) {
	stream, parent := littleBackup(t), spacetest.MemoryDir(t)
	for n := 0; n < len(stream); n++ {
		refused(t, parent, bytes.NewReader(stream[:n]), fmt.Sprintf("cut after %d of %d bytes", n, len(stream)))
	}
	spacetest.Must(t, everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(stream)))
	spacetest.Open(t, filepath.Join(parent, "s"))
}

func TestRestoreBackup_Altered(t *testing.T) {
	stream, parent := littleBackup(t), spacetest.MemoryDir(t)
	for i := range stream {
		altered := bytes.Clone(stream)
		altered[i] ^= 1 << (i % 8)
		refused(t, parent, bytes.NewReader(altered), fmt.Sprintf("byte %d of %d flipped", i, len(stream)))
	}
	refused(t, parent, bytes.NewReader(append(bytes.Clone(stream), 0)), "one byte more")
	refused(t, parent, bytes.NewReader(append(bytes.Clone(stream), stream...)), "twice")
	refused(t, parent, strings.NewReader("this is no backup, but it is long enough to be one: "+strings.Repeat("-", 1000)), "text")
	refused(t, parent, bytes.NewReader(make([]byte, 10_000)), "zeros")
}

// Intact frames are refused if one is missing, if they are not in order, or if they come from two
// backups.
func TestRestoreBackup_FramesMixed(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, string](t, s)
	for i := range 20 {
		spacetest.Must(t, m.Set(s, i, strings.Repeat("x", 100_000)))
	}
	stream, other := spacetest.BackupOf(t, s), spacetest.BackupOf(t, s)
	head, frames := framesOf(t, stream)
	_, others := framesOf(t, other)
	if len(frames) < 6 || len(others) != len(frames) {
		t.Fatalf("%d frames", len(frames))
	}
	parent := spacetest.MemoryDir(t)
	try := func(what string, list [][]byte) {
		t.Helper()
		refused(t, parent, bytes.NewReader(slices.Concat(append([][]byte{head}, list...)...)), what)
	}
	for i := range frames {
		try(fmt.Sprintf("frame %d dropped", i), slices.Delete(slices.Clone(frames), i, i+1))
		try(fmt.Sprintf("frame %d doubled", i), slices.Insert(slices.Clone(frames), i, frames[i]))
		mixed := slices.Clone(frames)
		mixed[i] = others[i]
		try(fmt.Sprintf("frame %d of another backup", i), mixed)
		if i > 0 {
			swapped := slices.Clone(frames)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			try(fmt.Sprintf("frames %d and %d swapped", i-1, i), swapped)
		}
		if i < len(frames)-1 {
			try(fmt.Sprintf("the end after %d frames", i), append(slices.Clone(frames[:i]), frames[len(frames)-1]))
		}
		try(fmt.Sprintf("cut after %d frames", i), frames[:i])
	}
	spacetest.Must(t, everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(slices.Concat(append([][]byte{head}, frames...)...)), spacetest.WithoutSyncs))
}

// Altering any byte of a backup of many frames is found.
func TestRestoreBackup_AlteredAnywhere(t *testing.T) {
	s := spacetest.Scratch(t)
	fillAll(t, s, 7)
	stream, parent := spacetest.BackupOf(t, s), spacetest.MemoryDir(t)
	spacetest.Rounds(t, 40, func(t *testing.T, r *rand.Rand) {
		altered, i := bytes.Clone(stream), r.IntN(len(stream))
		altered[i] ^= 1 << r.IntN(8)
		refused(t, parent, bytes.NewReader(altered), fmt.Sprintf("byte %d of %d flipped", i, len(stream)))
		n := r.IntN(len(stream))
		refused(t, parent, bytes.NewReader(stream[:n]), fmt.Sprintf("cut after %d of %d bytes", n, len(stream)))
	})
}

// A restore does not touch an existing space or directory.
func TestRestoreBackup_NameInUse(t *testing.T) {
	stream := littleBackup(t)
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	spacetest.Must(t, spacetest.MapOf[int, string](t, s).Set(s, 1, "here first"))
	spacetest.Must(t, s.Close())
	read := func() map[string]string {
		files := map[string]string{}
		for _, name := range []string{"heap", "journal", "live"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			spacetest.Must(t, err)
			files[name] = string(b)
		}
		return files
	}
	before := read()
	refuse := func(dir string) {
		t.Helper()
		err := everheap.RestoreBackup(dir, bytes.NewReader(stream))
		if !errors.Is(err, everheap.ErrExists) || !strings.Contains(err.Error(), "left as it is") {
			t.Errorf("restoring over %s: %v", dir, err)
		}
	}
	refuse(dir)
	if !maps.Equal(read(), before) {
		t.Error("the space that was there has changed")
	}
	other := t.TempDir()
	spacetest.Must(t, os.WriteFile(filepath.Join(other, "file"), nil, 0o600))
	refuse(other)
	refuse(filepath.Join(other, "file"))
	spacetest.Must(t, os.Remove(filepath.Join(other, "file")))
	spacetest.Must(t, everheap.RestoreBackup(other, bytes.NewReader(stream))) // an empty directory is no obstacle
	spacetest.Open(t, other)
}

// A restore does not replace a space that is created while the backup is read.
func TestRestoreBackup_NameTakenMeanwhile(t *testing.T) {
	stream, parent := littleBackup(t), spacetest.MemoryDir(t)
	dir := filepath.Join(parent, "s")
	r := io.MultiReader(bytes.NewReader(stream[:len(stream)-10]), readFunc(func([]byte) (int, error) {
		spacetest.Must(t, os.Mkdir(dir, 0o700))
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), []byte("mine"), 0o600))
		return 0, io.EOF
	}), bytes.NewReader(stream[len(stream)-10:]))
	if err := everheap.RestoreBackup(dir, r); !errors.Is(err, everheap.ErrExists) {
		t.Errorf("restoring to a name that is taken meanwhile: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "heap")); string(b) != "mine" {
		t.Errorf("the other file now holds %.20q, %v", b, err)
	}
	left, err := os.ReadDir(parent)
	if len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRestoreBackup_ReadError(t *testing.T) {
	stream, parent := littleBackup(t), spacetest.MemoryDir(t)
	broken := errors.New("the tape is broken")
	for _, n := range []int{0, 50, 200, len(stream) - 1, len(stream)} {
		r := io.MultiReader(bytes.NewReader(stream[:n]), readFunc(func([]byte) (int, error) { return 0, broken }))
		if err := everheap.RestoreBackup(filepath.Join(parent, "s"), r); !errors.Is(err, broken) {
			t.Errorf("an error after %d bytes: %v", n, err)
		}
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRestoreBackup_Registered(t *testing.T) {
	home := t.TempDir()
	t.Setenv("EVERHEAP_HOME", home)
	stream := littleBackup(t)
	spacetest.Must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream)))
	s := spacetest.Open(t, "forum")
	if v, err := spacetest.MapOf[int, string](t, s).Get(s, 1); v != "one" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if got := s.Stats().Dir; got != filepath.Join(home, "spaces", "forum") {
		t.Errorf("restored to %s", got)
	}
	if err := everheap.RestoreBackup("forum", bytes.NewReader(stream)); !errors.Is(err, everheap.ErrExists) {
		t.Errorf("restoring over a registered space: %v", err)
	}
	spacetest.Must(t, everheap.RestoreBackup("copy", bytes.NewReader(stream), everheap.WithMaxSize(64<<20)))
	other := spacetest.Open(t, "copy") // both can be open
	if most := other.Stats().MaxSize; most != 64<<20 {
		t.Errorf("a maximum size of %d bytes", most)
	}
	if err := everheap.RestoreBackup("cut", bytes.NewReader(stream[:len(stream)-1])); !errors.Is(err, everheap.ErrCorrupt) {
		t.Errorf("a cut backup: %v", err)
	}
	if _, err := everheap.Open("cut", everheap.WithReadOnly()); !spacetest.IsNotFound(err) {
		t.Errorf("opening a space that was not restored: %v", err)
	}
	spacetest.Must(t, s.Close())
	spacetest.Must(t, os.RemoveAll(filepath.Join(home, "spaces", "forum")))
	spacetest.Must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream))) // the registry's entry of a removed space is no obstacle
	spacetest.Must(t, everheap.RestoreBackup("forum", bytes.NewReader(stream), everheap.WithDir(filepath.Join(home, "elsewhere"))))
	spacetest.Open(t, filepath.Join(home, "elsewhere", "forum"))
	for _, name := range []string{"", "..", "a b"} {
		if err := everheap.RestoreBackup(name, bytes.NewReader(stream)); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

func TestRestoreBackup_ReadOnly(t *testing.T) {
	err := everheap.RestoreBackup(filepath.Join(t.TempDir(), "s"), bytes.NewReader(littleBackup(t)), everheap.WithReadOnly())
	if !errors.Is(err, everheap.ErrReadOnly) {
		t.Errorf("restoring with WithReadOnly: %v", err)
	}
}

// A window that is too small for the contents is an error, and nothing is left.
func TestRestoreBackup_TooSmall(t *testing.T) {
	s := spacetest.Scratch(t)
	m := spacetest.MapOf[int, []byte](t, s)
	for i := range 40 {
		spacetest.Must(t, m.Set(s, i, make([]byte, 2<<20)))
	}
	parent := spacetest.MemoryDir(t)
	err := everheap.RestoreBackup(filepath.Join(parent, "s"), bytes.NewReader(spacetest.BackupOf(t, s)), everheap.WithMaxSize(64<<20))
	if !errors.Is(err, everheap.ErrNoSpace) {
		t.Errorf("80 MiB restored to 64: %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A restored space has two anchors of the restored version: one may be lost.
func TestRestoreBackup_AnchorLost(t *testing.T) {
	stream := littleBackup(t)
	want := spacetest.ReadDump(t, stream)
	for slot := range format.NumAnchors {
		dir := filepath.Join(spacetest.MemoryDir(t), "s")
		spacetest.Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithoutSyncs))
		f, err := os.OpenFile(filepath.Join(dir, "heap"), os.O_RDWR, 0)
		spacetest.Must(t, err)
		_, err = f.WriteAt(make([]byte, 512), format.AnchorOffset+int64(slot)*format.PageSize)
		spacetest.Must(t, errors.Join(err, f.Close()))
		s, err := everheap.Open(dir)
		spacetest.Must(t, err)
		spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, s)), want)
		spacetest.CheckSpace(t, s)
		spacetest.Must(t, s.Close())
	}
}

// Before the directory gets its name, and so before RestoreBackup returns, the space survives a power
// loss.
func TestRestoreBackup_PowerCut(t *testing.T) {
	s := spacetest.Scratch(t, everheap.WithMaxSize(64<<20))
	spacetest.FillKind(t, s, spacetest.StringToString, rand.New(rand.NewPCG(5, 5)), 200)
	stream := spacetest.BackupOf(t, s)
	want := spacetest.ReadDump(t, stream)
	disk := powercut.New()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	dir := filepath.Join(spacetest.MemoryDir(t), "s")
	spacetest.Must(t, everheap.RestoreBackup(dir, bytes.NewReader(stream), spacetest.WithFiles(disk.OpenFile)))
	r := rand.New(rand.NewPCG(6, 6))
	for i := range spacetest.Scaled(4 * int(powercut.NumPolicies)) {
		image := spacetest.MemoryDir(t)
		spacetest.Must(t, disk.Image(image, "heap", disk.Now(), powercut.Policy(i%int(powercut.NumPolicies)), r))
		cut := spacetest.Open(t, image)
		spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, cut)), want)
		spacetest.Must(t, cut.Close())
	}
}
