package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
)

var textType = layout.IdentityOf[string]()

// logModel is a space with an object of each kind, and the contents that they should have.
type logModel struct {
	sp    *Space
	r     *rand.Rand
	maps  [2]edit.MapOf // a plain one, and a sorted one
	list  edit.ListOf
	value edit.RefOf
	now   logContents
	lent  []lentText // borrowed in the transaction
}

// logContents is the contents of the objects.
type logContents struct {
	maps  [2]map[string]string
	list  []string
	value string
}

// lentText is a text that was borrowed, and its bytes at that time.
type lentText struct {
	p    *string
	want string
	what string
}

// clone returns a copy that later changes do not affect.
func (c *logContents) clone() logContents {
	return logContents{[2]map[string]string{maps.Clone(c.maps[0]), maps.Clone(c.maps[1])}, slices.Clone(c.list), c.value}
}

// text makes a value, sometimes a large one or one with an extent of its own.
func (m *logModel) text() string {
	n := m.r.IntN(40)
	switch m.r.IntN(400) {
	case 0:
		n = 70_000
	case 1, 2, 3:
		n = 5000
	}
	return strings.Repeat(string(rune('a'+m.r.IntN(26))), n) + fmt.Sprint(m.r.Uint32())
}

// borrowed remembers a text that must stay as it is until the transaction ends.
func (m *logModel) borrowed(p unsafe.Pointer, want, what string) {
	if p == nil {
		m.lent = append(m.lent, lentText{nil, want, what + ", which is not there"})
	} else {
		m.lent = append(m.lent, lentText{(*string)(p), want, what})
	}
}

// step changes or reads something.
func (m *logModel) step(tx *Tx) error {
	k, key, text := m.r.IntN(2), fmt.Sprintf("key %d", m.r.IntN(25)), m.text()
	of, model := m.maps[k], m.now.maps[k]
	switch m.r.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		model[key] = text
		return tx.Set(of, unsafe.Pointer(&key), unsafe.Pointer(&text))
	case 6, 7, 8, 9, 10, 11:
		_, was := model[key]
		delete(model, key)
		there, err := tx.Delete(of, unsafe.Pointer(&key))
		if err == nil && there != was {
			err = fmt.Errorf("%s is there: %t", key, there)
		}
		return err
	case 12:
		if want, ok := model[key]; ok {
			p, err := tx.Peek(of, unsafe.Pointer(&key))
			m.borrowed(p, want, "an entry")
			return err
		}
	case 13:
		if n := len(m.now.maps[1]); n > 0 {
			var got string
			p, err := tx.Nth(m.maps[1], m.r.IntN(n), m.r.IntN(2) == 0, unsafe.Pointer(&got))
			m.borrowed(p, m.now.maps[1][strings.Clone(got)], "an entry by its rank")
			return err
		}
	case 14, 15:
		m.now.list = append(m.now.list, text)
		return tx.Append(m.list, unsafe.Pointer(&text), 1)
	case 16, 17:
		if n := len(m.now.list); n > 0 {
			i := m.r.IntN(n)
			m.now.list[i] = text
			return tx.WriteItem(m.list, i, unsafe.Pointer(&text))
		}
	case 18:
		n := max(len(m.now.list)-m.r.IntN(5), 0)
		m.now.list = m.now.list[:n]
		return tx.Truncate(m.list, n)
	case 19:
		if n := len(m.now.list); n > 0 {
			i := m.r.IntN(n)
			p, err := tx.PeekItem(m.list, i)
			m.borrowed(p, m.now.list[i], "an element")
			return err
		}
	case 20, 21:
		m.now.value = text
		return tx.WriteValue(m.value, unsafe.Pointer(&text))
	case 22:
		m.borrowed(tx.PeekValue(m.value.ID, (*string)(nil)), m.now.value, "a value")
	case 23:
		if m.r.IntN(30) == 0 {
			return m.walk(tx)
		}
	}
	return nil
}

