package everheap_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/everheap/everheap"
)

// A program without a Go type for its values gives the type as text.
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

// A program opens a map whose values had another type in its former version.
func ExampleEvolve() {
	dir, err := os.MkdirTemp("", "everheap-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := everheap.Open(filepath.Join(dir, "forum"))
	if err != nil {
		panic(err)
	}
	defer s.Close()
	{
		type User struct {
			Name  string
			Posts int32
			Karma float32
		}
		users, err := everheap.OpenMap[string, User](s, "users")
		if err != nil {
			panic(err)
		}
		if err := users.Set(s, "ada", User{"Ada", 3, 0.5}); err != nil {
			panic(err)
		}
	}

	type User struct {
		FullName string `everheap:"was=Name"`
		Posts    int64
		Mail     string
	}
	_, err = everheap.OpenMap[string, User](s, "users")
	fmt.Println(err)

	users, err := everheap.OpenMap[string, User](s, "users", everheap.Evolve())
	if err != nil {
		panic(err)
	}
	ada, err := users.Get(s, "ada")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%+v\n", ada)
	// Output:
	// everheap: opening the map users (forum): users is stored with another type:
	//   stored:  map of string to everheap_test.User
	//   program: map of string to everheap_test.User
	// values:
	// ~ Name -> FullName      Evolve renames it
	// ~ Posts int32 -> int64  Evolve widens it
	// - Karma float32         Evolve drops it
	// + Mail string           Evolve sets it to zero
	// open it with the option Evolve to accept that
	// {FullName:Ada Posts:3 Mail:}
}

// What a type means can change in ways that only the program knows.
func ExampleMigrate() {
	dir, err := os.MkdirTemp("", "everheap-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := everheap.Open(filepath.Join(dir, "shop"))
	if err != nil {
		panic(err)
	}
	defer s.Close()

	type oldPrice string // such as "12.50"
	type price struct{ Cents int }
	type oldItem struct {
		Name   string
		Prices []oldPrice
	}
	type item struct {
		Name   string
		Prices []price
	}
	old, err := everheap.OpenMap[int, oldItem](s, "items")
	if err != nil {
		panic(err)
	}
	if err := old.Set(s, 1, oldItem{"tea", []oldPrice{"2.20", "12.50"}}); err != nil {
		panic(err)
	}

	items, err := everheap.OpenMap[int, item](s, "items", everheap.Evolve(), everheap.Migrate(func(p oldPrice) (price, error) {
		cents, err := strconv.Atoi(strings.Replace(string(p), ".", "", 1))
		return price{cents}, err
	}))
	if err != nil {
		panic(err)
	}
	tea, err := items.Get(s, 1)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%+v\n", tea)
	// Output: {Name:tea Prices:[{Cents:220} {Cents:1250}]}
}
