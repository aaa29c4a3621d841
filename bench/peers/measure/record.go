// Package measure has the records of measurements, and the instruments: a watch that also measures
// the processor time of other processes, histograms of latencies, and the memory and disk space of
// processes. Start reading at Record.
package measure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Record is one measurement, one line of JSON.
type Record struct {
	Engine   string             `json:"engine,omitempty"`
	Workload string             `json:"workload,omitempty"`
	Op       string             `json:"op,omitempty"`
	Mode     string             `json:"mode,omitempty"` // none, async, sync: see engines.Durability
	Value    float64            `json:"value"`
	Unit     string             `json:"unit,omitempty"` // a rate has the unit /s, and more of it is better
	Round    int                `json:"round,omitempty"`
	N        int                `json:"n,omitempty"`       // entries in the store
	Ops      int64              `json:"ops,omitempty"`     // operations that Value rests on
	Seconds  float64            `json:"seconds,omitempty"` // that they took
	Foreign  float64            `json:"foreign,omitempty"` // processor time of other processes, percent of the machine
	Extra    map[string]float64 `json:"extra,omitempty"`
	Note     string             `json:"note,omitempty"`
	Version  string             `json:"version,omitempty"`

	Machine *Machine `json:"machine,omitempty"` // the first line of a run has this alone
}

// Machine describes the machine, the engines and the settings of a run.
type Machine struct {
	Time      string            `json:"time"`
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	MemoryGiB float64           `json:"memory_gib"`
	Kernel    string            `json:"kernel"`
	FS        string            `json:"fs"` // file system of the data
	Go        string            `json:"go"`
	Commit    string            `json:"commit"`
	Command   string            `json:"command"`
	Missing   []string          `json:"missing,omitempty"` // engines that this machine or build lacks
	Notes     map[string]string `json:"notes,omitempty"`   // how each engine is set up
	Versions  map[string]string `json:"versions,omitempty"`
}

// HigherIsBetter reports whether more of the unit is better.
func HigherIsBetter(unit string) bool { return strings.HasSuffix(unit, "/s") }

// ReadRecords reads lines of JSON.
func ReadRecords(r io.Reader) (list []Record, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var rec Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		list = append(list, rec)
	}
	return list, lines.Err()
}

// WriteRecord writes one line.
func WriteRecord(w io.Writer, r Record) error {
	b, err := json.Marshal(r)
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

// ThisMachine describes the machine, for data in dir.
func ThisMachine(dir string) *Machine {
	m := &Machine{Time: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOARCH}
	m.Processor = field("/proc/cpuinfo", "model name")
	var kb float64
	fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kb)
	m.MemoryGiB = kb / (1 << 20)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	m.FS = fileSystem(dir)
	if b, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(b))
		if exec.Command("git", "diff", "--quiet", "HEAD").Run() != nil {
			m.Commit += " (changed)"
		}
	}
	return m
}

// field returns the value of the first line "name: value" of a file.
func field(path, name string) string {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func fileSystem(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return ""
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return fmt.Sprintf("%#x", st.Type)
}
