package power

import (
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// cutSorted is the sorted map of a cutRun. In the model its entries are "sorted/key".
type cutSorted struct {
	m everheap.Sorted[string, string]
}

// sortedKeys is the maximum number of keys of the map: enough for branches.
const sortedKeys = 400

// open opens the map; creating it makes a version.
func (o *cutSorted) open(c *cutRun) {
	c.t.Helper()
	var err error
	c.begin()
	o.m, err = everheap.OpenSorted[string, string](c.space, "sorted")
	spacetest.Must(c.t, err)
	c.committed()
}

// single is one change in a transaction of its own.
func (o *cutSorted) single(c *cutRun) error {
	c.begin()
	changes, err := o.change(c, c.space, 1)
	if err == nil {
		for _, ch := range changes {
			c.model.set(ch.key, ch.value)
		}
		c.committed()
	}
	return err
}

// change sets or deletes up to most consecutive keys, and returns the differences.
func (o *cutSorted) change(c *cutRun, sc everheap.Scope, most int) (changes []change, err error) {
	first, remove := c.r.IntN(sortedKeys), c.r.IntN(3) == 0
	for i := range 1 + c.r.IntN(most) {
		key, value := spacetest.SortedKey(first+i), ""
		if remove {
			_, err = o.m.Delete(sc, key)
		} else {
			value = c.value()
			err = o.m.Set(sc, key, value)
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{"sorted/" + key, value})
	}
	return changes, nil
}

// readSorted calls add with the entries of the sorted map, if it exists; it leaves out entries that
// are out of order.
func readSorted(tx *everheap.Tx, add func(key, value string)) error {
	m, err := everheap.OpenSorted[string, string](tx, "sorted")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	i := 0
	for k, v := range m.All(tx) {
		if m.Rank(tx, k) == i {
			add("sorted/"+k, *v)
		}
		i++
	}
	return nil
}
