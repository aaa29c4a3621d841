package everheap_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/everheap/everheap"
)

// Login has the time at which its entry expires.
type Login struct {
	User  string
	Until time.Time `everheap:"expires"`
}

func ExampleWithTTL() {
	dir, err := os.MkdirTemp("", "everheap")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(filepath.Join(dir, "web"))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()

	// By a tag: each value has its time.
	logins, err := everheap.OpenMap[string, Login](space, "logins")
	if err != nil {
		log.Fatal(err)
	}
	now := time.Now()
	for token, l := range map[string]Login{
		"t1": {"ada", now.Add(time.Hour)},
		"t2": {"bob", now.Add(-time.Hour)}, // over already
		"t3": {"eve", time.Time{}},         // never ends
	} {
		if err := logins.Set(space, token, l); err != nil {
			log.Fatal(err)
		}
	}
	for _, token := range []string{"t1", "t2", "t3"} {
		has, err := logins.Has(space, token)
		fmt.Println(token, has, err)
	}
	n, err := logins.Len(space)
	fmt.Println(n, err)

	// By a time to live: after the last change.
	pages, err := everheap.OpenMap[string, string](space, "pages", everheap.WithTTL(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	if err := pages.Set(space, "/", "<html>"); err != nil {
		log.Fatal(err)
	}
	for change, err := range pages.Watch(context.Background(), space, everheap.WithInitial()) {
		if err != nil {
			log.Fatal(err)
		}
		if fmt.Println(change.Key, change.Kind()); change.Kind() == everheap.Removed {
			break
		}
	}
	// Output:
	// t1 true <nil>
	// t2 false <nil>
	// t3 true <nil>
	// 2 <nil>
	// / added
	// / removed
}
