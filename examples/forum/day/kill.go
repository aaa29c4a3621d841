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
	client  *client
	players []*player
	every   time.Duration
	rng     *rand.Rand
	was     map[int]bool
	killed  int
}

func newKiller(address string, players []*player, every time.Duration) *killer {
	return &killer{client: &client{address: address}, players: players, every: every, rng: rand.New(rand.NewPCG(7, 7)), was: map[int]bool{}}
}

// run kills one after the other until stop is closed.
func (k *killer) run(stop chan struct{}) error {
	defer k.client.close()
	for {
		if err := k.kill(); err != nil {
			return err
		}
		if !k.settle(stop) {
			return nil
		}
	}
}

// settle waits until each player has the answers of two more requests. So whatever request was
// lost by a kill has been answered before the next: none can be lost twice.
func (k *killer) settle(stop chan struct{}) (more bool) {
	wants := make([]int64, len(k.players))
	for i, p := range k.players {
		wants[i] = p.answered.Load() + 2
	}
	for i, p := range k.players {
		for p.answered.Load() < wants[i] {
			select {
			case <-stop:
				return false
			case <-time.After(time.Millisecond):
			}
		}
	}
	select {
	case <-stop:
		return false
	case <-time.After(time.Duration(k.rng.Int64N(2 * int64(k.every)))):
		return true
	}
}

// kill kills one that it has not killed yet, if there are two.
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
	if k.was[victim] = true; a.status == http.StatusSeeOther {
		k.killed++
	} else if a.status != http.StatusConflict { // it was gone already
		return fmt.Errorf("killing %d: status %d", victim, a.status)
	}
	return nil
}
