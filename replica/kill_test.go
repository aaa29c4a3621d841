package replica

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
)

const (
	urlVar  = "REPLICA_URL"
	roleVar = "REPLICA_ROLE"
)

func init() { proctest.Children["run"] = runChild }

// runChild leads or follows with the space in a directory.
func runChild(dir string) error {
	nc, err := nats.Connect(os.Getenv(urlVar), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		return err
	}
	o := Options{Stream: "k", Copy: filepath.Base(dir), Lease: time.Second, SnapshotBytes: 300 << 10, ConfirmAfter: time.Second, Open: clusterOpen, batch: 20_000,
		Log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	role := AsFollower
	if os.Getenv(roleVar) == "lead" {
		role = AsLeader
	}
	return Run(context.Background(), nc, dir, role, o)
}

// change makes a random change of a space.
func change(t testing.TB, s *everheap.Space, r *rand.Rand, pinned *bool) {
	t.Helper()
	users := func() *everheap.Collection {
		t.Helper()
		c, err := s.Create("users", "map[string]User\ntype User struct { Name string; Age int }")
		if err != nil {
			c, err = s.Collection("users")
		}
		spacetest.Must(t, err)
		return c
	}
	key := fmt.Appendf(nil, "%q", fmt.Sprint("u", r.IntN(100)))
	switch n := r.IntN(100); {
	case n < 50:
		fill(t, s, r.IntN(100), 100, 1+r.IntN(200))
	case n < 70:
		spacetest.Must(t, users().SetJSON(s, key, fmt.Appendf(nil, `{"Name": %q, "Age": %d}`, strings.Repeat("n", r.IntN(60)), r.IntN(90))))
	case n < 75:
		_, err := users().DeleteJSON(s, key)
		spacetest.Must(t, err)
	case n < 80:
		users()
		spec := []string{"Name string; Age int", "Name string; Age int64; City string"}[r.IntN(2)]
		spacetest.Must(t, s.EvolveCollection("users", "map[string]User\ntype User struct { "+spec+" }", everheap.Evolve()))
	case n < 85:
		if *pinned {
			spacetest.Must(t, s.Restore(context.Background(), "pin"))
			spacetest.Must(t, s.DropCheckpoint("pin"))
		} else {
			spacetest.Must(t, s.Checkpoint("pin"))
		}
		*pinned = !*pinned
	case n < 90:
		_, err := s.Collect(context.Background())
		spacetest.Must(t, err)
	default:
		fill(t, s, 1000, 1001, 100_000) // in parts
	}
}

// Leader and follower are killed at any moment, and started again: the follower gets all versions of
// the leader.
func TestRun_Killed(t *testing.T) {
	t.Parallel()
	js := startJetStream(t)
	url := fmt.Sprintf("nats://127.0.0.1:%d", js.opts.Port)
	spacetest.Rounds(t, 2, func(t *testing.T, r *rand.Rand) {
		dir := t.TempDir()
		name := fmt.Sprint(r.IntN(1e6))
		dirs := [2]string{filepath.Join(dir, "lead"+name), filepath.Join(dir, "follow"+name)}
		var procs [2]*proctest.Proc
		start := func(i int) {
			procs[i] = proctest.Start(t, "run", dirs[i], func(c *exec.Cmd) {
				c.Env = append(c.Env, urlVar+"="+url, roleVar+"="+[]string{"lead", "follow"}[i])
			})
		}
		s := spacetest.Open(t, dirs[0], clusterOpen...)
		nc := js.connect(t)
		start(0)
		start(1)
		pinned := false
		for range 12 {
			for range 1 + r.IntN(10) {
				change(t, s, r, &pinned)
			}
			if who := r.IntN(3); who < 2 {
				procs[who].Kill()
				if r.IntN(2) == 0 {
					change(t, s, r, &pinned)
				}
				start(who)
			}
		}
		await(t, "the follower has everything", func() bool {
			newest, err := newestOf(s)
			spacetest.Must(t, err)
			o, err := Overview(soon(t), nc, "k")
			if err != nil {
				return false
			}
			for _, c := range o.Copies {
				if c.Copy == filepath.Base(dirs[1]) {
					return c.Durable == newest
				}
			}
			return false
		})
		procs[0].Kill()
		procs[1].Kill()
		copy := spacetest.Open(t, dirs[1], clusterOpen...)
		alike(t, copy, s)
		// The next round uses another space.
		st, err := openStore(soon(t), nc, Options{Stream: "k"}, false)
		spacetest.Must(t, err)
		spacetest.Must(t, st.js.DeleteStream(soon(t), streamName("k")))
		spacetest.Must(t, st.js.DeleteObjectStore(soon(t), streamName("k")))
		spacetest.Must(t, st.js.DeleteKeyValue(soon(t), streamName("k")))
	})
}
