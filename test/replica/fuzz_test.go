package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/member"
	"github.com/everheap/everheap/internal/spacetest"
)

// A framed is a replica that gets fuzzed frames, and the backup from which it begins.
type framed struct {
	dir     string
	stream  []byte
	replica *everheap.Replica
	begun   int // replicas
	taken   int // frames, by this one
	dump    spacetest.Dump
}

// begin begins with a new replica.
func (f *framed) begin(t testing.TB) {
	t.Helper()
	if f.replica != nil {
		spacetest.Must(t, f.replica.Space().Close())
	}
	f.begun++
	dir := filepath.Join(f.dir, fmt.Sprint("replica", f.begun))
	spacetest.Must(t, everheap.RestoreReplica(dir, bytes.NewReader(f.stream), "nobody"))
	s, err := everheap.Open(dir, spacetest.WithoutBackground())
	spacetest.Must(t, err)
	f.replica, err = s.AsReplica("nobody")
	spacetest.Must(t, err)
	f.taken, f.dump = 0, spacetest.ReadDump(t, spacetest.BackupOf(t, s))
}

// offer gives the replica a frame with some changes that follows the newest version, and reports
// whether the replica has applied it.
func (f *framed) offer(t testing.TB, kind uint16, ops []byte) {
	t.Helper()
	if f.replica == nil || f.taken > 20 {
		f.begin(t)
	}
	s := f.replica.Space()
	e := spacetest.Engine(s)
	hold := e.Live.HoldCurrent()
	state := *member.StateAt(hold.State)
	e.Live.Release(&hold)
	b := format.AppendChangeHead(nil, format.ChangeHead{Tag: e.Head.Tag, Kind: kind % 2, Version: state.Version + 1, Before: state.Chain, Chain: state.Chain*3 + 1, UnixNano: state.UnixNano})
	b = append(b, ops...)
	format.SealChange(b)
	frame, err := everheap.ParseFrame(b)
	if err != nil {
		t.Fatalf("a frame with its checksum: %v", err)
	}
	err = f.replica.Apply(context.Background(), frame)
	at, versionErr := f.replica.Version()
	spacetest.Must(t, versionErr)
	if err == nil {
		f.taken++
		if at != frame.Version() {
			t.Fatalf("version %d was applied, and the replica is at version %d", frame.Version(), at)
		}
		var b bytes.Buffer
		if err := s.Backup(&b); err != nil && strings.Contains(err.Error(), "refers to object") { // the frame dropped an object that has a name; only the leader prevents that
			f.begin(t)
			return
		} else if err != nil {
			t.Fatal(err)
		}
		f.dump = spacetest.ReadDump(t, b.Bytes())
	} else {
		if !errors.Is(err, everheap.ErrCorrupt) && !errors.Is(err, everheap.ErrNoSpace) {
			t.Fatalf("changes that cannot be: %v", err)
		}
		if uint64(at) != state.Version {
			t.Fatalf("after %v the replica is at version %d, before at %d", err, at, state.Version)
		}
		spacetest.Same(t, spacetest.ReadDump(t, spacetest.BackupOf(t, s)), f.dump)
	}
	// Only the leader ensures that an index agrees with its map, since frames have the changes of
	// both. The same holds for the times of expiry, which are in an index, too.
	report, err := s.Check(context.Background())
	findings := slices.DeleteFunc(report.Findings, func(f everheap.Finding) bool {
		return strings.Contains(f.What, "index") || strings.Contains(f.What, "instant at which they expire")
	})
	if err != nil || len(findings) > 0 {
		t.Fatalf("check: %+v, %v", findings, err)
	}
}

