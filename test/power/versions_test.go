package power

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// A cutModel knows the contents of each version of a space, and when which commits were acknowledged.
type cutModel struct {
	digests  map[uint64]digest            // by version
	begun    []told                       // commits, noted before they were made
	durable  []told                       // acknowledged
	now      digest                       // of the newest version
	contents map[string]string            // "map/key": value, of the newest version
	pins     map[string]cutPin            // checkpoints of the newest version
	pinned   map[uint64]map[string]cutPin // by version
}

// cutPin has the contents of a checkpoint.
type cutPin struct {
	digest   digest
	contents map[string]string
}

// told is a version and a moment.
type told struct {
	moment  int
	version uint64
}

// digest is the sum of the hashes of all entries: it does not depend on their order.
type digest struct {
	sum uint64
	n   int
}

var digestSeed = maphash.MakeSeed()

func (d *digest) add(key, value string) {
	d.sum += maphash.String(digestSeed, key+"\x00"+value)
	d.n++
}

func (d *digest) remove(key, value string) {
	d.sum -= maphash.String(digestSeed, key+"\x00"+value)
	d.n--
}

// set changes the model's newest contents; an empty value deletes.
func (m *cutModel) set(key, value string) {
	if old, ok := m.contents[key]; ok {
		m.now.remove(key, old)
		delete(m.contents, key)
	}
	if value != "" {
		m.now.add(key, value)
		m.contents[key] = value
	}
}

// window returns the oldest and the newest possible version after a cut at the moment.
func (m *cutModel) window(moment int) (oldest, newest uint64) {
	for _, d := range m.durable {
		if d.moment <= moment {
			oldest = max(oldest, d.version)
		}
	}
	for _, b := range m.begun {
		if b.moment <= moment {
			newest = max(newest, b.version)
		}
	}
	return oldest, newest
}

// expected returns the digest of a version, and its checkpoints: versions that only opened a map have
// the contents of the version before.
func (m *cutModel) expected(version uint64) (digest, map[string]cutPin) {
	for ; version > 0; version-- {
		if d, ok := m.digests[version]; ok {
			return d, m.pinned[version]
		}
	}
	return digest{}, nil
}

// verifyPins compares the checkpoints of a space with the expected ones.
func verifyPins(s *everheap.Space, pins map[string]cutPin) error {
	list, err := s.Checkpoints()
	if err != nil {
		return err
	}
	if len(list) != len(pins) {
		return fmt.Errorf("it has %d checkpoints and not %d", len(list), len(pins))
	}
	for name, pin := range pins {
		var d digest
		if err := s.ViewAt(name, func(tx *everheap.Tx) error { return d.read(tx) }); err != nil {
			return err
		}
		if d != pin.digest {
			return fmt.Errorf("the checkpoint %s has %d entries that are not the %d that it had", name, d.n, pin.digest.n)
		}
	}
	return nil
}

// digestOf reads a whole space.
func digestOf(s *everheap.Space) (d digest, err error) {
	err = s.View(func(tx *everheap.Tx) error { return d.read(tx) })
	return d, err
}

// read adds all entries of a version.
func (d *digest) read(tx *everheap.Tx) error { return readAll(tx, d.add) }

// readAll calls add with all entries of a version. Missing collections count as empty.
func readAll(tx *everheap.Tx, add func(key, value string)) error {
	plain, err := everheap.OpenMap[string, string](tx, "plain")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for k, v := range plain.All(tx) {
		add("plain/"+k, *v)
	}
	large, err := everheap.OpenMap[uint64, []byte](tx, "large")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for k, v := range large.All(tx) {
		add(fmt.Sprint("large/", k), string(*v))
	}
	if err := readSorted(tx, add); err != nil {
		return err
	}
	if err := readIndexed(tx, add); err != nil {
		return err
	}
	if err := readLoose(tx, add); err != nil {
		return err
	}
	return readLists(tx, add)
}

// verifyImage opens an image and compares it with the model. The version that was
// recovered is the one that the space has before a map is opened. The versions of the model end with
// last: later ones have the same contents.
func (m *cutModel) verifyImage(dir string, moment int, last uint64) error {
	s, err := everheap.Open(dir, spacetest.Created(dir, 64<<20, spacetest.WithoutBackground())...)
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	defer s.Close()
	version := uint64(s.Stats().Version)
	oldest, newest := m.window(moment)
	if last != math.MaxUint64 {
		newest = max(newest, last+1)
	}
	if version < oldest || version > newest {
		return fmt.Errorf("it has version %d; %d was durable, %d the newest", version, oldest, newest)
	}
	report, err := spacetest.Engine(s).Check(context.Background())
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		return fmt.Errorf("version %d: check: block %#x, object %d: %s", version, f.Addr, f.Object, f.What)
	}
	d, err := digestOf(s)
	if err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	want, pins := m.expected(min(version, last))
	if d != want {
		return fmt.Errorf("version %d: %d entries that are not the %d that it had", version, d.n, want.n)
	}
	if err := verifyPins(s, pins); err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	plain, err := everheap.OpenMap[string, string](s, "plain")
	if err == nil {
		err = plain.Set(s, "after", "the cut")
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return fmt.Errorf("version %d: going on: %w", version, err)
	}
	return nil
}

// again opens an image once more after it was written.
func (m *cutModel) again(dir string) error {
	s, err := everheap.Open(dir, spacetest.WithoutBackground())
	if err != nil {
		return fmt.Errorf("it does not open again: %w", err)
	}
	defer s.Close()
	plain, err := everheap.OpenMap[string, string](s, "plain")
	if err != nil {
		return err
	}
	if v, err := plain.Get(s, "after"); err != nil || v != "the cut" {
		return fmt.Errorf("the value written after the cut is %q (%v)", v, err)
	}
	return nil
}
