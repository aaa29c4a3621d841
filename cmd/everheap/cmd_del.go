package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/everheap/everheap"
)

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
