package main

// The verbs that change entries: set and del.

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/everheap/everheap"
)

// setCmd stores a value.
type setCmd struct {
	mapArg
	Words []string `arg:"" name:"key-and-value" help:"Key, or index of a list, and the value as JSON; - reads the value from standard input. Missing fields are zero. Without a key, append the value to a list, or set the single value."`
	JSON  bool     `name:"json" help:"The key is JSON, even if the keys are strings."`
	Text  bool     `help:"The value is a string, not JSON."`
	Sync  bool     `help:"Return when the change is on disk."`
}

// Run implements the verb.
func (c *setCmd) Run(std *streams) error {
	value, err := c.value(std)
	if err != nil {
		return err
	}
	return c.with(func(s *everheap.Space) error {
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		return s.Update(context.Background(), func(tx *everheap.Tx) error {
			key, err := c.key(tx, m)
			if err != nil {
				return err
			}
			return m.SetJSON(tx, key, value)
		})
	}, durability(c.Sync))
}

// key returns the key as JSON. Without a key it returns the key of the end of a list, and nil for a
// single value.
func (c *setCmd) key(tx *everheap.Tx, m *everheap.Collection) ([]byte, error) {
	kind := m.Kind()
	switch {
	case len(c.Words) > 2:
		return nil, fmt.Errorf("give a key and a value, not %d words; quote arguments that have spaces", len(c.Words))
	case len(c.Words) == 2 && kind == singleValue:
		return nil, fmt.Errorf("%s is a single value: it has no keys; give the value alone", c.Map)
	case len(c.Words) == 2:
		return keyJSON(m, c.Words[0], c.JSON), nil
	case kind == singleValue:
		return nil, nil
	case kind == "list":
		n, err := m.Len(tx)
		return fmt.Append(nil, n), err
	}
	return nil, fmt.Errorf("%s is a %s: give a key and a value", c.Map, kind)
}

// value returns the value as JSON.
func (c *setCmd) value(s *streams) ([]byte, error) {
	last := c.Words[len(c.Words)-1]
	text := []byte(last)
	if last == "-" {
		var err error
		if text, err = io.ReadAll(s.in); err != nil {
			return nil, fmt.Errorf("reading the value from standard input: %w", err)
		}
	}
	if c.Text {
		return stringJSON(string(text)), nil
	}
	return text, nil
}

// durability returns the durability for --sync.
func durability(sync bool) everheap.Durability {
	if sync {
		return everheap.Durable
	}
	return everheap.Periodic
}

// delCmd deletes keys, all or none of them.
type delCmd struct {
	mapArg
	Key   []string `arg:"" help:"Keys; one transaction deletes them all."`
	JSON  bool     `name:"json" help:"KEY is JSON, even if the keys are strings."`
	Force bool     `help:"Ignore keys that do not exist."`
	Sync  bool     `help:"Return when the change is on disk."`
}

// Run implements the verb.
func (c *delCmd) Run() error {
	return c.with(func(s *everheap.Space) error {
		m, err := collection(s, c.Map)
		if err != nil {
			return err
		}
		var missing []string
		err = s.Update(context.Background(), func(tx *everheap.Tx) error {
			for _, key := range c.Key {
				removed, err := m.DeleteJSON(tx, keyJSON(m, key, c.JSON))
				if err != nil {
					return err
				}
				if !removed {
					missing = append(missing, key)
				}
			}
			if len(missing) > 0 && !c.Force {
				return fmt.Errorf("%s has no key %s; nothing was deleted (--force ignores missing keys)", c.Map, strings.Join(missing, ", "))
			}
			return nil
		})
		return err
	}, durability(c.Sync))
}
