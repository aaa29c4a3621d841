//go:build linux

// Command forum is a forum in the manner of Slashdot, straight from memory: several processes
// serve one port, and share one space.
//
//	go run ./examples/forum            fills the space at first, then prints the address
//	go run ./examples/forum day        plays a day against it: 1,110,000 requests
//
// The package model is the one to read. README.md has a picture of it, and measurements.
package main

import (
	"os"

	"github.com/everheap/everheap/examples/forum/command"
	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/seed"
)

func main() {
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr, command.Store{Name: "everheap", Text: "memory, by Everheap",
		Open: func(path string) (seed.Store, error) { return model.Open(path) }}))
}
