package main

import (
	"fmt"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/registry"
)

// forgetCmd takes a name out of the registry.
type forgetCmd struct {
	Names []string `arg:"" name:"name" help:"Registered names."`
}

// Run implements the verb. Names are forgotten in their order, up to one that cannot be.
func (c *forgetCmd) Run(std *streams) error {
	reg := registry.Open("")
	for _, name := range c.Names {
		entry, found, err := reg.Lookup(name)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("there is no registered space %q; %s", name, known(reg))
		}
		left := "; no space is there"
		if info, err := everheap.Describe(entry.Dir); err == nil {
			left = "; its files were not touched"
			if info.Open {
				left += ", and processes go on using them"
			}
		}
		if err := reg.Remove(name); err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%s is no longer the name of %s%s\n", name, entry.Dir, left)
	}
	return nil
}
