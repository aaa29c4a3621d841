package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/everheap/everheap"
)

// Words of a text are counted. The program dies in the middle, and is started again:
// no word is counted twice.
func ExampleResume() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(dir+"/texts", everheap.WithMaxSize(1<<30))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	counts, err := everheap.OpenMap[string, int](space, "counts")
	if err != nil {
		log.Fatal(err)
	}

	words := strings.Fields("to be or not to be that is the question")
	type progress struct{ Done int } // of the words
	program := func(dies int) error {
		return everheap.Resume(context.Background(), space, "counting", progress{}, func(p *progress, checkpoint func() error) error {
			fmt.Println("beginning with word", p.Done)
			for p.Done < len(words) {
				word := words[p.Done]
				err := counts.Upsert(space, word, func(n *int, _ bool) error { *n++; return nil })
				if err != nil {
					return err
				}
				p.Done++
				if p.Done == dies {
					return errors.New("killed")
				}
				if p.Done%4 == 0 {
					if err := checkpoint(); err != nil { // the counts and p
						return err
					}
				}
			}
			return nil
		})
	}
	if err := program(6); err == nil {
		log.Fatal("it has survived")
	}
	if err := program(0); err != nil {
		log.Fatal(err)
	}
	be, err := counts.Get(space, "be")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("be:", be)
	// Output:
	// beginning with word 0
	// beginning with word 4
	// be: 2
}
