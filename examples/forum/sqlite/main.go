//go:build linux

// Command sqlite is the forum over SQLite, to compare with: the same pages, the same servers,
// the same day; only what keeps the data is another. It needs cgo.
//
//	go run . -store sqlite       in examples/forum/sqlite
//	go run . -store everheap     the other one, by the same program
package main

import (
	"os"

	"github.com/everheap/everheap/examples/forum/command"
	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/sqlite/store"
)

func main() {
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr,
		command.Store{Name: "sqlite", Text: "SQLite", Open: func(path string) (seed.Store, error) { return store.Open(path) }},
		command.Store{Name: "everheap", Text: "memory, by Everheap", Open: func(path string) (seed.Store, error) { return model.Open(path) }}))
}
