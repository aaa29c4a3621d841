//go:build unix

package spacetest

import (
	"fmt"
	"strings"

	"github.com/everheap/everheap"
)

// The holder keeps a View open, and compares its contents when the parent asks.
func init() { Children["holder"] = holderChild }

func holderChild() int {
	c := NewInChild()
	s, err := c.Open()
	if err != nil {
		return Failed("open", err)
	}
	m, err := everheap.OpenMap[uint64, Record](s, "m")
	if err != nil {
		return Failed("open", err)
	}
	err = s.View(func(tx *everheap.Tx) error {
		digest := func() (n, sum uint64, err error) {
			for key, v := range m.All(tx) {
				if v.Sum != v.Checksum() {
					return 0, 0, fmt.Errorf("the record %d is damaged", key)
				}
				n, sum = n+1, sum+key*v.Seq
			}
			return n, sum, nil
		}
		n, sum, err := digest()
		if err != nil {
			return err
		}
		Say("holding", n)
		for range c.Asked {
			if n2, sum2, err := digest(); err != nil || n2 != n || sum2 != sum {
				return fmt.Errorf("what one View sees has changed: %d entries with %d, then %d with %d (%v)", n, sum, n2, sum2, err)
			}
			Say("same")
			if c.Ended.Load() {
				break
			}
		}
		return nil
	})
	if err != nil {
		return Failed("view", err)
	}
	return 0
}

// An unflushed child commits without writing anything to the disk, and waits to be killed.
func init() { Children["unflushed"] = unflushedChild }

func unflushedChild() int {
	c := NewInChild()
	s, err := c.Open(WithoutBackground())
	if err != nil {
		return Failed("open", err)
	}
	m, err := everheap.OpenMap[int, string](s, "m")
	for i := 0; i < 1000 && err == nil; i++ {
		err = m.Set(s, i, strings.Repeat(fmt.Sprint(i), i%50))
	}
	if err != nil {
		return Failed("set", err)
	}
	n, err := m.Len(s)
	if err != nil {
		return Failed("len", err)
	}
	Say("committed", n)
	select {}
}
