package live

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"github.com/everheap/everheap/internal/format"
)

// A process number means something in one PID namespace. An entry therefore says
// which one its process is in, by the inode of /proc/PID/ns/pid. All of this is for display
// and hints. The one exception: a process of the same namespace that is gone is dead
// (L2). A process never changes its namespace, but a fork may be in another one, so each
// membership looks anew.

// namespaceOf reads the PID namespace of a process in /proc; 0: unknown, or not to be
// seen by this user.
func namespaceOf(process string) uint32 {
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

// seenAs translates a process number of a PID namespace to the number by which this
// process knows it. seen is false if it cannot know it: then the namespace is neither
// this process's nor one below it, or the user may not look.
func (v *Live) seenAs(pid int, namespace uint32) (number int, seen bool) {
	own := v.namespace
	if namespace == own || namespace == 0 || own == 0 {
		return pid, true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return pid, false
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err == nil && innermost(e.Name()) == pid && namespaceOf(e.Name()) == namespace {
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

// saidToBeStopped reports whether the system says that the process of an incarnation is
// stopped, or traced. False means nothing.
func (v *Live) saidToBeStopped(i format.Incarnation) bool {
	e := &v.words.Processes[i.Entry()]
	pid, namespace := e.PID.Load(), e.Namespace.Load()
	if namespace == 0 || namespace != v.namespace || format.Incarnation(e.Incarnation.Load()) != i {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(pid, 10) + "/stat")
	if err != nil {
		return false
	}
	end := bytes.LastIndexByte(b, ')') // of the command, which may hold anything
	return end >= 0 && end+2 < len(b) && (b[end+2] == 'T' || b[end+2] == 't')
}
