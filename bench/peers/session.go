package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/measure"
	"github.com/everheap/everheap/bench/peers/work"
)

// selection selects engines, workloads and directories.
type selection struct {
	Engines   []string `help:"Engines to measure; all by default. See list." placeholder:"NAME"`
	Workloads []string `help:"Workloads to do; all by default. See list." placeholder:"NAME"`
	Dir       string   `help:"Directory under which the data lie: the file system to be measured." type:"path" placeholder:"DIR"`
	Tags      string   `help:"Build tags of the workers; lmdb if lmdb.h is there." default:"auto"`
}

// quickCmd measures in a few minutes.
type quickCmd struct {
	selection
	Rounds  int     `help:"How often everything is measured." default:"3"`
	N       int     `help:"Entries." default:"100000"`
	Seconds float64 `help:"Seconds of each timed loop." default:"0.1"`
	Quiet   float64 `help:"Wait until other processes use less than this percent of the machine; 0: do not wait." default:"0"`
	Out     string  `help:"File of the records, which is replaced." short:"o" type:"path" default:"results/quick.jsonl"`
}

// Run measures.
func (c *quickCmd) Run() error {
	return (&session{selection: c.selection, rounds: c.Rounds, out: c.Out, large: 1,
		config: work.Config{N: c.N, Seconds: c.Seconds, Quiet: c.Quiet, QuietWait: 10 * time.Second, Scale: 0.02, Parts: 50_000, Updates: 20_000, LimitMiB: 64, LargeN: 1_200_000}}).run()
}

// fullCmd measures in hours.
type fullCmd struct {
	selection
	Rounds  int     `help:"How often everything is measured." default:"5"`
	N       int     `help:"Entries." default:"1000000"`
	Seconds float64 `help:"Seconds of each timed loop." default:"1"`
	Quiet   float64 `help:"Wait until other processes use less than this percent of the machine; 0: do not wait." default:"10"`
	Out     string  `help:"File of the records, which is replaced." short:"o" type:"path" default:"results/full.jsonl"`
}

// Run measures.
func (c *fullCmd) Run() error {
	return (&session{selection: c.selection, rounds: c.Rounds, out: c.Out, large: c.Rounds,
		config: work.Config{N: c.N, Seconds: c.Seconds, Quiet: c.Quiet, QuietWait: 30 * time.Second, Scale: 1, Parts: 1_000_000, Updates: 200_000, LimitMiB: 256, LargeN: 5_000_000}}).run()
}

// session measures all workloads with all engines, each pair in a process of its own. A
// round does everything once; within it the engines follow each other at once, so a temporary
// slowness of the machine affects all, and each round begins with another engine.
type session struct {
	selection
	rounds int
	out    string
	large  int // rounds of the workload with data larger than memory, which takes long
	config work.Config

	worker string // the program of the workers
	file   io.Writer
}

func (s *session) run() error {
	if s.Dir == "" {
		s.Dir = os.TempDir()
	}
	scratch, err := os.MkdirTemp(s.Dir, "peers-session-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	onInterrupt(func() { os.RemoveAll(scratch) })
	s.config.Dir = scratch
	if err := s.buildWorker(scratch); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.out), 0o755); err != nil {
		return err
	}
	known, missing, err := s.known()
	if err != nil {
		return err
	}
	head := s.head(known, missing) // before a file of the tree changes
	f, err := os.Create(s.out)
	if err != nil {
		return err
	}
	defer f.Close()
	s.file = f
	if err := measure.WriteRecord(s.file, head); err != nil {
		return err
	}
	return s.measure(known)
}

// buildWorker builds the program of the workers: with LMDB if its header is there.
func (s *session) buildWorker(scratch string) (err error) {
	if s.Tags == "auto" {
		if s.Tags = ""; haveLMDB() {
			s.Tags = "lmdb"
		}
	}
	if s.Tags == "" {
		s.worker, err = os.Executable()
		return err
	}
	s.worker = filepath.Join(scratch, "peers")
	if out, err := exec.Command("go", "build", "-tags", s.Tags, "-o", s.worker, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("building the workers with -tags %s (run this in its directory, or give --tags=): %w\n%s", s.Tags, err, out)
	}
	return nil
}

