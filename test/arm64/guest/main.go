// Command guest is the first process of the emulated machine: it makes the file systems
// that the tests need, runs the programs in /run/list, prints how each one
// ended, and turns the machine off.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := prepare(); err != nil {
		fmt.Println("guest: FAILED:", err)
	} else {
		runAll()
	}
	fmt.Println("guest: end")
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("guest: turning the machine off:", err)
	}
}

// prepare mounts the file systems that programs expect.
func prepare() error {
	for _, m := range []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"},
		{"tmpfs", "/tmp", "tmpfs"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.source, m.target, m.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	for name, value := range map[string]string{"PATH": "/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "EVERHEAP_HOME": "/tmp/home"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return os.Chmod("/tmp", 0o1777)
}

// runAll runs the lines of the list: a directory, a program and its arguments.
func runAll() {
	f, err := os.Open("/run/list")
	if err != nil {
		fmt.Println("guest: FAILED:", err)
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		began := time.Now()
		cmd := exec.Command(fields[1], fields[2:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = fields[0], os.Stdout, os.Stdout
		verdict := "ok"
		if err := cmd.Run(); err != nil {
			verdict = "FAILED: " + err.Error()
		}
		fmt.Printf("guest: %s %s %.0f s\n", fields[1], verdict, time.Since(began).Seconds())
	}
}
