package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/everheap/everheap"
)

// One of the processes that have the space open does the work; when it dies, the next
// one sees to what it left, and goes on.
func ExampleSpace_Mutex() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(dir+"/forum", everheap.WithMaxSize(1<<30))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()

	nightly := space.Mutex("nightly")
	switch err := nightly.Lock(context.Background()); {
	case errors.Is(err, everheap.ErrOwnerDied):
		fmt.Println("the one before died: clean up first")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("nobody else is here")
	if err := nightly.Unlock(); err != nil {
		log.Fatal(err)
	}
	// Output: nobody else is here
}
