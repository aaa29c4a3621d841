package subscription_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/everheap/everheap/internal/subscription"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }

func words(t *testing.T) *live.Live {
	return spacetest.Engine(spacetest.Open(t, filepath.Join(t.TempDir(), "s"))).Live
}

// A process that is late, and uses a subscription that has ended, changes nothing, whatever has
// taken the slot.
func TestSlot_Late(t *testing.T) {
	v := words(t)
	first, ok := subscription.Make(v, "first", 5, 100)
	if !ok {
		t.Fatal("no slot is free")
	}
	subscription.End(v, first)
	if list := subscription.List(v); len(list) != 0 || v.Subscribed() {
		t.Fatalf("after its end the list is %v", list)
	}
	second, ok := subscription.Make(v, "second", 7, 200)
	if !ok {
		t.Fatal("no slot is free")
	}
	subscription.End(v, first)
	subscription.Lose(v, first, 7)
	if subscription.Confirm(v, first, 9) {
		t.Error("a subscription that has ended was confirmed")
	}
	want := subscription.Info{Slot: second, Name: "second", Version: 7, Limit: 200}
	if list := subscription.List(v); len(list) != 1 || list[0] != want {
		t.Errorf("the list is %+v, want %+v", list, want)
	}
	if floor := v.SubscriptionFloor(); floor != 7 {
		t.Errorf("versions after %d are kept", floor)
	}
	if !subscription.Confirm(v, second, 9) || !subscription.Confirm(v, second, 8) || v.SubscriptionFloor() != 9 {
		t.Errorf("confirmed up to 9, and versions after %d are kept", v.SubscriptionFloor())
	}
	subscription.Lose(v, second, 8)
	if !v.Subscribed() {
		t.Error("it is lost, although it has advanced")
	}
	subscription.Lose(v, second, 9)
	if v.Subscribed() || subscription.Confirm(v, second, 10) || len(subscription.List(v)) != 1 {
		t.Errorf("it is lost, and the list is %+v", subscription.List(v))
	}
}

// A slot that a dead process was filling is free; one that a living process is filling is not.
func TestSlot_MakerDies(t *testing.T) {
	v := words(t)
	w := v.Words()
	w.Subscriptions[0].Maker.Store(format.NobodyAlive)
	w.Subscriptions[1].Maker.Store(uint64(v.Incarnation()))
	if s, ok := subscription.Make(v, "one", 5, 1); !ok || w.Subscriptions[0].Position.Load() == 0 {
		t.Errorf("the slot of a dead maker was not taken: %+v, %v", s, ok)
	}
	if _, ok := subscription.Make(v, "two", 5, 1); !ok || w.Subscriptions[1].Position.Load() != 0 {
		t.Error("the slot of a living maker was taken")
	}
	for i := 2; i < format.NumSubscriptions-1; i++ {
		if _, ok := subscription.Make(v, "more", 5, 1); !ok {
			t.Fatal("a slot is missing")
		}
	}
	if _, ok := subscription.Make(v, "too many", 5, 1); ok {
		t.Error("a subscription without a slot")
	}
}

// A slot of a copy has only what the copy has said, whatever was in the slot before.
func TestCopies_KeepTheirSlots(t *testing.T) {
	v := words(t)
	for i := range format.NumCopies {
		if !subscription.Acknowledge(v, string(rune('a'+i)), format.Version(10+i)) {
			t.Fatalf("no slot for copy %d", i)
		}
	}
	if subscription.Acknowledge(v, "one more", 10) {
		t.Error("a slot for one copy too many")
	}
	if !subscription.Acknowledge(v, "b", 30) {
		t.Error("a copy has lost its slot")
	}
	if c := subscription.Copies(v); len(c) != format.NumCopies || c["a"] != 10 || c["b"] != 30 {
		t.Errorf("the copies have said %v", c)
	}
	subscription.Forget(v)
	if c := subscription.Copies(v); len(c) != 0 {
		t.Errorf("after Forget the copies have said %v", c)
	}
	if !subscription.Acknowledge(v, "new", 3) {
		t.Error("no slot is free")
	}
	if c := subscription.Copies(v); len(c) != 1 || c["new"] != 3 {
		t.Errorf("the copies have said %v", c)
	}
}
