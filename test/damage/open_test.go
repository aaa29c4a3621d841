package damage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/spacetest"
)

// specimen is a space as bytes, with the contents of each version.
type specimen struct {
	closed   map[string][]byte // its files after a clean close, without the journal, which is not needed then
	running  map[string][]byte // after a power loss: the newest versions are in the journal
	versions []map[string]string
}

// prepare makes the specimen, once. Each version is one transaction. The specimen has more than two
// anchors, and reused blocks, so that the version of an old anchor is not intact.
var prepare = sync.OnceValues(func() (*specimen, error) {
	parent, err := os.MkdirTemp("", "everheap-specimen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "s")
	s, err := everheap.Open(dir, everheap.WithMaxSize(64<<20), spacetest.WithoutBackground())
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sp := &specimen{closed: map[string][]byte{}, running: map[string][]byte{}, versions: []map[string]string{{}}}
	m, err := everheap.OpenMap[string, string](s, "m")
	if err != nil {
		return nil, err
	}
	const versions = 9
	for v := range versions {
		model := map[string]string{}
		err := s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
			for i := range 50 * (v + 1) {
				key := fmt.Sprint("key ", i)
				model[key] = fmt.Sprint("value ", v, strings.Repeat("-", i%50*(i%50)/20))
				err = errors.Join(err, m.Set(tx, key, model[key]))
			}
			return err
		}, everheap.Durable)
		if err == nil && v < versions-3 {
			err = spacetest.Engine(s).Anchor(false)
		}
		err = errors.Join(err, addToLists(s, v))
		if err != nil {
			return nil, err
		}
		if err := addToSorted(s, v); err != nil {
			return nil, err
		}
		sp.versions = append(sp.versions, model)
	}
	read := func(into map[string][]byte, name string) {
		b, readErr := os.ReadFile(filepath.Join(dir, name))
		into[name], err = b, errors.Join(err, readErr)
	}
	read(sp.running, "heap")
	read(sp.running, "journal")
	if err := s.Close(); err != nil {
		return nil, err
	}
	read(sp.closed, "heap")
	read(sp.closed, "live")
	sp.closed["journal"] = nil
	return sp, err
})

// damagedFiles are the files that damage strikes.
var damagedFiles = []string{"heap", "live", "journal"}

// damage changes bytes, mostly bytes in use.
type damage struct {
	file byte   // index of the file
	how  byte   // flip a bit, random bytes, zeros, copy from elsewhere, cut, splice
	at   uint32 // place
	arg  uint32 // the other place, or the bits
}

// name names the file.
func (d damage) name() string { return damagedFiles[int(d.file)%len(damagedFiles)] }

const damageKinds = 10

// apply damages a file; other is another file of the space.
func (d damage) apply(b, other []byte) []byte {
	if len(b) < 64 {
		return b
	}
	at := int(d.at) % (len(b) - 8)
	n := 1 + int(d.arg>>8%700)
	switch d.how % damageKinds {
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
	case 6: // insert bytes: all following bytes move
		return slices.Insert(slices.Clone(b), at, bytes.Repeat([]byte{byte(d.arg)}, n)...)
	case 7: // delete bytes
		return slices.Delete(slices.Clone(b), at, min(at+n, len(b)))
	case 8: // whole sectors from elsewhere: an intact frame, or an intact block, in the wrong place
		from := int(d.arg) % len(b) &^ 511
		copy(b[at&^511:], bytes.Clone(b[from:min(from+4096, len(b))]))
	case 9: // copy bytes of another file
		if len(other) > 0 {
			from := int(d.arg) % len(other) &^ 511
			copy(b[at&^511:], other[from:min(from+4096, len(other))])
		}
	}
	return b
}

