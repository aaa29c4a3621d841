package changes

import (
	"bytes"
	"errors"
	"io"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
)

// Read reads the next frame of a stream. It takes no more memory than the stream has bytes,
// whatever size a head claims.
func Read(r io.Reader) (Frame, error) {
	var b bytes.Buffer
	n, err := io.CopyN(&b, r, int64(format.ChangeHeadSize))
	if err == io.EOF && n > 0 {
		err = errCut
	}
	if err != nil {
		return Frame{}, err
	}
	h, ok := format.DecodeChangeHead(b.Bytes())
	if !ok {
		return Frame{}, errCut
	}
	if _, err := io.CopyN(&b, r, int64(h.Size)); err == io.EOF {
		return Frame{}, errCut
	} else if err != nil {
		return Frame{}, err
	}
	return Parse(b.Bytes())
}

var errCut error = &failure.CorruptError{File: "the change frame", What: "it is not a whole frame: bytes are missing or have changed"}

// BackupHead reads the head of a backup, and returns it with the chain of the backup's version.
func BackupHead(r io.Reader) (h format.BackupHead, chain uint64, err error) {
	b := make([]byte, format.BackupHeadSize)
	if _, err := io.ReadFull(r, b); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return h, 0, err
	}
	head, err := format.DecodeBackupHead(b)
	if err != nil {
		return h, 0, &failure.CorruptError{File: "the backup", What: err.Error()}
	}
	chain, ok := head.Chain()
	if !ok {
		return *head, 0, &failure.CorruptError{File: "the backup", What: "it does not say which version of a history it is: it was salvaged, or made by an older version of the program"}
	}
	return *head, chain, nil
}
