package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everheap/everheap/internal/mapping"
	"github.com/everheap/everheap/internal/powercut"
	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// Faults of the disks of TestCluster's machines.

// diskSize is the size of a machine's disk, for the files of the space and of the server.
const diskSize = 256 << 20

func init() { proctest.Children["watched"] = watchedChild }

// muted is locked for good by a child whose machine has lost power: the child prints nothing more.
var muted sync.RWMutex

// say prints a line for the test.
func say(words ...any) {
	muted.RLock()
	defer muted.RUnlock()
	proctest.Say(words...)
}

// watchedChild is a copy and a client in one process, so that the test can record all their writes to
// files. On command its machine loses power: the child sends nothing more, to the test or to other
// machines, and writes an image of its disk after the power loss.
func watchedChild(dir string) error {
	n := machine()
	space := spaceDir(dir, n)
	disk := powercut.New()
	disk.Ignore["live"], disk.Mapped["heap"] = true, true
	disk.Follow(func(name string) bool {
		return strings.HasPrefix(name, "subscription-") || strings.HasPrefix(name, "changes-") || strings.HasPrefix(name, "replica")
	})
	var other atomic.Bool // the copy has begun again with a snapshot: files of two spaces have the same name
	open := func(path string, flag int, perm os.FileMode) (mapping.File, error) {
		if filepath.Dir(path) != space {
			other.Store(true)
			return mapping.OpenFile(path, flag, perm)
		}
		return disk.OpenFile(path, flag, perm)
	}
	opts := append(clusterOpen[:len(clusterOpen):len(clusterOpen)], spacetest.WithFiles(open), spacetest.WithNames(disk.Rename, disk.SyncDir))
	connected := make(chan *nats.Conn, 1)
	ends := make(chan error, 2)
	go func() { ends <- copyChild(dir, opts, func(nc *nats.Conn) { connected <- nc }) }()
	go func() { ends <- clientChild(dir, opts) }()
	go func() {
		words := strings.Fields(proctest.Told())
		if len(words) != 3 || words[0] != "cut" {
			return
		}
		var policy, seed int
		_, err := fmt.Sscan(words[1]+" "+words[2], &policy, &seed)
		muted.Lock()
		(<-connected).Close()
		moment := disk.Observe()
		if err == nil && other.Load() {
			err = errors.New("it has begun with a snapshot")
		}
		if err == nil {
			image := space + ".cut"
			err = errors.Join(os.RemoveAll(image), os.Mkdir(image, 0o700))
			if err == nil {
				err = disk.Image(image, "heap", moment, powercut.Policy(policy), rand.New(rand.NewPCG(uint64(seed), 0)))
			}
		}
		proctest.Say("image", err)
		select {}
	}()
	return <-ends
}

// cut makes a machine lose power: data that were not synced survive in part.
func (c *cluster) cut(n int, r *rand.Rand, pause func()) string {
	name := fmt.Sprint("watched", n)
	for _, what := range []string{"client", "copy"} {
		c.kill(fmt.Sprint(what, n))
	}
	c.start("watched", n)
	pause()
	policy := r.IntN(int(powercut.NumPolicies))
	fmt.Fprintln(c.procs[name].in, "cut", policy, r.IntN(1<<30))
	image := ""
	spacetest.Wait(30*time.Second, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := len(c.logs) - 1; i >= 0 && image == ""; i-- {
			if rest, ok := strings.CutPrefix(c.logs[i], name+": image "); ok {
				image, c.logs[i] = rest, "the image of "+name+": "+rest
			}
		}
		return image != ""
	})
	c.kill(name)
	c.kill(fmt.Sprint("server", n))
	space := spaceDir(c.dir, n)
	if image == "<nil>" {
		spacetest.Must(c.t, os.RemoveAll(space))
		spacetest.Must(c.t, os.Rename(space+".cut", space))
	}
	for _, what := range []string{"server", "copy", "client"} {
		c.start(what, n)
	}
	return fmt.Sprintf("cut the power of %d (policy %d, image: %s)", n, policy, image)
}

// fill fills the disk of a machine for a while. A server without room disables JetStream until it is
// restarted.
func (c *cluster) fill(n int, pause func()) string {
	path := filepath.Join(diskDir(c.dir, n), "ballast")
	f, err := os.Create(path)
	spacetest.Must(c.t, err)
	defer f.Close()
	b := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(b)
	}
	if !errors.Is(err, unix.ENOSPC) {
		c.t.Fatalf("the disk of %d cannot be filled: %v", n, err)
	}
	pause()
	spacetest.Must(c.t, os.Remove(path))
	c.kill(fmt.Sprint("server", n))
	c.start("server", n)
	return fmt.Sprint("filled the disk of ", n)
}
