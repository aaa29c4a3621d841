package replica

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An object of the object store consists of messages of one subject, its chunks, and a message that
// describes them. The client library's Put and Get do the same, but with other limits: Get has five
// seconds for a whole object, or the time of its context; Put sends all chunks at once, with five
// seconds for each, and may leave a goroutine behind. Here a few chunks are in transit at a time, and
// each has its own limit. So a slow server is distinguished from one that is gone (JS11).

const (
	chunkSize   = 128 << 10
	chunkWindow = 16 // chunks without an acknowledgement
)

func chunkSubject(bucket, id string) string { return "$O." + bucket + ".C." + id }
func metaSubject(bucket, name string) string {
	return "$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// put stores an object, and replaces an object of the same name.
func (s *store) put(ctx context.Context, name, description string, r io.Reader) error {
	was, err := s.objects.GetInfo(ctx, name, jetstream.GetObjectInfoShowDeleted())
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return err
	}
	bucket := streamName(s.name)
	info := jetstream.ObjectInfo{Bucket: bucket, NUID: newToken(), ObjectMeta: jetstream.ObjectMeta{Name: name, Description: description, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}}
	if err := s.putChunks(ctx, &info, r); err != nil {
		return errors.Join(err, s.dropChunks(ctx, info.NUID))
	}
	b, err := json.Marshal(&info)
	if err != nil {
		return err
	}
	meta := &nats.Msg{Subject: metaSubject(bucket, name), Data: b, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	if _, err = s.js.PublishMsg(ctx, meta); err == nil && was != nil && !was.Deleted {
		err = s.dropChunks(ctx, was.NUID)
	}
	return err
}

// putChunks stores the chunks of an object, and sets their number, size and digest in info.
func (s *store) putChunks(ctx context.Context, info *jetstream.ObjectInfo, r io.Reader) error {
	digest := sha256.New()
	var air []jetstream.PubAckFuture
	for end := false; !end || len(air) > 0; {
		if !end && len(air) < chunkWindow {
			chunk := make([]byte, chunkSize)
			n, err := io.ReadFull(r, chunk)
			if end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !end {
				return err
			}
			if n == 0 {
				continue
			}
			digest.Write(chunk[:n])
			info.Size, info.Chunks = info.Size+uint64(n), info.Chunks+1
			future, err := s.js.PublishMsgAsync(&nats.Msg{Subject: chunkSubject(info.Bucket, info.NUID), Data: chunk[:n]})
			if err != nil {
				return err
			}
			air = append(air, future)
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-air[0].Err():
			return err
		case <-air[0].Ok():
			air = air[1:]
		}
	}
	info.Digest = jetstream.GetObjectDigestValue(digest)
	return nil
}

// dropChunks deletes the chunks of an object.
func (s *store) dropChunks(ctx context.Context, id string) error {
	stream, err := s.js.Stream(ctx, "OBJ_"+streamName(s.name))
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(chunkSubject(streamName(s.name), id)))
	}
	return err
}

// get writes the existing chunks of an object to w.
func (s *store) get(ctx context.Context, info *jetstream.ObjectInfo, w io.Writer) error {
	consumer, err := s.js.OrderedConsumer(ctx, "OBJ_"+info.Bucket, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{chunkSubject(info.Bucket, info.NUID)}, DeliverPolicy: jetstream.DeliverAllPolicy, MaxResetAttempts: 1})
	if err != nil {
		return err
	}
	state, err := consumer.Info(ctx)
	if err != nil || state.NumPending == 0 {
		return err
	}
	iterator, err := consumer.Messages(jetstream.PullMaxMessages(32))
	if err != nil {
		return err
	}
	defer iterator.Stop()
	for {
		meta, err := next(ctx, iterator, w)
		if err != nil || meta.NumPending == 0 {
			return err
		}
	}
}

// next writes the next message of an object.
func next(ctx context.Context, iterator jetstream.MessagesContext, w io.Writer) (*jetstream.MsgMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, quietAtMost)
	defer cancel()
	m, err := iterator.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(m.Data()); err != nil {
		return nil, err
	}
	return m.Metadata()
}
