package bbolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"

	bolt "go.etcd.io/bbolt"

	"github.com/singledecree/paxos"
)

var _ paxos.Storage = (*Storage)(nil)

// Server returns the state last saved, or the zero ServerState if there is none.
func (s *Storage) Server() (state paxos.ServerState, err error) {
	err = s.view(func(tx *bolt.Tx) (err error) {
		state, err = loadState(tx)
		return err
	})
	if err != nil {
		return paxos.ServerState{}, fmt.Errorf("bbolt: %w", err)
	}
	return state, nil
}

// Load returns the record of an instance, or the zero Record if there is none.
func (s *Storage) Load(instance string) (r paxos.Record, err error) {
	err = s.view(func(tx *bolt.Tx) (err error) {
		r, err = loadRecord(tx, instance)
		return err
	})
	if err != nil {
		return paxos.Record{}, fmt.Errorf("bbolt: load %q: %w", instance, err)
	}
	return r, nil
}

// Undecided lists the names of the records that are not Chosen, in byte order. It reads them in pages, so that no Save waits for the
// loop.
func (s *Storage) Undecided() iter.Seq2[string, error] {
	const pageSize = 1024
	return func(yield func(string, error) bool) {
		from := []byte{}
		for {
			var page []string
			err := s.view(func(tx *bolt.Tx) error {
				c := tx.Bucket(bucketUndecided).Cursor()
				for key, _ := c.Seek(from); key != nil && len(page) < pageSize; key, _ = c.Next() {
					page = append(page, string(key))
				}
				return nil
			})
			if err != nil {
				yield("", fmt.Errorf("bbolt: undecided: %w", err))
				return
			}
			for _, name := range page {
				if !yield(name, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			from = append([]byte(page[len(page)-1]), 0)
		}
	}
}

// Decided lists Chosen records with an Index above after, in the order of Index, at most max.
func (s *Storage) Decided(after uint64, max int) (named []paxos.Named, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		if after == math.MaxUint64 {
			return nil
		}
		c := tx.Bucket(bucketIndex).Cursor()
		for key, name := c.Seek(indexKey(after + 1)); key != nil && len(named) < max; key, name = c.Next() {
			if len(key) != 8 {
				return fmt.Errorf("index of %q: it is damaged: %d bytes", name, len(key))
			}
			named = append(named, paxos.Named{Instance: string(name), Index: binary.BigEndian.Uint64(key)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("bbolt: decided: %w", err)
	}
	return named, nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// Save makes b durable, as a whole or not at all. It refuses what [paxos.Batch.Check] refuses, and an Index that another instance has.
// After any error the storage is dead: every later call fails.
func (s *Storage) Save(b paxos.Batch) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.RLock()
	err := s.err
	s.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("bbolt: save: %w", err)
	}
	err = b.Check(s.state)
	if err == nil {
		err = s.update(func(tx *bolt.Tx) error { return apply(tx, b) })
	}
	if err != nil {
		// The page cache may now hold what the disk does not, so no call may read it.
		s.mu.Lock()
		s.err = fmt.Errorf("dead since a Save failed: %w", err)
		s.mu.Unlock()
		return fmt.Errorf("bbolt: save: %w", err)
	}
	if b.Server != nil {
		s.state = *b.Server
	}
	return nil
}

func apply(tx *bolt.Tx, b paxos.Batch) error {
	if b.Server != nil {
		form, _ := b.Server.AppendBinary(make([]byte, 4, 256))
		if err := tx.Bucket(bucketServer).Put(keyState, seal(keyState, form)); err != nil {
			return err
		}
	}
	for _, r := range b.Drop {
		if err := drop(tx, r); err != nil {
			return err
		}
	}
	for _, r := range b.Records {
		if err := put(tx, r); err != nil {
			return fmt.Errorf("record %q: %w", r.Instance, err)
		}
	}
	return nil
}

// drop removes the records in r. It collects their names first, since a cursor may skip the key after a deleted one.
func drop(tx *bolt.Tx, r paxos.NameRange) error {
	var names []string
	c := tx.Bucket(bucketRecords).Cursor()
	for key, _ := c.Seek([]byte(r.From)); key != nil && bytes.Compare(key, []byte(r.To)) < 0; key, _ = c.Next() {
		names = append(names, string(key))
	}
	for _, name := range names {
		if err := unlist(tx, name); err != nil {
			return err
		}
		if err := tx.Bucket(bucketRecords).Delete([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// unlist removes a name from the list that its record is on, if there is a record.
func unlist(tx *bolt.Tx, name string) error {
	old, err := loadRecord(tx, name)
	if err != nil {
		return err
	}
	if old.Chosen {
		return tx.Bucket(bucketIndex).Delete(indexKey(old.Index))
	}
	return tx.Bucket(bucketUndecided).Delete([]byte(name))
}

// put adds or replaces a record. bbolt keeps the slices until the transaction ends.
func put(tx *bolt.Tx, r paxos.Record) error {
	if err := unlist(tx, r.Instance); err != nil {
		return err
	}
	key := []byte(r.Instance)
	form, _ := r.AppendBinary(make([]byte, 4, len(key)+len(r.Acceptor.Value)+64))
	if err := tx.Bucket(bucketRecords).Put(key, seal(key, form)); err != nil {
		return err
	}
	if !r.Chosen {
		return tx.Bucket(bucketUndecided).Put(key, nil)
	}
	index := tx.Bucket(bucketIndex)
	if other := index.Get(indexKey(r.Index)); other != nil {
		return fmt.Errorf("Index: %d is that of %q", r.Index, other)
	}
	return index.Put(indexKey(r.Index), key)
}
