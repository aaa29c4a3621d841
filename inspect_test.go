package everheap_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// filled opens a space with 100 entries in a map.
func filled(t *testing.T) (*everheap.Space, everheap.Map[int, string]) {
	t.Helper()
	s := spacetest.Scratch(t)
	return s, fill(t, s)
}

// fill makes the map of filled.
func fill(t *testing.T, s *everheap.Space) everheap.Map[int, string] {
	t.Helper()
	m, err := everheap.OpenMap[int, string](s, "lines")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := m.Set(s, i, strings.Repeat("needle", 50)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestStats_CountWhatIsThere(t *testing.T) {
	s, m := filled(t)
	before := s.Stats()
	if before.MaxSize != spacetest.Small || before.Window < spacetest.Small || before.Base == 0 || before.Live < 100*300 || before.Used < before.Live || before.File < before.Used ||
		before.Disk == 0 || before.Reserved == 0 || before.Processes != 1 || before.LastError != nil || before.Failed || before.Closed {
		t.Errorf("%+v", before)
	}
	if err := m.Set(s, 100, "x"); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if after.Version != before.Version+1 || after.Committed.Before(before.Committed) {
		t.Errorf("version %d at %v, then %d at %v", before.Version, before.Committed, after.Version, after.Committed)
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Durable != st.Version {
		t.Errorf("version %d is durable after Sync of %d", st.Durable, st.Version)
	}
}

func TestStats_InsideUpdateAndAfterClose(t *testing.T) {
	s, _ := filled(t)
	err := s.Update(context.Background(), func(*everheap.Tx) error {
		if st := s.Stats(); st.Closed || st.Live == 0 {
			t.Errorf("%+v", st)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); !st.Closed || st.Window < spacetest.Small || st.Version != 0 {
		t.Errorf("%+v", st)
	}
}

func TestInspection_AfterCloseIsErrClosed(t *testing.T) {
	s, _ := filled(t)
	s.Close()
	_, errCheck := s.Check(context.Background())
	_, errProcesses := s.Processes()
	_, errReaders := s.Readers()
	_, errCollections := s.Collections()
	for _, err := range []error{errCheck, errProcesses, errReaders, errCollections} {
		if !errors.Is(err, everheap.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestCheck_CleanSpace(t *testing.T) {
	s, _ := filled(t)
	r, err := s.Check(context.Background())
	if err != nil || len(r.Findings) != 0 || r.Entries < 100 || r.Blocks < 100 || r.Bytes != s.Stats().Live || r.Version != s.Stats().Version {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCheck_NamesTheDamagedPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s") // not checked when the test ends
	s, err := everheap.Open(dir, everheap.WithMaxSize(spacetest.Small))
	if err != nil {
		t.Fatal(err)
	}
	m := fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "heap")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("needle"))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("N"), int64(at)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if s, err = everheap.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Check(context.Background())
	if err != nil || len(r.Findings) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := r.Findings[0]; got.File != path || got.Offset >= int64(at) || got.Offset < int64(at)-512 || got.Object != m.ID() {
		t.Errorf("%+v for a change at %d of object %x", got, at, m.ID())
	}
}

func TestProcesses_ShowSelfAndWriting(t *testing.T) {
	s, _ := filled(t)
	list, err := s.Processes()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	p := list[0]
	if p.PID != os.Getpid() || !p.Self || p.Writing || p.Stopped || p.Commits < 100 || p.Command == "" || time.Since(p.Since) > time.Minute {
		t.Errorf("%+v", p)
	}
	err = s.Update(context.Background(), func(*everheap.Tx) error {
		list, err := s.Processes()
		if err == nil && (len(list) != 1 || !list[0].Writing || list[0].Stopped) {
			t.Errorf("%+v", list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReaders_ShowWhatAnOldVersionPins(t *testing.T) {
	s, m := filled(t)
	var old everheap.Version
	err := s.View(func(tx *everheap.Tx) error {
		old = tx.Version()
		for i := range 100 {
			if err := m.Set(s, i, "short"); err != nil {
				return err
			}
		}
		list, err := s.Readers()
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.Version == old && r.Self && r.PID == os.Getpid() && r.Pins >= 100*300 {
				return nil
			}
		}
		t.Errorf("no reader of version %d that pins blocks: %+v", old, list)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Readers()
	for _, r := range list {
		if r.Version == old {
			t.Errorf("%+v is still held", r)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestCollections_ByName(t *testing.T) {
	s, m := filled(t)
	if _, err := everheap.OpenMap[string, []byte](s, "bytes"); err != nil {
		t.Fatal(err)
	}
	list, err := s.Collections()
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	want := everheap.CollectionInfo{Name: "lines", ID: m.ID(), Kind: "map", Key: "int", Value: "string", Len: 100}
	if list[0].Type() != "map[string][]uint8" || !reflect.DeepEqual(list[1], want) {
		t.Errorf("%+v", list)
	}
}

func TestDescribe_WithoutOpening(t *testing.T) {
	s, _ := filled(t)
	dir := s.Stats().Dir
	info, err := everheap.Describe(dir)
	if err != nil || !info.Open || info.MaxSize != spacetest.Small || info.Base != s.Stats().Base || info.Disk == 0 || info.Dir != dir {
		t.Errorf("%+v, %v", info, err)
	}
	s.Close()
	if info, err := everheap.Describe(dir); err != nil || info.Open {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := everheap.Describe(t.TempDir()); !errors.Is(err, everheap.ErrNotFound) {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "heap")
	if err := os.WriteFile(path, []byte("no space"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := everheap.Describe(filepath.Dir(path)); !errors.Is(err, everheap.ErrCorrupt) {
		t.Error(err)
	}
}
