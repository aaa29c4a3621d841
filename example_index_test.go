package everheap_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/everheap/everheap"
)

// Account has two indexes by its tags: no two accounts have the same address.
type Account struct {
	Email string `everheap:"unique"`
	City  string `everheap:"index"`
}

func ExampleIndexOf() {
	dir, err := os.MkdirTemp("", "everheap")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	space, err := everheap.Open(filepath.Join(dir, "shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer space.Close()
	accounts, err := everheap.OpenMap[int, Account](space, "accounts")
	if err != nil {
		log.Fatal(err)
	}
	err = space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i, city := range []string{"Oslo", "Bonn", "Rome", "Oslo", "Riga", "Bonn"} {
			if err := accounts.Set(tx, i, Account{fmt.Sprintf("user%d@example.org", i), city}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(accounts.Set(space, 7, Account{Email: "user2@example.org"}))

	byEmail := everheap.IndexOf[Account, string](accounts, "Email")
	byCity := everheap.IndexOf[Account, string](accounts, "City")
	err = space.View(func(tx *everheap.Tx) error {
		id, account := byEmail.Peek(tx, "user4@example.org")
		fmt.Println(id, account.City)
		// Two ranges, one after the other: first Bonn, then all cities with an R, in order.
		for id, account := range byCity.Each(tx, "Bonn") {
			fmt.Println(account.City, id)
		}
		for id, account := range byCity.Prefix(tx, "R") {
			fmt.Println(account.City, id)
		}
		fmt.Println(byCity.Count(tx, everheap.Including("Oslo"), everheap.Unbounded[string]()))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// everheap: set (shop): the key 7 cannot have "user2@example.org" in Email, which is unique (index Email): the key 2 has it
	// 4 Riga
	// Bonn 1
	// Bonn 5
	// Riga 4
	// Rome 2
	// 4
}
