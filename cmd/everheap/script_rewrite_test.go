package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/everheap/everheap"
)

// sparse SPACE fills a map of a space, and deletes most of it again.
func sparse(args []string) (err error) {
	s, err := everheap.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := everheap.OpenMap[int, string](s, "sparse")
	for i := 0; i < 5000 && err == nil; i++ {
		err = m.Set(s, i, strings.Repeat("x", 300))
	}
	for i := 0; i < 5000 && err == nil; i++ {
		if i%100 != 0 {
			_, err = m.Delete(s, i)
		}
	}
	return err
}

// both SPACE SPACE opens two spaces at once, and compares a map in them.
func both(args []string) error {
	words := map[string]string{"hello": "bonjour", "world": "monde", "two words": "deux mots"}
	for _, name := range args {
		s, err := everheap.Open(name)
		if err != nil {
			return err
		}
		defer s.Close()
		m, err := everheap.OpenMap[string, string](s, "words")
		if err != nil {
			return err
		}
		for k, v := range words {
			if got, err := m.Get(s, k); err != nil || got != v {
				return fmt.Errorf("%s: %q is %q, %w", name, k, got, err)
			}
		}
	}
	return nil
}