// haveLMDB reports whether cgo works and finds the header of LMDB.
func haveLMDB() bool {
	env, err := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	lines := strings.Fields(string(env))
	if err != nil || len(lines) < 2 || lines[0] != "1" {
		return false
	}
	c := exec.Command(lines[1], append(lines[2:], "-E", "-")...)
	c.Stdin = strings.NewReader("#include <lmdb.h>\n")
	return c.Run() == nil
}

// known asks the worker which engines it has, and how they are set up.
func (s *session) known() (known map[string]engines.Info, missing []string, err error) {
	out, err := exec.Command(s.worker, "worker", "--describe").Output()
	if err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(out, &known); err != nil {
		return nil, nil, err
	}
	for _, name := range append(engines.Missing(), engines.Names()...) {
		if _, ok := known[name]; !ok {
			missing = append(missing, name)
		}
	}
	for _, name := range s.Engines {
		if _, ok := known[name]; !ok {
			return nil, nil, fmt.Errorf("engine %s is not there; see list", name)
		}
	}
	for _, name := range s.Workloads {
		if _, ok := work.Find(name); !ok {
			return nil, nil, fmt.Errorf("there is no workload %s; see list", name)
		}
	}
	return known, missing, nil
}

// head makes the first record: machine and engines.
func (s *session) head(known map[string]engines.Info, missing []string) measure.Record {
	m := measure.ThisMachine(s.config.Dir)
	m.Command, m.Missing = "go run . "+strings.Join(os.Args[1:], " "), missing
	m.Notes, m.Versions = map[string]string{}, map[string]string{}
	for name, info := range known {
		m.Notes[name], m.Versions[name] = info.Notes, info.Version
	}
	return measure.Record{Machine: m}
}

func (s *session) measure(known map[string]engines.Info) error {
	start := time.Now()
	var failed []error
	for round := range s.rounds {
		for _, w := range work.Workloads {
			if len(s.Workloads) > 0 && !slices.Contains(s.Workloads, w.Name) || w.Name == "memory" && round >= s.large {
				continue
			}
			fmt.Fprintf(os.Stderr, "%4.0f s  round %d of %d: %s\n", time.Since(start).Seconds(), round+1, s.rounds, w.Name)
			for _, name := range s.turns(w, known, round) {
				if err := s.one(w.Name, name, round+1); err != nil {
					failed = append(failed, fmt.Errorf("%s, %s: %w", w.Name, name, err))
					fmt.Fprintln(os.Stderr, failed[len(failed)-1])
				}
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%4.0f s  done: %s\n", time.Since(start).Seconds(), s.out)
	return errors.Join(failed...)
}

// turns lists the engines of a workload in the order of a round.
func (s *session) turns(w work.Workload, known map[string]engines.Info, round int) (names []string) {
	if w.Name == "raw" {
		return []string{work.Disk}
	}
	for _, name := range engines.Order {
		info, ok := known[name]
		if ok && w.Fits(info) && (len(s.Engines) == 0 || slices.Contains(s.Engines, name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	first := round * 5 % len(names)
	return append(slices.Clone(names[first:]), names[:first]...)
}

// limit is how long a worker may take.
const limit = 20 * time.Minute

// one runs a workload with an engine in a process of its own.
func (s *session) one(workload, engine string, round int) error {
	c := s.config
	c.Round = round
	config, err := json.Marshal(c)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.worker, "worker", "--workload", workload, "--engine", engine, "--config", string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	records, err := measure.ReadRecords(bufio.NewReader(out))
	err = errors.Join(err, cmd.Wait())
	for _, r := range records {
		err = errors.Join(err, measure.WriteRecord(s.file, r))
	}
	return err
}

// workerCmd does one workload with one engine, and prints records.
type workerCmd struct {
	Describe bool
	Workload string
	Engine   string
	Config   string
}

// Run works.
func (c *workerCmd) Run() error {
	if c.Describe {
		infos := map[string]engines.Info{}
		for _, name := range engines.Names() {
			infos[name] = engines.New(name).Info()
		}
		return json.NewEncoder(os.Stdout).Encode(infos)
	}
	var config work.Config
	if err := json.Unmarshal([]byte(c.Config), &config); err != nil {
		return err
	}
	var failed error
	err := work.Run(c.Workload, c.Engine, config, func(r measure.Record) {
		failed = errors.Join(failed, measure.WriteRecord(os.Stdout, r))
	})
	return errors.Join(err, failed)
}
