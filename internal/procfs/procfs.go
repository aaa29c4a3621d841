// Package procfs reads what /proc says about processes: the PID namespace that each is in,
// the number by which this process knows one of another namespace, and whether one is stopped.
package procfs

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// A process number means something in one PID namespace. An entry therefore says
// which one its process is in, by the inode of /proc/PID/ns/pid. All of this is for display
// and hints. The one exception: a process of the same namespace that is gone is dead
// (L2). A process never changes its namespace, but a fork may be in another one, so each
// membership looks anew.

// Namespace reads the PID namespace of a process in /proc; 0: unknown, or not to be
// seen by this user.
func Namespace(process string) uint32 {
	link, err := os.Readlink("/proc/" + process + "/ns/pid")
	if err != nil {
		return 0
	}
	text, found := strings.CutPrefix(strings.TrimSuffix(link, "]"), "pid:[")
	n, err := strconv.ParseUint(text, 10, 32)
	if !found || err != nil {
		return 0
	}
	return uint32(n)
}

// SeenAs translates a process number of a PID namespace to the number by which this
// process, whose own namespace is given, knows it. seen is false if it cannot know it: then the namespace is neither
// this process's nor one below it, or the user may not look.
func SeenAs(own uint32, pid int, namespace uint32) (number int, seen bool) {
	if namespace == own || namespace == 0 || own == 0 {
		return pid, true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return pid, false
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err == nil && innermost(e.Name()) == pid && Namespace(e.Name()) == namespace {
			return number, true
		}
	}
	return pid, false
}

// innermost returns the number of a process in its own PID namespace, the last one of
// the line NSpid; 0 if it cannot be read.
func innermost(process string) int {
	b, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, "NSpid:"); found {
			numbers := strings.Fields(rest)
			if len(numbers) == 0 {
				return 0
			}
			n, _ := strconv.Atoi(numbers[len(numbers)-1])
			return n
		}
	}
	return 0
}

// Stopped reports whether the system says that a process is stopped, or traced, and returns the name
// of its command, as far as the kernel keeps that. False means nothing.
func Stopped(pid uint64) (stopped bool, command string) {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(pid, 10) + "/stat")
	if err != nil {
		return false, ""
	}
	begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')') // of the command, which may hold anything
	if begin < 0 || end < begin || end+2 >= len(b) {
		return false, ""
	}
	return b[end+2] == 'T' || b[end+2] == 't', string(b[begin+1 : end])
}