// walk compares everything with the model during a walk that changes it, or in a snapshot after
// that.
func (m *logModel) walk(tx *Tx) error {
	want := m.now.clone()
	if m.r.IntN(3) == 0 {
		snapshot := tx.snapshot()
		defer snapshot.EndView()
		for range m.r.IntN(50) {
			if err := m.step(tx); err != nil {
				return err
			}
		}
		return m.compare(snapshot, want)
	}
	k := m.r.IntN(2)
	var key string
	got := map[string]string{}
	var failed error
	err := tx.Entries(m.maps[k], func() unsafe.Pointer { key = ""; return unsafe.Pointer(&key) }, func(v unsafe.Pointer) bool {
		got[strings.Clone(key)] = strings.Clone(*(*string)(v))
		m.borrowed(v, want.maps[k][key], "an entry of a walk")
		for range m.r.IntN(3) {
			if failed = m.step(tx); failed != nil {
				return false
			}
		}
		return true
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if !maps.Equal(got, want.maps[k]) {
		return fmt.Errorf("a walk over %d entries met %d others", len(want.maps[k]), len(got))
	}
	return nil
}

// compare compares what a transaction sees with the model.
func (m *logModel) compare(tx *Tx, want logContents) error {
	for k, of := range m.maps {
		var key string
		got := map[string]string{}
		err := tx.Entries(of, func() unsafe.Pointer { key = ""; return unsafe.Pointer(&key) }, func(v unsafe.Pointer) bool {
			got[strings.Clone(key)] = strings.Clone(*(*string)(v))
			return true
		})
		if err != nil {
			return err
		}
		if !maps.Equal(got, want.maps[k]) {
			return fmt.Errorf("map %d has %d entries, and not the %d of the model", k, len(got), len(want.maps[k]))
		}
	}
	var list []string
	err := tx.Items(m.list, false, func(_ int, v unsafe.Pointer) bool {
		list = append(list, strings.Clone(*(*string)(v)))
		return true
	})
	if err != nil {
		return err
	}
	if !slices.Equal(list, want.list) {
		return fmt.Errorf("the list has %d elements, and not the %d of the model", len(list), len(want.list))
	}
	var value string
	if err := tx.ReadValue(m.value, unsafe.Pointer(&value)); err != nil {
		return err
	}
	if value != want.value {
		return fmt.Errorf("the value is %.20s, not %.20s", value, want.value)
	}
	return nil
}

// change makes a transaction of many steps, which may abort.
func (m *logModel) change() error {
	before, aborted := m.now.clone(), errors.New("aborted")
	m.lent = m.lent[:0]
	abort, unlist := m.r.IntN(6) == 0, m.r.IntN(6) == 0
	err := m.sp.Change(false, func(tx *Tx) error {
		steps := []int{2, 30, 500, 6000}[m.r.IntN(4)]
		for i := range steps {
			if unlist && i == steps/2 {
				tx.Write.Unlist()
			}
			if err := m.step(tx); err != nil {
				return err
			}
		}
		for _, l := range m.lent {
			if l.p == nil || *l.p != l.want {
				return fmt.Errorf("%s has changed after it was borrowed", l.what)
			}
		}
		if err := m.compare(tx, m.now); err != nil {
			return err
		}
		if abort {
			return aborted
		}
		return nil
	})
	if err == aborted {
		m.now = before
		return nil
	}
	return err
}

// Stores, removals, borrows and walks in a transaction agree with the model, in the transaction,
// after it, and after a loss of power.
func TestLog_Model(t *testing.T) {
	for seed := range uint64(4) {
		m := &logModel{r: rand.New(rand.NewPCG(seed, 1)), now: logContents{maps: [2]map[string]string{{}, {}}}}
		dir := filepath.Join(t.TempDir(), "s")
		o := Options{MaxSize: 1 << 30, Manual: true, Files: withoutSync, Verify: seed%2 == 0, NoJournal: seed == 5}
		if seed%3 == 0 {
			o.HashBits = 4
		}
		sp, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		m.sp = sp
		for k := range m.maps {
			m.maps[k] = edit.MapOf{Key: textType, Value: textType, Sorted: k == 1}
			if m.maps[k].ID, err = sp.OpenMap(fmt.Sprint("map ", k), m.maps[k]); err != nil {
				t.Fatal(err)
			}
		}
		m.list.Value, m.value.Value = textType, textType
		if m.list.ID, err = sp.OpenList("list", textType); err != nil {
			t.Fatal(err)
		}
		if m.value.ID, err = sp.OpenValue("value", textType, unsafe.Pointer(&m.now.value)); err != nil {
			t.Fatal(err)
		}
		for round := range 9 {
			if err := m.change(); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			if m.r.IntN(3) == 0 && !o.NoJournal {
				m.sp = recovered(t, dir, m.sp)
			}
			tx, err := m.sp.View()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.compare(tx, m.now); err != nil {
				t.Fatalf("seed %d, after round %d: %v", seed, round, err)
			}
			tx.EndView()
		}
		verify(t, m.sp)
	}
}
