package oslock

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder is a process that holds a lock, for the text of an error.
type Holder struct {
	PID     int
	Command string
	Stopped bool // by a signal, or by a debugger
}

// Holders finds the processes that hold a lock on the byte at off of the file of f. The
// kernel does not report the holder of an open-file-description lock, but /proc lists the
// locks of each open file, for all processes that this one may inspect. Holders is slow: use
// it only for the text of errors.
func Holders(f *os.File, off int64) (list []Holder) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return nil
	}
	// /proc names the superblock's device, in hexadecimal.
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(s.Dev)), unix.Minor(uint64(s.Dev)), s.Ino)
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if pid, _ := strconv.Atoi(filepath.Base(dir)); holds(dir, file, off) {
			list = append(list, describe(pid, dir))
		}
	}
	return list
}

// holds reports whether an open file of the process in dir has the lock.
func holds(dir, file string, off int64) bool {
	infos, err := os.ReadDir(filepath.Join(dir, "fdinfo"))
	if err != nil {
		return false
	}
	for _, info := range infos {
		b, err := os.ReadFile(filepath.Join(dir, "fdinfo", info.Name()))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			// lock:	1: OFDLCK  ADVISORY  WRITE -1 08:01:131 4611686018427387904 4611686018427387904
			words := strings.Fields(line)
			if len(words) < 9 || words[0] != "lock:" || words[2] != "OFDLCK" || words[6] != file {
				continue
			}
			from, _ := strconv.ParseInt(words[7], 10, 64)
			to, err := strconv.ParseInt(words[8], 10, 64)
			if err == nil && from <= off && off <= to {
				return true
			}
		}
	}
	return false
}

// describe reads the name and the state of a process.
func describe(pid int, dir string) Holder {
	h := Holder{PID: pid}
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return h
	}
	s := string(b)
	if from, to := strings.IndexByte(s, '('), strings.LastIndex(s, ") "); from >= 0 && to > from && to+2 < len(s) {
		h.Command = s[from+1 : to]
		h.Stopped = s[to+2] == 'T' || s[to+2] == 't'
	}
	return h
}
