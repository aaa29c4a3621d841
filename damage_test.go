package everheap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
)

// specimen is a space with three anchored versions, as bytes, and what each holds.
type specimen struct {
	heap, live []byte
	versions   []map[string]string
}

// prepare makes the specimen, once.
var prepare = sync.OnceValues(func() (*specimen, error) {
	parent, err := os.MkdirTemp("", "everheap-specimen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20), everheap.WithFlushInterval(time.Hour))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sp := &specimen{versions: []map[string]string{{}}}
	m, err := everheap.OpenMap[string, string](s, "m")
	if err != nil {
		return nil, err
	}
	for v := range 3 {
		model := map[string]string{}
		for i := range 150 * (v + 1) {
			key := fmt.Sprint("key ", i)
			model[key] = fmt.Sprint("value ", v, strings.Repeat("-", i%50*(i%50)/20))
			if err := m.Set(s, key, model[key]); err != nil {
				return nil, err
			}
		}
		if err := addToLists(s, v); err != nil {
			return nil, err
		}
		if err := addToSorted(s, v); err != nil {
			return nil, err
		}
		sp.versions = append(sp.versions, model)
		if err := s.Sync(context.Background()); err != nil {
			return nil, err
		}
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	if sp.heap, err = os.ReadFile(filepath.Join(dir, "heap")); err != nil {
		return nil, err
	}
	sp.live, err = os.ReadFile(filepath.Join(dir, "live"))
	return sp, err
})

// damage changes bytes; it works on what is in use rather than on the zeros.
type damage struct {
	live bool   // the file
	how  byte   // flip a bit, random bytes, zeros, copy from elsewhere, cut
	at   uint32 // place
	arg  uint32 // the other place, or the bits
}

// apply damages a file.
func (d damage) apply(b []byte) []byte {
	if len(b) < 64 {
		return b
	}
	at := int(d.at) % (len(b) - 8)
	switch d.how % 6 {
	case 0, 1:
		b[at] ^= 1 << (d.arg % 8)
	case 2:
		r := rand.New(rand.NewPCG(uint64(d.arg), 1))
		binary.LittleEndian.PutUint64(b[at&^7:], r.Uint64()>>(d.arg%64))
	case 3:
		clear(b[at:min(at+int(d.arg%600), len(b))])
	case 4:
		from := int(d.arg) % (len(b) - 8) &^ 15
		n := min(512, len(b)-max(from, at))
		copy(b[at&^15:], bytes.Clone(b[from:from+n]))
	case 5:
		return b[:at]
	}
	return b
}

// interesting draws a place in the heap where something is: header, anchors,
// extent table, or a block.
func (sp *specimen) interesting(r *rand.Rand, live bool) uint32 {
	b := sp.heap
	if live {
		b = sp.live
		if r.IntN(4) > 0 {
			return uint32(r.IntN(12 << 10))
		}
	}
	switch r.IntN(8) {
	case 0:
		return uint32(r.IntN(9 * 4096))
	case 1:
		return uint32(64<<10 + r.IntN(64))
	}
	for range 1000 {
		if at := r.IntN(len(b)); b[at] != 0 {
			return uint32(at)
		}
	}
	return 0
}

func TestOpen_Damaged(t *testing.T) {
	rounds(t, 100, func(t *testing.T, r *rand.Rand) {
		sp, err := prepare()
		must(t, err)
		list := make([]damage, 1+r.IntN(3)*r.IntN(3))
		for i := range list {
			d := damage{live: r.IntN(3) == 0, how: byte(r.IntN(256)), arg: r.Uint32()}
			if d.how%6 == 5 && r.IntN(4) > 0 {
				d.how = 0
			}
			d.at = sp.interesting(r, d.live)
			list[i] = d
		}
		tryDamaged(t, sp, list, r.IntN(2) == 0)
	})
}

func FuzzOpenDamaged(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{1, 1, 2, 0, 16, 0, 0, 77, 0, 0, 0})
	f.Add([]byte{1, 0, 4, 0, 0, 2, 0, 0, 1, 2, 0, 1, 3, 0, 32, 0, 0, 200, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		sp, err := prepare()
		must(t, err)
		verify := len(data) > 0 && data[0]&1 != 0
		var list []damage
		for data = data[min(1, len(data)):]; len(data) >= 10 && len(list) < 8; data = data[10:] {
			list = append(list, damage{live: data[0]&1 != 0, how: data[1],
				at: binary.LittleEndian.Uint32(data[2:]), arg: binary.LittleEndian.Uint32(data[6:])})
		}
		tryDamaged(t, sp, list, verify)
	})
}

// tryDamaged damages a copy of the specimen, opens it, reads and writes: it must
// answer or fail, in reasonable time; and with verify every answer is right.
func tryDamaged(t *testing.T, sp *specimen, list []damage, verify bool) {
	dir := t.TempDir()
	what := fmt.Sprintf("damage %+v, verify %v", list, verify)
	defer func() {
		if t.Failed() {
			t.Log(what)
		}
	}()
	must(t, os.WriteFile(filepath.Join(dir, "heap"), sp.heap, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600))
	s, err := everheap.Open(dir) // makes a live file that belongs to this heap file
	must(t, err)
	must(t, s.Close())
	for _, name := range []string{"heap", "live"} {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		must(t, err)
		for _, d := range list {
			if d.live == (name == "live") {
				b = d.apply(b)
			}
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0) // in place: its inode is its identity
		must(t, err)
		must(t, f.Truncate(int64(len(b))))
		_, err = f.WriteAt(b, 0)
		must(t, err)
		must(t, f.Close())
	}
	within(t, time.Minute, what, func() { useDamaged(t, sp, dir, verify) })
}

// useDamaged does with a damaged space whatever a program may do.
func useDamaged(t *testing.T, sp *specimen, dir string, verify bool) {
	opts := []everheap.Option{everheap.WithFlushInterval(20 * time.Millisecond)}
	if verify {
		opts = append(opts, everheap.WithVerify())
	}
	s, err := everheap.Open(dir, opts...)
	if err != nil {
		return
	}
	defer s.Close()
	m, err := everheap.OpenMap[string, string](s, "m")
	if err != nil {
		return
	}
	possible := slices.Clone(sp.versions)
	answer := func(key, value string, found bool) {
		if !verify {
			return
		}
		possible = slices.DeleteFunc(possible, func(model map[string]string) bool {
			want, there := model[key]
			return there != found || there && want != value
		})
		if len(possible) == 0 {
			t.Errorf("key %q: an answer of no version: found %v, %.60q", key, found, value)
		}
	}
	_ = s.View(func(tx *everheap.Tx) error {
		for i := range 460 {
			key := fmt.Sprint("key ", i)
			v, err := m.Get(tx, key)
			if err == nil {
				answer(key, v, true)
			} else if isNotFound(err) {
				answer(key, "", false)
			}
		}
		return nil
	})
	_ = s.View(func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			if verify { // else the string may point anywhere
				answer(k, strings.Clone(*v), true)
			}
		}
		return nil
	})
	for i := range 200 {
		key := fmt.Sprint("key ", i*3)
		if err := m.Set(s, key, "new"); err != nil {
			continue
		}
		if v, err := m.Get(s, key); err == nil && v != "new" && verify {
			t.Errorf("key %q: wrote and read back %.60q", key, v)
		}
		if i%3 == 0 {
			_, _ = m.Delete(s, key)
		}
	}
	useDamagedLists(t, s, verify)
	useDamagedSorted(t, s, verify)
	_, _ = s.Engine().Check(context.Background())
	_, _ = s.Engine().Sweep()
	_ = s.Sync(context.Background())
}
