package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/everheap/everheap/internal/format"
	"pgregory.net/rapid"
)

func head() format.BackupHead {
	return format.BackupHead{Window: 64 << 20, Limit: 64 << 20, Version: 3, Tag: 7, Secret: 5, UnixNano: 6}
}

// written is a change as Put got it.
type written struct {
	h       format.OpHead
	payload []byte
}

// write makes a stream of changes.
func write(t interface{ Fatal(...any) }, list []written) []byte {
	var b bytes.Buffer
	w, err := NewWriter(&b, head())
	for _, c := range list {
		if err == nil {
			err = w.Put(c.h, c.payload)
		}
	}
	if err == nil {
		err = w.Close(9, 2, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads a stream to its end.
func read(r io.Reader) (list []written, end format.BackupEnd, err error) {
	rd, err := NewReader(r)
	if err != nil {
		return nil, end, err
	}
	for {
		h, payload, err := rd.Next()
		if err == io.EOF {
			return list, rd.End(), nil
		}
		if err != nil {
			return nil, end, err
		}
		list = append(list, written{h, bytes.Clone(payload)})
	}
}

// sizes has the sizes of payloads at which padding or the end of a frame matters.
var sizes = []int{0, 1, 7, 8, 9, 100, frameBytes - 200, frameBytes - format.BackupFrameSize - format.OpHeadSize, frameBytes, 2*frameBytes + 3, 3 << 20}

func TestReader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []written
		for range rapid.IntRange(0, 12).Draw(t, "changes") {
			n := rapid.SampledFrom(sizes).Draw(t, "size") + rapid.IntRange(0, 20).Draw(t, "more")
			c := written{format.OpHead{What: rapid.Uint64().Draw(t, "what"), Addr: rapid.Uint64().Draw(t, "addr"), Arg: 1, Size: uint64(n)}, make([]byte, n)}
			for i := range c.payload {
				c.payload[i] = byte(i * 7)
			}
			list = append(list, c)
		}
		stream := write(t, list)
		var r io.Reader = bytes.NewReader(stream)
		if rapid.Bool().Draw(t, "in pieces") {
			r = iotest.HalfReader(r)
		}
		got, end, err := read(r)
		if err != nil || len(got) != len(list) {
			t.Fatalf("%d changes of %d, %v", len(got), len(list), err)
		}
		for i, c := range list {
			if got[i].h != c.h || !bytes.Equal(got[i].payload, c.payload) {
				t.Fatalf("change %d is %+v, was %+v", i, got[i].h, c.h)
			}
		}
		if end.NextIndex != 9 || end.Objects != 2 || end.Lost != 1 || end.Changes != uint64(len(list)) {
			t.Fatalf("the end says %+v", end)
		}
	})
}

// little is a stream of three frames.
func little(t *testing.T) []byte {
	stream := write(t, []written{{payload: make([]byte, 100)}, {payload: make([]byte, 50)}})
	if len(stream) > 1000 {
		t.Fatalf("%d bytes", len(stream))
	}
	return stream
}

func isDamage(err error) bool {
	var d *format.DamageError
	return errors.As(err, &d)
}

