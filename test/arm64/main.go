// Command arm64 runs the tests of Everheap, and its demo, on an emulated arm64 machine;
// README.md says what that shows. It builds the tests for arm64, puts them beside a small
// first process into the initial file system of a Debian kernel, boots that in
// qemu-system-aarch64, and fails if anything in there did.
package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// slow are the packages that a slow machine can test, with the tests that it runs of
// each; "" is all of them. The others simulate power losses or run fleets of processes for minutes on
// a fast machine.
var slow = []struct{ dir, run string }{
	{"internal/mapping", ""}, {"internal/oslock", ""}, {"internal/invariant", ""}, {"internal/goroutine", ""},
	{"internal/format", ""}, {"internal/live", ""}, {"internal/heap", ""}, {"internal/layout", ""},
	{"internal/entry", ""}, {"internal/vector", ""}, {"internal/trie", ""}, {"internal/btree", ""},
	{"internal/table", ""}, {"internal/journal", ""}, {"internal/backup", ""}, {"internal/check", ""},
	{"registry", ""}, {".", "^(Example|TestGolden|TestSorted|TestList|TestRef|TestMutex|TestSemaphore|TestErr|TestHandle|TestResume)"},
	{"test/isolation", ""}, {"test/model", "^(TestMap|TestSorted|TestList|TestCheckpoint)"},
}

func main() {
	packages := flag.String("packages", "", "directories of packages to test, separated by commas; all that a slow machine can if empty")
	run := flag.String("run", "", "of the tests, those that match")
	verbose := flag.Bool("v", false, "show every test")
	work := flag.String("work", filepath.Join(os.TempDir(), "everheap-arm64"), "directory for the kernel and what is built")
	flag.Parse()
	if err := runAll(*packages, *run, *verbose, *work); err != nil {
		fmt.Fprintln(os.Stderr, "arm64:", err)
		os.Exit(1)
	}
}

// runAll builds, boots, and evaluates the results.
func runAll(packages, run string, verbose bool, work string) error {
	root, err := output(".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	kernel := filepath.Join(work, "vmlinuz")
	if _, err := os.Stat(kernel); err != nil {
		return fmt.Errorf("there is no kernel %s; make arm64 fetches it", kernel)
	}
	tree, err := os.MkdirTemp(work, "tree-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := build(root, tree, packages, run, verbose); err != nil {
		return err
	}
	image := filepath.Join(work, "initrd.gz")
	if err := writeImage(image, tree); err != nil {
		return err
	}
	return boot(kernel, image)
}

// build fills the file system of the guest.
func build(root, tree, packages, run string, verbose bool) error {
	compile := func(dir, out string, args ...string) error {
		cmd := exec.Command("go", append(args, out)...)
		cmd.Dir, cmd.Env = filepath.Join(root, dir), append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, b)
		}
		return nil
	}
	for _, dir := range []string{"bin", "run", "tmp", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	list := &strings.Builder{}
	for _, p := range slow {
		if packages != "" && !strings.Contains(","+packages+",", ","+p.dir+",") {
			continue
		}
		name := "root"
		if p.dir != "." {
			name = strings.ReplaceAll(p.dir, "/", "-")
		}
		fmt.Println("building the tests of", p.dir)
		if err := compile(p.dir, filepath.Join(tree, "bin", name+".test"), "test", "-c", "-o"); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(tree, "bin", name+".test")); err != nil {
			continue // it has no tests
		}
		home := filepath.Join(tree, "src", p.dir)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if data := filepath.Join(root, p.dir, "testdata"); exists(data) {
			if err := os.CopyFS(filepath.Join(home, "testdata"), os.DirFS(data)); err != nil {
				return err
			}
		}
		wanted := p.run
		if run != "" {
			wanted = run
		}
		fmt.Fprintf(list, "/%s /bin/%s.test -test.short -test.timeout=60m", filepath.Join("src", p.dir), name)
		if wanted != "" {
			fmt.Fprintf(list, " -test.run=%s", wanted)
		}
		if verbose {
			fmt.Fprint(list, " -test.v")
		}
		fmt.Fprintln(list)
	}
	if packages == "" {
		fmt.Println("building the command")
		if err := compile("cmd/everheap", filepath.Join(tree, "bin/everheap"), "build", "-o"); err != nil {
			return err
		}
		fmt.Fprintln(list, "/tmp /bin/everheap demo")
	}
	if err := compile("test/arm64/guest", filepath.Join(tree, "init"), "build", "-o"); err != nil {
		return err
	}
	documents, err := filepath.Glob(filepath.Join(root, "*.md")) // tests compare them with the code
	if err != nil {
		return err
	}
	for _, d := range documents {
		b, err := os.ReadFile(d)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tree, "src", filepath.Base(d)), b, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(tree, "run/list"), []byte(list.String()), 0o644)
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writeImage writes the tree in the form that the kernel reads: a cpio archive of the format newc.
func writeImage(path, tree string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	inode := 0
	put := func(name string, mode uint32, size int64, data io.Reader) error {
		inode++
		header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
		if _, err := io.WriteString(z, header+strings.Repeat("\x00", -len(header)&3)); err != nil {
			return err
		}
		if data == nil {
			return nil
		}
		if _, err := io.Copy(z, data); err != nil {
			return err
		}
		_, err := io.WriteString(z, strings.Repeat("\x00", int(-size&3)))
		return err
	}
	err = filepath.Walk(tree, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == tree {
			return err
		}
		name, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return put(name, 0o040755, 0, nil)
		}
		data, err := os.Open(path)
		if err != nil {
			return err
		}
		defer data.Close()
		return put(name, 0o100755, info.Size(), data)
	})
	if err != nil {
		return err
	}
	if err := put("TRAILER!!!", 0, 0, nil); err != nil {
		return err
	}
	return z.Close()
}

// patience is how long the machine may be silent: a test may run for minutes without output.
const patience = 45 * time.Minute

// boot runs the machine, shows its output, and returns an error unless all went well.
func boot(kernel, image string) error {
	cmd := exec.Command("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "4096",
		"-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-monitor", "none", "-nic", "none",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	silent := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	passed, failed, ended := 0, 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		silent.Reset(patience)
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Println(line)
		switch {
		case line == "guest: end":
			ended = true
		case strings.HasPrefix(line, "guest: ") && strings.Contains(line, " FAILED"):
			failed++
		case strings.HasPrefix(line, "guest: "):
			passed++
		}
	}
	silent.Stop()
	if err := cmd.Wait(); err != nil {
		return err
	}
	if !ended {
		return errors.New("the machine did not reach the end of the list")
	}
	fmt.Printf("arm64: %d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d failed", failed, passed+failed)
	}
	return nil
}

// output runs a command and returns its first line.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}
