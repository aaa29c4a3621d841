package engines

import (
	"bytes"
	"errors"

	"github.com/everheap/everheap/bench/peers/model"
)

// deleter is a KVTx that can delete.
type deleter interface {
	Delete(t table, key []byte) error
}

// emailKey returns the key of an entry of the mail index, which is kept by hand.
func emailKey(email string) []byte { return append([]byte("mail:"), email...) }

// PutIndexed implements Indexer: the old record says which entry of the index to delete.
func (s *kvSession) PutIndexed(key string, u *model.User) error {
	return s.s.Update(func(tx KVTx) error {
		d, ok := tx.(deleter)
		if !ok {
			return errors.ErrUnsupported
		}
		b, err := tx.Get(tUser, asBytes(key))
		if err != nil {
			return err
		}
		var old model.User
		if err := model.DecodeUser(b, &old); err != nil {
			return err
		}
		if old.Email != u.Email {
			mail := emailKey(u.Email)
			if _, err := tx.Get(tEmail, mail); err != ErrNotFound {
				return errors.Join(ErrDuplicate, err)
			}
			if err := d.Delete(tEmail, emailKey(old.Email)); err != nil {
				return err
			}
			if err := tx.Put(tEmail, mail, asBytes(key)); err != nil {
				return err
			}
		}
		s.buf = model.EncodeUser(s.buf[:0], u)
		return tx.Put(tUser, asBytes(key), s.buf)
	})
}

// ByEmail implements Indexer.
func (s *kvSession) ByEmail(email string) (sum uint64, err error) {
	err = s.s.View(func(tx KVTx) error {
		key, err := tx.Get(tEmail, emailKey(email))
		if err != nil {
			return err
		}
		b, err := tx.Get(tUser, bytes.Clone(key))
		if err != nil {
			return err
		}
		sum = model.PeekUser(b)
		return nil
	})
	return sum, err
}
