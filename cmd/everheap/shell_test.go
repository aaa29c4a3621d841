package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// home makes a registry with a space, and returns the environment.
func home(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("EVERHEAP_HOME", dir)
	if err := fill([]string{"forum"}); err != nil {
		t.Fatal(err)
	}
	if err := shelve([]string{"shop"}); err != nil {
		t.Fatal(err)
	}
	return []string{"EVERHEAP_HISTORY=" + filepath.Join(dir, "history")}
}

func TestShell_AtATerminal(t *testing.T) {
	env := home(t)
	w := startTerminal(t, env, "shell", "forum")
	w.see(1, "forum>")
	w.run("ls", "map[string]main.user")
	w.run("users where Age > 30", "(1 entry, by a scan of 2 entries, in ")
	w.run("users where Agee > 30", "error: main.user has no field Agee; it has: Name, Age, Tags, Boss, Joined")
	if !strings.Contains(w.shown(), "\n                   ^\n") {
		t.Errorf("nothing points at the field:\n%s", w.shown())
	}
	w.run(".help", "Tab completes verbs, names")
	w.run(".help query", "the name of a collection and clauses")
	w.run("begin", "others that want to write wait")
	w.see(1, "forum*>")
	w.run(`set words moon lune`, "forum*>")
	w.run("words order by key", "moon")
	w.run("rollback", "forum>")
	w.run("get words moon", "error: words has no key \"moon\"")
	w.run("set squares {\r}", "error: squares is a map: set squares KEY VALUE")
	w.run("words order by key limit 1", "(1 entry, by a scan of 3 entries, then sorted, in")
	w.send("\x04")
	if code := w.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestShell_CompletesOnTab(t *testing.T) {
	w := startTerminal(t, home(t), "shell", "forum")
	w.see(1, "forum>")
	for _, c := range []struct{ keys, line string }{
		{"us\t", "forum> us"},     // use, users
		{"use\t", "use    users"}, // both, listed
		{"users\t", "forum> users "},
		{"users wh\tA\t> 3 or Boss.N\t", "forum> users where Age > 3 or Boss.Name "},
		{"get us\ta\t", "forum> get users ann "},
		{"get words two\t", "forum> get words two"},
		{"get words \"two\t", "forum> get words \"two words\" "},
		{"set users ann {\"Na\t\"x\",\"Bo\t{\"A\t", "forum> set users ann {\"Name\": \"x\",\"Boss\": {\"Age\": "},
		{"use s\t", "forum> use shop "},
		{".mo\tj\t", "forum> .mode json "},
		{"users where Name st\t\"A\" an\t", "forum> users where Name starts with \"A\" and "},
		{"users order b\tJ\tde\tli\t", "forum> users order by Joined desc limit "},
	} {
		w.mu.Lock()
		w.screen = screen{width: 80}
		w.mu.Unlock()
		w.send("\x15" + c.keys)
		deadline := time.Now().Add(shortly)
		for !strings.Contains(w.shown(), strings.TrimSpace(strings.TrimPrefix(c.line, "forum> "))) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		t.Logf("%q:\n%s", c.keys, w.shown())
		if !strings.Contains(w.shown(), strings.TrimSpace(strings.TrimPrefix(c.line, "forum> "))) {
			t.Errorf("%q became\n%s\nwant %s", c.keys, w.shown(), c.line)
		}
	}
	w.mu.Lock()
	w.screen = screen{width: 80}
	w.mu.Unlock()
	w.send("\x15users where \t")
	w.see(1, "Joined")
	t.Logf("\n%s", w.shown())
}

// ctrl-C ends the running statement, and not the shell; the history outlives the shell.
func TestShell_InterruptAndHistory(t *testing.T) {
	env := home(t)
	w := startTerminal(t, env, "shell", "forum")
	w.see(1, "forum>")
	w.send("watch words\r")
	w.see(1, "ctrl-C ends this")
	other := startTerminal(t, env, "set", "forum", "words", "sun", `"soleil"`)
	if code := other.end(); code != 0 {
		t.Fatalf("%d: %s", code, other.shown())
	}
	w.see(1, `+ sun "soleil"`)
	w.send("\x03")
	w.seePrompt()
	w.run("get words sun", "soleil")
	w.send("no such line\x03")
	w.run("get words moon", "has no key")
	w.send("\x04")
	w.end()

	w = startTerminal(t, env, "shell", "forum")
	w.see(1, "forum>")
	w.send("\x1b[A\x1b[A")
	w.see(1, "forum> get words sun")
	w.send("\r")
	w.see(1, "soleil")
	w.send("\x04")
	w.end()
	b, err := os.ReadFile(strings.TrimPrefix(env[0], "EVERHEAP_HISTORY="))
	if err != nil || string(b) != "watch words\nget words sun\nget words moon\nget words sun\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// The shell executes keys typed while a statement runs after it, ctrl-D too.
func TestShell_TypedAhead(t *testing.T) {
	env := home(t)
	w := startTerminal(t, env, "shell", "forum")
	w.see(1, "forum>")
	w.run("begin", "forum*>")
	other := startTerminal(t, env, "shell", "forum")
	other.see(1, "forum>")
	for i := range 3 {
		other.send(fmt.Sprintf("set words sun \"soleil %d\"\r", i)) // waits for the transaction
		other.waitFor("the statement runs", func() bool {
			mode, err := unix.IoctlGetTermios(int(other.ptmx.Fd()), unix.TCGETS)
			return err == nil && mode.Lflag&unix.ISIG != 0
		})
		other.send("get words sun\r")
		if i == 2 {
			other.send("\x04")
		}
		w.run(fmt.Sprintf("set words moon \"lune %d\"", i), "forum*>")
		w.run("commit", "Committed.")
		other.see(1, fmt.Sprintf("\n\"soleil %d\"", i))
		w.run("begin", "forum*>")
	}
	if code := other.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("\n%s", other.shown())
	w.send("\x04")
	w.end()
}

// Another process takes over the transaction of a suspended shell, and the shell's commit changes
// nothing.
func TestShell_OvertakenInATransaction(t *testing.T) {
	env := home(t)
	w := startTerminal(t, env, "shell", "forum")
	w.see(1, "forum>")
	w.run("begin", "forum*>")
	w.run("set words hello allo", "forum*>")
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	other := startTerminal(t, env, "set", "forum", "words", "hello", `"salut"`)
	if code := other.end(); code != 0 {
		t.Fatalf("%d: %s", code, other.shown())
	}
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.run("commit", "another process took over; nothing was changed: begin again")
	w.run("get words hello", "salut")
	w.run("begin", "forum*>")
	w.run("set words hello allo", "forum*>")
	w.run("commit", "Committed.")
	w.run("get words hello", "allo")
	w.send("\x04")
	w.end()
}

// An import shows its progress, and how many rows it stores.
func TestImport_ProgressOnATerminal(t *testing.T) {
	env := home(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "rows.jsonl")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	w := startTerminal(t, env, "import", "forum", "squares", fifo)
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, seen := 10, false; !seen; i++ {
		if _, err := fmt.Fprintf(f, "{\"key\":%d,\"value\":1}\n", i); err != nil {
			t.Fatal(err)
		}
		seen = strings.Contains(w.shown(), " rows, ")
	}
	t.Logf("\n%s", w.shown())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.see(1, " s\n")
	if code := w.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, w.shown())
	}
	t.Logf("\n%s", w.shown())
	if strings.Contains(w.shown(), " a second") {
		t.Errorf("the bar is left:\n%s", w.shown())
	}
}
