package everheap_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/everheap/everheap"
)

// A program keeps something of its own up to date with a map that others change.
func ExampleMap_Watch() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(filepath.Join(dir, "shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	stock, err := everheap.OpenMap[string, int](space, "stock")
	if err != nil {
		log.Fatal(err)
	}
	if err := stock.Set(space, "tea", 3); err != nil {
		log.Fatal(err)
	}

	for change, err := range stock.Watch(context.Background(), space, everheap.WithInitial()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(change.Kind(), change.Key, *change.New)
		if *change.New == 0 {
			break
		}
		// This could be another process.
		if err := stock.Set(space, "tea", *change.New-1); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// added tea 3
	// updated tea 2
	// updated tea 1
	// updated tea 0
}
