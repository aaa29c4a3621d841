//go:build !linux

package mapping

import "os"

func openDirectory(path string) (*os.File, error) { return nil, errSystem }

func openAt(d *Dir, name string, flag int, perm os.FileMode) (*os.File, error) {
	return nil, errSystem
}

func statAt(d *Dir, name string) (Status, error) { return Status{}, errSystem }

func statusAt(path string) (Status, error) { return Status{}, errSystem }

// StatusOf is not supported on this system.
func StatusOf(f *os.File) (Status, error) { return Status{}, errSystem }

// StatusOfFile is not supported on this system.
func StatusOfFile(f File) (Status, error) { return Status{}, errSystem }

// StatusIn is not supported on this system.
func StatusIn(info os.FileInfo) (Status, error) { return Status{}, errSystem }

func renameAt(d *Dir, from, to string) error { return errSystem }

func removeAt(d *Dir, name string) error { return errSystem }

func currentPath(f *os.File) string { return "" }
