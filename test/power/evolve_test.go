package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/spacetest"
)

// An evolvingSpace is a space on a watched disk whose map "people" changes its types. It knows the
// types and the number of people of each version.
type evolvingSpace struct {
	t       *testing.T
	r       *rand.Rand
	disk    *powercut.Disk
	space   *everheap.Space
	model   cutModel        // only its moments
	people  map[uint64]int  // by version
	evolved map[uint64]bool // by version
	seen    [2]int          // images with the old and with the new types
}

// commit calls fn, which makes at most one version; afterwards the map has n people.
func (e *evolvingSpace) commit(n int, evolved, durable bool, fn func() error) {
	e.t.Helper()
	e.model.begun = append(e.model.begun, told{e.disk.Observe(), uint64(e.space.Stats().Version) + 1})
	spacetest.Must(e.t, fn())
	version := uint64(e.space.Stats().Version)
	e.people[version], e.evolved[version] = n, evolved
	if moment := e.disk.Observe(); durable {
		e.model.durable = append(e.model.durable, told{moment, version})
	}
}

// run fills the map, changes its types, and continues with the new ones.
func (e *evolvingSpace) run(durable bool) {
	t, s := e.t, e.space
	const n = 150
	var old everheap.Map[string, spacetest.PersonV1]
	e.commit(0, false, false, func() (err error) {
		return s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
			if old, err = everheap.OpenMap[string, spacetest.PersonV1](tx, "people"); err != nil {
				return err
			}
			_, err = openBeside[spacetest.PersonV1](tx, spacetest.PersonOf)
			return err
		})
	})
	e.commit(n, false, false, func() error {
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range n {
				if err := old.Set(tx, fmt.Sprint("key ", i), spacetest.PersonOf(i)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	spacetest.Must(t, s.Sync(context.Background()))
	e.model.durable = append(e.model.durable, told{e.disk.Observe(), uint64(s.Stats().Version)})
	count := n
	more := func(steps int, evolved bool, set func(key string, i int) error) {
		for range steps {
			i := count
			e.commit(count+1, evolved, false, func() error { return set(fmt.Sprint("key ", i), i) })
			count++
			switch e.r.IntN(6) {
			case 0:
				spacetest.Must(t, spacetest.Engine(s).Spool())
			case 1:
				spacetest.Must(t, spacetest.Engine(s).Anchor(false))
			}
		}
	}
	more(8, false, func(key string, i int) error { return old.Set(s, key, spacetest.PersonOf(i)) })
	var m everheap.Map[string, spacetest.PersonV2]
	durability := everheap.Periodic
	if durable {
		durability = everheap.Durable
	}
	e.commit(count, true, durable, func() error {
		return s.Update(context.Background(), func(tx *everheap.Tx) (err error) {
			calls := 0
			m, err = everheap.OpenMap[string, spacetest.PersonV2](tx, "people", everheap.Migrate(func(p spacetest.PersonV1) (spacetest.PersonV2, error) {
				if calls++; calls%40 == 0 {
					e.disk.Observe()
				}
				return spacetest.Evolved(p), nil
			}))
			if err == nil {
				_, err = openBeside[spacetest.PersonV2](tx, nil, everheap.Evolve())
			}
			return err
		}, durability)
	})
	more(12, true, func(key string, i int) error { return m.Set(s, key, spacetest.Evolved(spacetest.PersonOf(i))) })
	version := uint64(s.Stats().Version)
	spacetest.Must(t, s.Close())
	e.model.durable = append(e.model.durable, told{e.disk.Observe(), version})
}

// openBeside opens the list and the value beside the map, and fills the list if it is
// new. It returns their contents.
func openBeside[T any](tx *everheap.Tx, make func(i int) T, opts ...everheap.TypeOption) (list []T, err error) {
	l, err := everheap.OpenList[T](tx, "list", opts...)
	if err != nil {
		return nil, err
	}
	var first T
	if make != nil {
		first = make(0)
		for i := 1; i < 100; i++ {
			if err := l.Append(tx, make(i)); err != nil {
				return nil, err
			}
		}
	}
	r, err := everheap.OpenRef(tx, "value", first, opts...)
	if err != nil {
		return nil, err
	}
	if first, err = r.Get(tx); err != nil {
		return nil, err
	}
	list = append(list, first)
	for _, v := range l.All(tx) {
		list = append(list, *everheap.Clone(v))
	}
	return list, nil
}

// verifyBeside compares the list and the value with their expected contents.
func verifyBeside(s *everheap.Space, changed bool) error {
	return s.View(func(tx *everheap.Tx) error {
		if !changed {
			list, err := openBeside[spacetest.PersonV1](tx, nil)
			for i := range list {
				err = errors.Join(err, spacetest.SamePersonV1(&list[i], i))
			}
			return err
		}
		list, err := openBeside[spacetest.PersonV2](tx, nil)
		for i := range list {
			if !spacetest.SamePerson(list[i], spacetest.Evolved(spacetest.PersonOf(i))) {
				err = errors.Join(err, fmt.Errorf("element %d is %+v", i, list[i]))
			}
		}
		if err == nil && len(list) != 100 {
			err = fmt.Errorf("there are %d elements", len(list))
		}
		return err
	})
}

// verify opens an image and compares it with the version that it has.
func (e *evolvingSpace) verify(dir string, moment int) error {
	s, err := everheap.Open(dir, spacetest.WithoutBackground())
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	defer s.Close()
	version := uint64(s.Stats().Version)
	if oldest, newest := e.model.window(moment); version < oldest || version > newest {
		return fmt.Errorf("it has version %d; %d was durable, %d the newest", version, oldest, newest)
	}
	report, err := s.Check(context.Background())
	if err != nil || len(report.Findings) > 0 {
		return fmt.Errorf("version %d: check: %v %v", version, report.Findings, err)
	}
	if _, ok := e.people[version]; !ok {
		return nil // before there were any people
	}
	if err := verifyBeside(s, e.evolved[version]); err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	if !e.evolved[version] {
		e.seen[0]++
		m, err := everheap.OpenMap[string, spacetest.PersonV1](s, "people")
		if err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
		for i := range e.people[version] {
			p, err := m.Get(s, fmt.Sprint("key ", i))
			if err == nil {
				err = spacetest.SamePersonV1(&p, i)
			}
			if err != nil {
				return fmt.Errorf("version %d: %w", version, err)
			}
		}
	} else if e.seen[1]++; e.people[version] == 0 {
		return fmt.Errorf("version %d has no people", version)
	} else if _, err := everheap.OpenMap[string, spacetest.PersonV1](s, "people"); !errors.Is(err, everheap.ErrTypeChanged) {
		return fmt.Errorf("version %d has the old types still: %v", version, err)
	}
	m, err := everheap.OpenMap[string, spacetest.PersonV2](s, "people", everheap.Evolve())
	if err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	if n, err := m.Len(s); err != nil || n != e.people[version] {
		return fmt.Errorf("version %d: %d people and not %d (%v)", version, n, e.people[version], err)
	}
	for i := range e.people[version] {
		p, err := m.Get(s, fmt.Sprint("key ", i))
		if err != nil || !spacetest.SamePerson(p, spacetest.Evolved(spacetest.PersonOf(i))) {
			return fmt.Errorf("version %d: person %d is %+v (%v)", version, i, p, err)
		}
	}
	return nil
}

// A power cut at any moment of a change of types leaves the old types or the new ones, with all
// entries; once the change is durable, the new ones.
func TestPowerCut_DuringEvolve(t *testing.T) {
	total := 0
	spacetest.Rounds(t, 4, func(t *testing.T, r *rand.Rand) {
		e := &evolvingSpace{t: t, r: r, disk: powercut.New(), people: map[uint64]int{}, evolved: map[uint64]bool{}}
		e.model.begun = []told{{0, 1}}
		e.disk.Ignore["live"], e.disk.Mapped["heap"] = true, true
		dir := spacetest.MemoryDir(t)
		var err error
		e.space, err = everheap.Open(filepath.Join(dir, "s"), everheap.WithMaxSize(64<<20), spacetest.WithFiles(e.disk.OpenFile), spacetest.WithoutBackground())
		spacetest.Must(t, err)
		first := e.disk.Observe()
		e.run(r.IntN(2) == 0)
		for moment := first; moment <= e.disk.Now(); moment++ {
			policy := powercut.Policy(r.IntN(int(powercut.NumPolicies)))
			image := filepath.Join(dir, "image")
			spacetest.Must(t, os.RemoveAll(image))
			spacetest.Must(t, os.Mkdir(image, 0o700))
			spacetest.Must(t, e.disk.Image(image, "heap", moment, policy, r))
			if err := e.verify(image, moment); err != nil {
				t.Fatalf("after a cut at %d, policy %d: %v", moment, policy, err)
			}
			total++
		}
		if e.seen[0] == 0 || e.seen[1] == 0 {
			t.Errorf("%d images with the old types, %d with the new ones: that tests nothing", e.seen[0], e.seen[1])
		}
	})
	t.Logf("%d images", total)
}
