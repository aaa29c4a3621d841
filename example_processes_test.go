package everheap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap"
)

// One of the processes that have the space open does the work. When it dies, another process repairs
// what it left, and continues.
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

// A program keeps its own state up to date with a map that other processes change.
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

// A program logs how long its transactions wait and take, with the adapter that follows.
func ExampleSpace_Trace() {
	space, err := everheap.Open("traced")
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	words, err := everheap.OpenMap[string, int](space, "words")
	if err != nil {
		log.Fatal(err)
	}

	level := slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{} // different each time
		}
		return a
	}}
	stop := space.Trace(logTo(slog.New(slog.NewTextHandler(os.Stdout, &level))))
	defer stop()

	_ = words.Set(space, "heap", 1)
	_ = space.Update(context.Background(), func(tx *everheap.Tx) error { return errors.New("not today") })
	// Output:
	// level=DEBUG msg="transaction begin" number=1
	// level=DEBUG msg="transaction turn" number=1
	// level=DEBUG msg="transaction written" number=1
	// level=DEBUG msg="transaction commit" number=1 changed=true
	// level=DEBUG msg="transaction begin" number=2
	// level=DEBUG msg="transaction turn" number=2
	// level=WARN msg="transaction fail" number=2 error="everheap: transaction (traced): its function has returned an error, or has panicked: nothing has changed"
}

// logTo returns a function for Space.Trace that logs failures as warnings, and other events at the
// debug level. It leaves out transactions of the library itself.
func logTo(log *slog.Logger) func(context.Context, everheap.TraceEvent) {
	return func(ctx context.Context, e everheap.TraceEvent) {
		if e.Background {
			return
		}
		level, attrs := slog.LevelDebug, []slog.Attr{slog.Uint64("number", e.Transaction), slog.Duration("took", e.Took)}
		switch e.Kind {
		case everheap.TraceFail:
			level, attrs = slog.LevelWarn, append(attrs, slog.Any("error", e.Err))
		case everheap.TraceCommit, everheap.TraceDurable:
			attrs = append(attrs, slog.Bool("changed", e.Changed))
		}
		log.LogAttrs(ctx, level, "transaction "+e.Kind.String(), attrs...)
	}
}
