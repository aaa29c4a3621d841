package everheap_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/everheap/everheap"
)

// A program that has no Go type for what it stores gives the type as text.
func ExampleSpace_Create() {
	dir, err := os.MkdirTemp("", "everheap")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := everheap.Open(filepath.Join(dir, "cities"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	cities, err := s.Create("cities", `sorted[string]City

		type City struct {
			Country string
			People  int
		}`)
	if err != nil {
		log.Fatal(err)
	}
	in := cities.As(everheap.JSON)
	for name, city := range map[string]string{
		`"Oslo"`:   `{"Country": "Norway", "People": 717710}`,
		`"Oulu"`:   `{"Country": "Finland", "People": 216152}`,
		`"Bergen"`: `{"Country": "Norway", "People": 291940}`,
	} {
		if err := in.Set(s, []byte(name), []byte(city)); err != nil {
			log.Fatal(err)
		}
	}
	err = s.View(func(tx *everheap.Tx) error {
		for name, city := range in.Prefix(tx, "O") {
			fmt.Printf("%s %s\n", name, city)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// "Oslo" {"Country":"Norway","People":717710}
	// "Oulu" {"Country":"Finland","People":216152}
}