func TestReader_Cut(t *testing.T) { // BK2
	stream := little(t)
	for n := range stream {
		if _, _, err := read(bytes.NewReader(stream[:n])); !isDamage(err) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestReader_FlippedBit(t *testing.T) {
	stream := little(t)
	for bit := range len(stream) * 8 {
		altered := bytes.Clone(stream)
		altered[bit/8] ^= 1 << (bit % 8)
		if _, _, err := read(bytes.NewReader(altered)); !isDamage(err) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestReader_MoreFollows(t *testing.T) { // BK2
	stream := little(t)
	if _, _, err := read(bytes.NewReader(append(stream, 0))); !isDamage(err) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestReader_SourceFails(t *testing.T) {
	stream, broken := little(t), errors.New("broken")
	for n := range len(stream) + 1 {
		_, _, err := read(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("the source fails after %d bytes: %v", n, err)
		}
	}
}

// Frames with correct checksums and wrong contents are refused.
func TestReader_ImpossibleContents(t *testing.T) {
	change := format.AppendOp(nil, format.OpHead{What: 5}, []byte("payload"))
	huge := binary.LittleEndian.AppendUint64(bytes.Clone(change[:24]), 1<<62)
	end := format.BackupEnd{Changes: 1, Bytes: uint64(len(change))}
	for name, c := range map[string]struct {
		payload []byte
		end     format.BackupEnd
		good    bool
	}{
		"as it must be":       {change, end, true},
		"half a change":       {change[:40], format.BackupEnd{Bytes: 40}, false},
		"half a head":         {change[:20], format.BackupEnd{Bytes: 20}, false},
		"a change of 2^62":    {huge, format.BackupEnd{Bytes: 32}, false},
		"one change too many": {change, format.BackupEnd{Changes: 2, Bytes: end.Bytes}, false},
		"one byte too many":   {change, format.BackupEnd{Changes: 1, Bytes: end.Bytes + 1}, false},
	} {
		h := head()
		stream := h.Encode()
		frame := append(make([]byte, format.BackupFrameSize), c.payload...)
		sum := format.PutBackupFrame(frame, format.BackupChanges, 1, h.Sum)
		last := c.end.Append(make([]byte, format.BackupFrameSize))
		format.PutBackupFrame(last, format.BackupLast, 2, sum)
		_, _, err := read(bytes.NewReader(append(append(stream, frame...), last...)))
		if c.good != (err == nil) || !c.good && !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A short stream that states a large size takes little memory (BK3).
func TestReader_LittleMemory(t *testing.T) {
	stream := write(t, []written{{payload: make([]byte, 2<<20)}})
	i := bytes.Index(stream, binary.LittleEndian.AppendUint64(nil, 2<<20))
	binary.LittleEndian.PutUint64(stream[i:], format.MaxPayload)
	h, _ := format.DecodeBackupFrame(stream[format.BackupHeadSize:])
	frame := stream[format.BackupHeadSize:][:format.BackupFrameSize+int(h.Size)]
	d, err := format.DecodeBackupHead(stream)
	if err != nil {
		t.Fatal(err)
	}
	format.PutBackupFrame(frame, format.BackupChanges, 1, d.Sum)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = read(bytes.NewReader(stream))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; !isDamage(err) || n > 16<<20 {
		t.Errorf("%d bytes were allocated for a stream of %d: %v", n, len(stream), err)
	}
}

// limited is a writer that fails after some bytes.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(l.left, len(b))
	l.left -= n
	if n < len(b) {
		return n, l.err
	}
	return n, nil
}

func TestWriter_SinkFails(t *testing.T) {
	size := len(write(t, []written{{payload: make([]byte, 3*frameBytes)}}))
	full := errors.New("full")
	for _, cause := range []error{full, nil} {
		want := cause
		if cause == nil {
			want = io.ErrShortWrite
		}
		for n := 0; n < size; n += 997 {
			sink := &limited{n, cause}
			w, err := NewWriter(sink, head())
			if err == nil {
				err = w.Put(format.OpHead{}, make([]byte, 3*frameBytes))
			}
			if err == nil {
				err = w.Close(3, 2, 0)
			}
			if !errors.Is(err, want) {
				t.Fatalf("room for %d bytes: %v, want %v", n, err, want)
			}
			sink.left = 1 << 30
			if w != nil && !errors.Is(w.Close(3, 2, 0), want) {
				t.Fatalf("room for %d bytes: the writer forgets its error", n)
			}
			if sink.left != 1<<30 {
				t.Fatalf("room for %d bytes: something is written after the error", n)
			}
		}
	}
}

// Two backups of one version are different streams: a reader refuses frames of one in the other
// (BK1).
func TestWriter_StreamsDiffer(t *testing.T) {
	a, b := little(t), little(t)
	at := format.BackupHeadSize
	if _, _, err := read(bytes.NewReader(append(bytes.Clone(a[:at]), b[at:]...))); !isDamage(err) {
		t.Errorf("the frames of another backup: %v", err)
	}
}

// A change of any size takes little more memory than its own size (BK3).
func TestReader_OneLargeChange(t *testing.T) {
	for _, size := range largeChanges {
		r, w := io.Pipe()
		go func() {
			wr, err := NewWriter(w, head())
			if err == nil {
				err = wr.Put(format.OpHead{What: 5}, make([]byte, size))
			}
			if err == nil {
				err = wr.Close(3, 2, 0)
			}
			w.CloseWithError(err)
		}()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rd, err := NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		_, payload, err := rd.Next()
		if err != nil || len(payload) != size {
			t.Fatalf("%d bytes (%v)", len(payload), err)
		}
		if _, _, err := rd.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		runtime.ReadMemStats(&after)
		n := float64(after.TotalAlloc-before.TotalAlloc) - float64(size) // without the writer's memory
		if most := 1.2*float64(size) + 10<<20; n > most {
			t.Errorf("a change of %d MiB takes %.0f MiB, more than %.0f", size>>20, n/(1<<20), most/(1<<20))
		}
		t.Logf("a change of %d MiB takes %.2f of it", size>>20, n/float64(size))
	}
}

var largeChanges = []int{5 << 20, 33 << 20, 64<<20 + 8}
