//go:build !linux

package mapping

import "os"

func openDirectory(path string) (*os.File, error) { return nil, errSystem }

func openAt(d *Dir, name string, flag int, perm os.FileMode) (*os.File, error) {
	return nil, errSystem
}

func statAt(d *Dir, name string) (Status, error) { return Status{}, errSystem }

func statusAt(path string) (Status, error) { return Status{}, errSystem }

// StatusOf returns the status of an open file; this system has none such.
func StatusOf(f *os.File) (Status, error) { return Status{}, errSystem }

// StatusOfFile is StatusOf for a File.
func StatusOfFile(f File) (Status, error) { return Status{}, errSystem }

// StatusIn returns the status that is in a FileInfo; this system has none such.
func StatusIn(info os.FileInfo) (Status, error) { return Status{}, errSystem }

func renameAt(d *Dir, from, to string) error { return errSystem }

func removeAt(d *Dir, name string) error { return errSystem }

func currentPath(f *os.File) string { return "" }
