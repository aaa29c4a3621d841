package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
	"golang.org/x/sys/unix"
)

// registerInput is one operation on the register of a key.
type registerInput struct {
	Op    string // get, set, add, delete
	Key   string
	Value int
}

// registerOutput is its answer: of add the new value.
type registerOutput struct {
	Value int
	Found bool
}

// registerState is the content of a register.
type registerState struct {
	value int
	found bool
}

// registers is porcupine's model of a map of independent registers.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(registerInput).Key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return registerState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(registerState), input.(registerInput), output.(registerOutput)
		switch in.Op {
		case "get":
			return out.Found == s.found && (!s.found || out.Value == s.value), s
		case "set":
			return true, registerState{in.Value, true}
		case "add":
			return out.Value == s.value+in.Value && out.Found == s.found, registerState{s.value + in.Value, true}
		}
		return out.Found == s.found, registerState{}
	},
}

// recorded is an operation with the times of its call and its return, on the
// clock that all processes share.
type recorded struct {
	Input     registerInput
	Output    registerOutput
	Call, Ret int64
}

// monotonic reads the clock.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// operate does one random operation.
func operate(s *everheap.Space, m everheap.Map[string, int], r *rand.Rand) (rec recorded, err error) {
	in := registerInput{Op: []string{"get", "get", "set", "add", "delete"}[r.IntN(5)], Key: strconv.Itoa(r.IntN(3)), Value: r.IntN(1000)}
	rec = recorded{Input: in, Call: monotonic()}
	out := &rec.Output
	switch in.Op {
	case "get":
		out.Value, err = m.Get(s, in.Key)
		out.Found = err == nil
		if spacetest.IsNotFound(err) {
			out.Value, err = 0, nil
		}
	case "set":
		err = m.Set(s, in.Key, in.Value)
	case "add":
		err = m.Upsert(s, in.Key, func(v *int, found bool) error {
			*v += in.Value
			out.Value, out.Found = *v, found
			return nil
		})
	case "delete":
		out.Found, err = m.Delete(s, in.Key)
	}
	rec.Ret = monotonic()
	return rec, err
}

// linearizable fails the test if no order explains the history.
func linearizable(t *testing.T, clients [][]recorded) {
	t.Helper()
	var history []porcupine.Operation
	for id, list := range clients {
		for _, rec := range list {
			history = append(history, porcupine.Operation{ClientId: id, Input: rec.Input, Call: rec.Call, Output: rec.Output, Return: rec.Ret})
		}
	}
	switch porcupine.CheckOperationsTimeout(registers, history, 20*time.Second) {
	case porcupine.Illegal:
		var b strings.Builder
		for _, op := range history {
			fmt.Fprintf(&b, "%d: %+v -> %+v [%d, %d]\n", op.ClientId, op.Input, op.Output, op.Call, op.Return)
		}
		t.Fatalf("the history is not linearizable:\n%s", b.String())
	case porcupine.Unknown:
		t.Log("a history took too long to judge")
	}
}

func TestHistory_Goroutines(t *testing.T) {
	s := spacetest.Scratch(t)
	spacetest.Rounds(t, 120, func(t *testing.T, r *rand.Rand) {
		m := freshMap(t, s)
		clients := make([][]recorded, 4)
		var wg sync.WaitGroup
		for i := range clients {
			own := rand.New(rand.NewPCG(r.Uint64(), 0))
			wg.Go(func() {
				for range 12 {
					rec, err := operate(s, m, own)
					if err != nil {
						t.Error(err)
						return
					}
					clients[i] = append(clients[i], rec)
				}
			})
		}
		wg.Wait()
		linearizable(t, clients)
	})
}

// freshMap returns the map of registers, empty.
func freshMap(t *testing.T, s *everheap.Space) everheap.Map[string, int] {
	t.Helper()
	m, err := everheap.OpenMap[string, int](s, "registers")
	spacetest.Must(t, err)
	spacetest.Update(t, s, func(tx *everheap.Tx) error {
		for k := range m.All(tx) {
			if _, err := m.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

func init() { spacetest.Children["registers"] = registersChild }

// registersChild plays rounds: for every seed that it reads, it runs operations and prints one line
// with their record.
func registersChild() int {
	s, err := everheap.Open(os.Getenv("EVERHEAP_TEST_DIR"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var seed uint64
		if err := in.Decode(&seed); err != nil {
			return 0
		}
		m, err := everheap.OpenMap[string, int](s, "registers")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		r := rand.New(rand.NewPCG(seed, 0))
		var list []recorded
		for range 12 {
			rec, err := operate(s, m, r)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			list = append(list, rec)
		}
		if err := out.Encode(list); err != nil {
			return 1
		}
	}
}

func TestHistory_Processes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	s := spacetest.Open(t, dir)
	type player struct {
		to   io.WriteCloser
		from *json.Decoder
	}
	players := make([]player, 3)
	for i := range players {
		cmd := exec.CommandContext(context.Background(), os.Args[0])
		cmd.Env = append(os.Environ(), "EVERHEAP_CHILD=registers", "EVERHEAP_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		to, err := cmd.StdinPipe()
		spacetest.Must(t, err)
		from, err := cmd.StdoutPipe()
		spacetest.Must(t, err)
		spacetest.Must(t, cmd.Start())
		players[i] = player{to, json.NewDecoder(from)}
		defer func() {
			to.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}()
	}
	spacetest.Rounds(t, 60, func(t *testing.T, r *rand.Rand) {
		freshMap(t, s)
		for _, p := range players {
			spacetest.Must(t, json.NewEncoder(p.to).Encode(r.Uint64()))
		}
		clients := make([][]recorded, len(players))
		spacetest.Within(t, time.Minute, "a round", func() {
			for i, p := range players {
				spacetest.Must(t, p.from.Decode(&clients[i]))
			}
		})
		linearizable(t, clients)
	})
}
