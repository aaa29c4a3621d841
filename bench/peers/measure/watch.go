package measure

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watch measures the time that passes, and the processor time that processes other than
// this one and its helpers use meanwhile.
type Watch struct {
	start      time.Time
	busy, mine float64
	pids       []int
}

const ticks = 100.0 // of the kernel's clock, a second

// StartWatch begins; pids are helpers, which are not others.
func StartWatch(pids ...int) *Watch {
	w := &Watch{pids: pids}
	w.busy, w.mine = busySeconds(), ownSeconds(pids)
	w.start = time.Now()
	return w
}

// Stop returns the elapsed time, and the processor time of others, in percent of the machine. That is
// exact to a tick of the kernel, so it is rough for less than a second.
func (w *Watch) Stop() (d time.Duration, foreign float64) {
	d = time.Since(w.start)
	f := (busySeconds() - w.busy) - (ownSeconds(w.pids) - w.mine)
	return d, min(100, 100*max(f, 0)/d.Seconds()/float64(runtime.NumCPU()))
}

// Quiet returns when others use less than percent of the machine for a third of a second,
// or after the limit. 0 percent does not wait.
func Quiet(percent float64, limit time.Duration, pids ...int) {
	end := time.Now().Add(limit)
	for percent > 0 && time.Now().Before(end) {
		w := StartWatch(pids...)
		time.Sleep(330 * time.Millisecond)
		if _, f := w.Stop(); f < percent {
			return
		}
	}
}

// busySeconds is the processor time of the machine that was not idle.
func busySeconds() (s float64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, v := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i >= 9 { // the name, idle, iowait, guests (in user already)
			continue
		}
		x, _ := strconv.ParseFloat(v, 64)
		s += x / ticks
	}
	return s
}

// ownSeconds is the processor time of this process, its children that have ended, and helpers.
func ownSeconds(pids []int) (s float64) {
	for _, pid := range append([]int{os.Getpid()}, pids...) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		for i, v := range strings.Fields(rest) {
			if i >= 11 && i <= 14 { // utime stime cutime cstime
				x, _ := strconv.ParseFloat(v, 64)
				s += x / ticks
			}
		}
	}
	return s
}

// Memory is the memory of a process, in MiB.
type Memory struct{ RSS, Anon float64 }

// MemoryOf adds up this process and its helpers.
func MemoryOf(pids ...int) (m Memory) {
	for _, pid := range append([]int{os.Getpid()}, pids...) {
		var rss, anon float64
		path := fmt.Sprintf("/proc/%d/status", pid)
		fmt.Sscan(field(path, "VmRSS"), &rss)
		fmt.Sscan(field(path, "RssAnon"), &anon)
		m.RSS += rss / 1024
		m.Anon += anon / 1024
	}
	return m
}

// DiskMiB returns the disk space of the files below a directory.
func DiskMiB(dir string) float64 {
	var n int64
	eachFile(dir, func(path string) {
		var st syscall.Stat_t
		if syscall.Lstat(path, &st) == nil {
			n += st.Blocks * 512
		}
	})
	return float64(n) / (1 << 20)
}

// DropCache removes the files below a directory, and no others, from the page cache.
func DropCache(dir string) {
	eachFile(dir, func(path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return
		}
		defer f.Close()
		if f.Sync() == nil {
			_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
	})
}

func eachFile(dir string, fn func(path string)) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			fn(path)
		}
		return nil
	})
}
