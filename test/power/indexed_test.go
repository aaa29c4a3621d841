package power

import (
	"errors"
	"fmt"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// cutIndexed is a map with indexes of a cutRun. In the model its entries are "indexed/key", with the
// serial as value; the other fields follow from it.
type cutIndexed struct {
	m everheap.Map[string, cutPart]
}

// cutPart has a unique index, one on two fields, and one on the elements of a slice.
type cutPart struct {
	Serial string `everheap:"unique"`
	Shelf  string `everheap:"index=Shelf,Bin"`
	Bin    int16
	Marks  []string `everheap:"index"`
}

const (
	indexedKeys    = 120
	indexedSerials = 300
	indexedOpening = 20 // maximum number of versions that the first open of the map makes
)

// makePart makes the value with a serial.
func makePart(serial string) cutPart {
	n := 0
	for _, c := range serial {
		n = n*7 + int(c)
	}
	p := cutPart{Serial: serial, Shelf: fmt.Sprint("shelf", n%9), Bin: int16(n%5 - 2)}
	for i := range n % 4 {
		p.Marks = append(p.Marks, fmt.Sprint("mark", (n+i*i)%13))
	}
	return p
}

// open opens the map; creating it makes several versions.
func (o *cutIndexed) open(c *cutRun) {
	c.t.Helper()
	var err error
	c.begin()
	c.model.begun[len(c.model.begun)-1].version += indexedOpening
	o.m, err = everheap.OpenMap[string, cutPart](c.space, "indexed")
	spacetest.Must(c.t, err)
	c.committed()
}

// single is one change in a transaction of its own.
func (o *cutIndexed) single(c *cutRun) error {
	c.begin()
	changes, err := o.change(c, c.space, 1)
	if err == nil && len(changes) > 0 {
		for _, ch := range changes {
			c.model.set(ch.key, ch.value)
		}
		c.committed()
	}
	return err
}

// change sets or deletes some keys, up to most, and returns the differences. A serial that another
// key has changes nothing.
func (o *cutIndexed) change(c *cutRun, sc everheap.Scope, most int) (changes []change, err error) {
	for range 1 + c.r.IntN(most) {
		key, serial := fmt.Sprint("k", c.r.IntN(indexedKeys)), ""
		if c.r.IntN(3) == 0 {
			_, err = o.m.Delete(sc, key)
		} else {
			serial = fmt.Sprint("serial", c.r.IntN(indexedSerials))
			err = o.m.Set(sc, key, makePart(serial))
		}
		if errors.Is(err, everheap.ErrDuplicate) {
			err = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{"indexed/" + key, serial})
	}
	return changes, nil
}

// readIndexed calls add with the entries of the indexed map, if it exists, and returns an error if an
// index disagrees with them.
func readIndexed(tx *everheap.Tx, add func(key, value string)) error {
	m, err := everheap.OpenMap[string, cutPart](tx, "indexed")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []string
	list, err := tx.Collections()
	for _, info := range list {
		if info.Name != "indexed" {
			continue
		}
		for _, i := range info.Indexes {
			names = append(names, i.Name)
		}
	}
	if err != nil {
		return err
	}
	serials := everheap.IndexOf[cutPart, string](m, "Serial")
	shelves := everheap.IndexOf[cutPart, struct {
		Shelf string
		Bin   int16
	}](m, "Shelf,Bin")
	marked := everheap.IndexOf[cutPart, string](m, "Marks")
	n, marks := 0, 0
	for k, v := range m.All(tx) {
		add("indexed/"+k, v.Serial)
		if want := makePart(v.Serial); fmt.Sprint(want) != fmt.Sprint(*v) {
			return fmt.Errorf("the entry %s is %v, not %v", k, *v, want)
		}
		n++
		seen := map[string]bool{}
		for _, mark := range v.Marks {
			seen[mark] = true
		}
		marks += len(seen)
	}
	if len(names) == 0 && n == 0 { // power was lost when the map existed without its indexes
		return nil
	}
	if got := strings.Join(names, " "); got != "Marks Serial Shelf,Bin" {
		return fmt.Errorf("of %d entries there are the indexes %s", n, got)
	}
	if a, b, c := serials.Len(tx), shelves.Len(tx), marked.Len(tx); a != n || b != n || c != marks {
		return fmt.Errorf("of %d entries with %d marks %d, %d and %d are in the indexes", n, marks, a, b, c)
	}
	for f, k := range serials.Values(tx, everheap.Unbounded[string](), everheap.Unbounded[string]()) {
		if v := m.Peek(tx, k); v == nil || v.Serial != f {
			return fmt.Errorf("the index says that %s has the serial %s: %v", k, f, v)
		}
	}
	for mark, k := range marked.Values(tx, everheap.Unbounded[string](), everheap.Unbounded[string]()) {
		if v := m.Peek(tx, k); v == nil || !strings.Contains(fmt.Sprint(v.Marks), mark) {
			return fmt.Errorf("the index says that %s has the mark %s: %v", k, mark, v)
		}
	}
	for k, v := range shelves.All(tx) {
		if m.Peek(tx, k) != v {
			return fmt.Errorf("the index on shelves finds another entry of %s", k)
		}
	}
	return nil
}
