package power

import (
	"context"
	"fmt"
	"strings"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// cutLists are the lists and values of a cutRun: a list of strings, and a list of
// references to strings. In the model they are "list/index" and "ref/index".
type cutLists struct {
	list everheap.List[string]
	refs everheap.List[everheap.Ref[string]]
}

// cutLengths are the lengths of the two lists.
type cutLengths struct{ list, refs int }

// lengths returns the lengths of the lists in the newest version.
func (m *cutModel) lengths() (n cutLengths) {
	for key := range m.contents {
		switch kind, _, _ := strings.Cut(key, "/"); kind {
		case "list":
			n.list++
		case "ref":
			n.refs++
		}
	}
	return n
}

// open opens the lists; creating a list makes a version.
func (l *cutLists) open(c *cutRun) {
	c.t.Helper()
	var err error
	c.begin()
	l.list, err = everheap.OpenList[string](c.space, "list")
	spacetest.Must(c.t, err)
	c.committed()
	c.begin()
	l.refs, err = everheap.OpenList[everheap.Ref[string]](c.space, "refs")
	spacetest.Must(c.t, err)
	c.committed()
}

// single is one change in a transaction of its own.
func (l *cutLists) single(c *cutRun) error {
	c.begin()
	lengths := c.model.lengths()
	changes, err := l.change(c, c.space, &lengths)
	if err == nil && len(changes) > 0 {
		for _, ch := range changes {
			c.model.set(ch.key, ch.value)
		}
		c.committed()
	}
	return err
}

// change does one random change, and returns the differences. An empty value means that the key is
// gone.
func (l *cutLists) change(c *cutRun, sc everheap.Scope, n *cutLengths) ([]change, error) {
	value := c.value()
	switch k := c.r.IntN(10); {
	case k < 3 || n.list == 0:
		more := make([]string, 1+c.r.IntN(3))
		var changes []change
		for i := range more {
			more[i] = c.value()
			changes = append(changes, change{fmt.Sprint("list/", n.list+i), more[i]})
		}
		n.list += len(more)
		return changes, l.list.Append(sc, more...)
	case k < 5:
		i := c.r.IntN(n.list)
		return []change{{fmt.Sprint("list/", i), value}}, l.list.Set(sc, i, value)
	case k == 5:
		n.list--
		return []change{{fmt.Sprint("list/", n.list), ""}}, spacetest.Second(l.list.Pop(sc))
	case k == 6:
		to := n.list - c.r.IntN(min(n.list, 6)+1)
		var changes []change
		for n.list > to {
			n.list--
			changes = append(changes, change{fmt.Sprint("list/", n.list), ""})
		}
		return changes, l.list.Truncate(sc, to)
	case k == 7 || n.refs == 0:
		n.refs++
		return []change{{fmt.Sprint("ref/", n.refs-1), value}}, l.newRef(c, sc, value)
	default:
		i := c.r.IntN(n.refs)
		ref, err := l.refs.Get(sc, i)
		if err == nil {
			err = ref.Set(sc, value)
		}
		return []change{{fmt.Sprint("ref/", i), value}}, err
	}
}

// newRef makes a value.
func (l *cutLists) newRef(c *cutRun, sc everheap.Scope, value string) error {
	create := func(tx *everheap.Tx) error {
		ref, err := everheap.New(tx, value)
		if err == nil {
			err = l.refs.Append(tx, ref)
		}
		if err == nil && c.r.IntN(3) == 0 { // set it in the transaction that made it
			err = ref.Set(tx, value)
		}
		return err
	}
	if tx, ok := sc.(*everheap.Tx); ok {
		return create(tx)
	}
	return c.space.Update(context.Background(), create)
}

// readLists calls add with the contents of the existing lists.
func readLists(tx *everheap.Tx, add func(key, value string)) error {
	list, err := everheap.OpenList[string](tx, "list")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, v := range list.All(tx) {
		add(fmt.Sprint("list/", i), *v)
	}
	refs, err := everheap.OpenList[everheap.Ref[string]](tx, "refs")
	if spacetest.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, r := range refs.All(tx) {
		add(fmt.Sprint("ref/", i), *r.Peek(tx))
	}
	return nil
}