// someFrames returns the changes of frames of a leader, by kind, and the backup that they follow.
func someFrames(t testing.TB) (stream []byte, kinds []uint16, ops [][]byte) {
	t.Helper()
	l := &leader{t: t, r: rand.New(rand.NewPCG(3, 1)), dir: filepath.Join(spacetest.MemoryDir(t), "leader"), pins: map[string]bool{}}
	l.open()
	l.collection("users", userSpecs[0])
	l.collection("posts", sortedSpecs[0])
	_, err := l.space.Subscribe("fuzz", 0)
	spacetest.Must(t, err)
	for range 30 {
		l.step()
	}
	stream, from := spacetest.BackupOf(t, l.space), newest(t, l.space)
	for range 150 {
		l.step()
	}
	list, err := frames(t, l.space, from)
	spacetest.Must(t, err)
	for _, f := range list {
		h, changes, _, ok := format.DecodeChange(f.Bytes())
		if !ok {
			t.Fatal("a frame that is invalid")
		}
		kinds, ops = append(kinds, h.Kind), append(ops, changes)
	}
	spacetest.Must(t, l.space.Close())
	return stream, kinds, ops
}

// FuzzApply gives a replica frames with correct checksums and any changes: the replica applies them,
// or returns an error and stays unchanged.
func FuzzApply(f *testing.F) {
	stream, kinds, ops := someFrames(f)
	for i := range ops {
		f.Add(kinds[i], ops[i])
	}
	r := &framed{dir: spacetest.MemoryDir(f), stream: stream}
	f.Cleanup(func() {
		if r.replica != nil {
			_ = r.replica.Space().Close()
		}
	})
	f.Fuzz(func(t *testing.T, kind uint16, ops []byte) { r.offer(t, kind, ops) })
}

// FuzzParseFrame parses any bytes: they are a frame, or an error.
func FuzzParseFrame(f *testing.F) {
	b := format.AppendChangeHead(nil, format.ChangeHead{Tag: 1, Version: 2, Before: 3, Chain: 4})
	format.SealChange(b)
	f.Add(b, false)
	f.Add(append(bytes.Clone(b), b...), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= format.ChangeHeadSize {
			format.SealChange(b)
		}
		frame, err := everheap.ParseFrame(b)
		if err == nil && (frame.Version() < 2 || !bytes.Equal(frame.Bytes(), b)) || err != nil && !errors.Is(err, everheap.ErrCorrupt) {
			t.Errorf("%v: %v", frame, err)
		}
	})
}

// Frames of a leader, changed at random in many ways, with repaired checksums.
func TestApply_Mutated(t *testing.T) {
	stream, kinds, ops := someFrames(t)
	spacetest.Rounds(t, 1, func(t *testing.T, r *rand.Rand) {
		f := &framed{dir: spacetest.MemoryDir(t), stream: stream}
		for range spacetest.Scaled(600) {
			i := r.IntN(len(ops))
			b := mutate(r, bytes.Clone(ops[i]), ops)
			kind := kinds[i]
			if r.IntN(6) == 0 {
				kind = 1 - kind
			}
			f.offer(t, kind, b)
		}
		spacetest.Must(t, f.replica.Space().Close())
		t.Logf("the last %d were taken", f.taken)
	})
}

// mutate changes the bytes of some changes.
func mutate(r *rand.Rand, b []byte, others [][]byte) []byte {
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return bytes.Clone(others[r.IntN(len(others))])
		}
		at := r.IntN(len(b))
		switch r.IntN(8) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2:
			b = b[:at]
		case 3:
			b = append(b[:at], b[min(len(b), at+8*r.IntN(5)):]...)
		case 4: // changes of another version, before or after, as a whole
			other := bytes.Clone(others[r.IntN(len(others))])
			if r.IntN(2) == 0 {
				b = append(other, b...)
			} else {
				b = append(b, other...)
			}
		case 5: // in one of the words
			at &^= 7
			if at+8 <= len(b) {
				copy(b[at:], []byte{byte(r.IntN(4)), 0, 0, 0, 0, 0, 0, byte(r.IntN(2) * 255)})
			}
		case 6: // of a head, as a rule
			at = r.IntN(min(len(b), format.OpHeadSize))
			b[at] += byte(r.IntN(3) - 1)
		case 7: // repeat changes
			b = append(b, b...)
		}
	}
	return b
}