// interesting draws a place in a file with data: header, anchors, extent table, a block, a frame.
func (sp *specimen) interesting(r *rand.Rand, name string, running bool) uint32 {
	b := sp.closed[name]
	if running && name != "live" {
		b = sp.running[name]
	}
	if len(b) == 0 {
		return r.Uint32()
	}
	if name == "live" && r.IntN(4) > 0 {
		return uint32(r.IntN(12 << 10))
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
	spacetest.Rounds(t, 150, func(t *testing.T, r *rand.Rand) {
		sp, err := prepare()
		spacetest.Must(t, err)
		running := r.IntN(2) == 0
		list := make([]damage, 1+r.IntN(3)*r.IntN(3))
		for i := range list {
			d := damage{file: byte(r.IntN(3)), how: byte(r.IntN(256)), arg: r.Uint32()}
			if d.how%damageKinds == 5 && r.IntN(4) > 0 {
				d.how = 0
			}
			d.at = sp.interesting(r, d.name(), running)
			list[i] = d
		}
		tryDamaged(t, sp, list, running, r.IntN(2) == 0)
	})
}

// Both newest anchors of a space are damaged, among other things.
func TestOpen_DamagedAnchors(t *testing.T) {
	spacetest.Rounds(t, 40, func(t *testing.T, r *rand.Rand) {
		sp, err := prepare()
		spacetest.Must(t, err)
		var list []damage
		for range 1 + r.IntN(5) {
			list = append(list, damage{how: byte(r.IntN(5)), at: uint32(4096 + r.IntN(4)*4096 + r.IntN(600)), arg: r.Uint32()})
		}
		if r.IntN(2) == 0 {
			list = append(list, damage{file: 2, how: byte(r.IntN(256)), at: sp.interesting(r, "journal", true), arg: r.Uint32()})
		}
		tryDamaged(t, sp, list, true, true)
	})
}

func FuzzOpenDamaged(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{1, 1, 2, 0, 16, 0, 0, 77, 0, 0, 0})
	f.Add([]byte{1, 0, 4, 0, 0, 2, 0, 0, 1, 2, 0, 1, 3, 0, 32, 0, 0, 200, 0, 0, 0})
	f.Add([]byte{3, 2, 0, 100, 0, 0, 0, 1, 0, 0, 0})
	f.Add([]byte{3, 2, 6, 0, 4, 0, 0, 1, 2, 0, 0, 2, 8, 0, 8, 0, 0, 0, 2, 0, 0})
	f.Add([]byte{3, 0, 3, 0, 16, 0, 0, 200, 0, 0, 0, 0, 3, 0, 32, 0, 0, 200, 0, 0, 0})
	f.Add([]byte{2, 2, 5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 4, 0, 0, 2, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		sp, err := prepare()
		spacetest.Must(t, err)
		verify, running := len(data) > 0 && data[0]&1 != 0, len(data) > 0 && data[0]&2 != 0
		var list []damage
		for data = data[min(1, len(data)):]; len(data) >= 10 && len(list) < 8; data = data[10:] {
			list = append(list, damage{file: data[0], how: data[1],
				at: binary.LittleEndian.Uint32(data[2:]), arg: binary.LittleEndian.Uint32(data[6:])})
		}
		tryDamaged(t, sp, list, running, verify)
	})
}

// tryDamaged damages a copy of the specimen, opens it, reads and writes: each operation must answer
// or fail, in reasonable time; and with verify every answer must be right. running says that the
// space needs recovery, as after a power loss.
func tryDamaged(t *testing.T, sp *specimen, list []damage, running, verify bool) {
	dir := filepath.Join(spacetest.MemoryDir(t), "s")
	spacetest.Must(t, os.Mkdir(dir, 0o700))
	defer os.RemoveAll(filepath.Dir(dir))
	what := fmt.Sprintf("damage %+v, running %v, verify %v", list, running, verify)
	defer func() {
		if t.Failed() {
			t.Log(what)
		}
	}()
	files := maps.Clone(sp.running)
	if !running {
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, "heap"), sp.closed["heap"], 0o600))
		spacetest.Must(t, os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600))
		s, err := everheap.Open(dir) // makes a live file that belongs to this heap file
		spacetest.Must(t, err)
		spacetest.Must(t, s.Close())
		for _, name := range damagedFiles {
			files[name], err = os.ReadFile(filepath.Join(dir, name))
			spacetest.Must(t, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b := slices.Clone(files[name])
		for _, d := range list {
			if d.name() == name {
				b = d.apply(b, files[damagedFiles[d.arg%3]])
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600) // in place: its inode is its identity
		spacetest.Must(t, err)
		spacetest.Must(t, f.Truncate(int64(len(b))))
		_, err = f.WriteAt(b, 0)
		spacetest.Must(t, err)
		spacetest.Must(t, f.Close())
	}
	invariant.Distrust(dir)
	spacetest.Within(t, time.Minute, what, func() { useDamaged(t, sp, dir, verify) })
}

// useDamaged calls all operations on a damaged space.
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
			} else if spacetest.IsNotFound(err) {
				answer(key, "", false)
			}
		}
		return nil
	})
	_ = s.View(func(tx *everheap.Tx) error {
		for k, v := range m.All(tx) {
			if verify { // otherwise the string may point anywhere
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
	_, _ = spacetest.Engine(s).Check(context.Background())
	_, _ = spacetest.Engine(s).Sweep()
	_ = s.Sync(context.Background())
}
