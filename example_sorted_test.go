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

// Visit is the key of a log: first the page, then the time.
type Visit struct {
	Page string
	At   time.Time
}

func ExampleSorted() {
	dir, err := os.MkdirTemp("", "everheap")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(filepath.Join(dir, "site"))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	visits, err := everheap.OpenSorted[Visit, string](space, "visits")
	if err != nil {
		log.Fatal(err)
	}
	day := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	err = space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i, who := range []string{"ann", "bob", "cid", "dot", "eve"} {
			page := []string{"/home", "/news"}[i%2]
			if err := visits.Set(tx, Visit{page, day.Add(time.Duration(i) * time.Hour)}, who); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = space.View(func(tx *everheap.Tx) error {
		from := everheap.Including(Visit{"/home", day.Add(time.Hour)})
		to := everheap.Excluding(Visit{Page: "/home\x00"})
		for v, who := range visits.Range(tx, from, to) {
			fmt.Println(v.At.Format("15:04"), *who)
		}
		last, who, _ := visits.Last(tx)
		fmt.Println("last of", last.Page, "was", *who, "of", visits.Rank(tx, last)+1)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 02:00 cid
	// 04:00 eve
	// last of /news was dot of 5
}
