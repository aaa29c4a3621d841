package power

import (
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// cutLoose has the unreferenced objects of a cutRun: a list has their IDs, as numbers. They exist
// until they are collected. In the model they are "loose/ID".
type cutLoose struct{ ids everheap.List[everheap.ID] }

// mostLoose is the maximum number of loose objects, so that one transaction collects them all.
const mostLoose = 40

// open opens the list; creating it makes a version.
func (l *cutLoose) open(c *cutRun) {
	c.t.Helper()
	var err error
	c.begin()
	l.ids, err = everheap.OpenList[everheap.ID](c.space, "loose")
	spacetest.Must(c.t, err)
	c.committed()
}

// keys returns the keys of the loose objects in the model.
func (l *cutLoose) keys(c *cutRun) (list []string) {
	for key := range c.model.contents {
		if strings.HasPrefix(key, "loose/") {
			list = append(list, key)
		}
	}
	return list
}

// single makes a loose object, or collects all of them.
func (l *cutLoose) single(c *cutRun) error {
	c.begin()
	if there := l.keys(c); c.r.IntN(4) == 0 || len(there) > mostLoose {
		_, err := c.space.Collect(context.Background())
		if err == nil {
			for _, key := range there {
				c.model.set(key, "")
			}
			c.committed()
		}
		return err
	}
	var made change
	err := c.space.Update(context.Background(), func(tx *everheap.Tx) (err error) {
		made, err = l.make(c, tx)
		return err
	})
	if err == nil {
		c.model.set(made.key, made.value)
		c.committed()
	}
	return err
}

// make makes a value, or a map, a few of which are large.
func (l *cutLoose) make(c *cutRun, tx *everheap.Tx) (made change, err error) {
	var id everheap.ID
	value := c.value()
	if c.r.IntN(3) > 0 {
		var r everheap.Ref[string]
		r, err = everheap.New(tx, value)
		id = r.ID()
	} else {
		n := c.r.IntN(10)
		if c.r.IntN(6) == 0 {
			n = 400
		}
		value = fmt.Sprint(n, " entries")
		var m everheap.Map[int, string]
		m, err = everheap.NewMap[int, string](tx)
		for i := 0; i < n && err == nil; i++ {
			err = m.Set(tx, i, "entry")
		}
		id = m.ID()
	}
	if err == nil {
		err = l.ids.Append(tx, id)
	}
	return change{fmt.Sprint("loose/", id), value}, err
}

// readLoose calls add with the existing loose objects.
func readLoose(tx *everheap.Tx, add func(key, value string)) error {
	ids, err := everheap.OpenList[everheap.ID](tx, "loose")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range ids.All(tx) {
		id, key := *p, fmt.Sprint("loose/", *p)
		v, err := (*(*everheap.Ref[string])(unsafe.Pointer(&id))).Get(tx) // a reference is an ID
		if err == nil {
			add(key, v)
			continue
		}
		if n, lenErr := (*(*everheap.Map[int, string])(unsafe.Pointer(&id))).Len(tx); lenErr == nil {
			add(key, fmt.Sprint(n, " entries"))
		} else if !spacetest.IsNotFound(lenErr) {
			return lenErr
		}
	}
	return nil
}
