package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/everheap/everheap"
)

// keysCmd prints the keys of a map, or the indexes of a list.
type keysCmd struct {
	mapArg
	Prefix   string `help:"Print only keys that start with TEXT." placeholder:"TEXT"`
	Limit    int    `help:"Print at most N keys." placeholder:"N"`
	Unsorted bool   `help:"Print keys as they are found: at once, and with little memory."`
	JSON     bool   `name:"json" help:"Print JSON, even if the keys are strings."`
	At       string `help:"Read the version of this checkpoint." placeholder:"CHECKPOINT"`
}

// Run implements the verb.
func (c *keysCmd) Run(std *streams) error {
	return c.readAt(std, c.At, func(tx *everheap.Tx) error {
		m, err := collection(tx, c.Map)
		if err != nil {
			return err
		}
		if m.Kind() == singleValue {
			return fmt.Errorf("%s is a single value: it has no keys; everheap get %s%s %s prints it", c.Map, atFlag(c.At), c.Space, c.Map)
		}
		w := bufio.NewWriter(std.out)
		err = c.print(tx, m, w)
		return errors.Join(err, w.Flush())
	})
}

// print prints the selected keys.
func (c *keysCmd) print(tx *everheap.Tx, m *everheap.Collection, w *bufio.Writer) error {
	var sorted []string
	printed := 0
	put := func(key string) (more bool, err error) {
		if c.Limit > 0 && printed == c.Limit {
			return false, nil
		}
		printed++
		_, err = fmt.Fprintln(w, key)
		return err == nil, err
	}
	for b := range m.KeysJSON(tx) {
		key := keyText(m, b, c.JSON)
		if !strings.HasPrefix(key, c.Prefix) {
			continue
		}
		if !c.Unsorted && !m.Ordered() {
			sorted = append(sorted, key)
		} else if more, err := put(key); !more {
			return err
		}
	}
	slices.Sort(sorted)
	for _, key := range sorted {
		if more, err := put(key); !more {
			return err
		}
	}
	return nil
}
