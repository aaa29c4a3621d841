package day

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/site"
)

// killer kills servers at random, by the button of the page /ops.
type killer struct {
	client *client
	rng    *rand.Rand
	was    map[int]bool
	killed int
	err    error
}

func newKiller(address string) killer {
	return killer{client: &client{address: address}, rng: rand.New(rand.NewPCG(7, 7)), was: map[int]bool{}}
}

// run kills one now and then, and at least one, until stop is closed.
func (k *killer) run(stop chan struct{}) {
	defer k.client.close()
	for k.err == nil {
		k.err = k.kill()
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+k.rng.IntN(200)) * time.Millisecond):
		}
	}
}

// kill kills one that it has not killed yet, if there are two: requests are to be answered
// the second time.
func (k *killer) kill() error {
	a, err := k.client.get("/ops.json")
	if err != nil {
		return err
	}
	var ops site.Ops
	if err := json.Unmarshal(a.body, &ops); err != nil {
		return err
	}
	var alive []page.Server
	for _, s := range ops.Servers {
		if !k.was[s.PID] {
			alive = append(alive, s)
		}
	}
	if len(alive) < 2 {
		return nil
	}
	victim := alive[k.rng.IntN(len(alive))].PID
	a, err = k.client.post("/ops/kill", url.Values{"pid": {strconv.Itoa(victim)}})
	if err != nil {
		return err
	}
	if a.status != http.StatusSeeOther {
		return fmt.Errorf("killing %d: status %d", victim, a.status)
	}
	k.was[victim] = true
	k.killed++
	return nil
}
