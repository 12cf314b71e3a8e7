package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/singledecree/paxos"
)

var _ paxos.Storage = (*Storage)(nil)

// view reads, unless the storage is dead or closed.
func (s *Storage) view(f func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.err != nil {
		return s.err
	}
	return guard(f)
}

// Server returns the state last saved, or the zero ServerState if there is none.
func (s *Storage) Server() (state paxos.ServerState, err error) {
	err = s.view(func() (err error) {
		state, err = loadState(s.db)
		return err
	})
	if err != nil {
		return paxos.ServerState{}, fmt.Errorf("pebble: %w", err)
	}
	return state, nil
}

// Load returns the record of an instance, or the zero Record if there is none.
func (s *Storage) Load(instance string) (r paxos.Record, err error) {
	err = s.view(func() (err error) {
		r, err = loadRecord(s.db, instance)
		return err
	})
	if err != nil {
		return paxos.Record{}, fmt.Errorf("pebble: load %q: %w", instance, err)
	}
	return r, nil
}

// Undecided lists the names of the records that are not Chosen, in byte order. It reads them in pages, so that the loop holds up nothing.
func (s *Storage) Undecided() iter.Seq2[string, error] {
	const pageSize = 1024
	return func(yield func(string, error) bool) {
		from := []byte{kindUndecided}
		for {
			var page []string
			err := s.view(func() error {
				return scan(s.db, from, []byte{kindUndecided + 1}, func(key, _ []byte) (bool, error) {
					page = append(page, string(key[1:]))
					return len(page) < pageSize, nil
				})
			})
			if err != nil {
				yield("", fmt.Errorf("pebble: undecided: %w", err))
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
			from = append(key(kindUndecided, page[len(page)-1]), 0)
		}
	}
}

// Decided lists Chosen records with an Index above after, in the order of Index, at most max.
func (s *Storage) Decided(after uint64, max int) (named []paxos.Named, err error) {
	err = s.view(func() error {
		if after == math.MaxUint64 || max <= 0 {
			return nil
		}
		return scan(s.db, indexKey(after+1), []byte{kindIndex + 1}, func(key, name []byte) (bool, error) {
			if len(key) != 9 {
				return false, fmt.Errorf("index of %q: it is damaged: %d bytes", name, len(key)-1)
			}
			named = append(named, paxos.Named{Instance: string(name), Index: binary.BigEndian.Uint64(key[1:])})
			return len(named) < max, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("pebble: decided: %w", err)
	}
	return named, nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64([]byte{kindIndex}, index) }

// Save makes b durable, as a whole or not at all. It refuses what [paxos.Batch.Check] refuses, and an Index that another instance has.
// After any error the storage is dead: every later call fails.
func (s *Storage) Save(b paxos.Batch) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.RLock()
	err := s.err
	s.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("pebble: save: %w", err)
	}
	err = b.Check(s.state)
	if err == nil {
		err = guard(func() error { return s.commit(b) })
	}
	if err != nil {
		// The database may now show what the disk does not hold, so no call may read it.
		s.mu.Lock()
		s.err = fmt.Errorf("dead since a Save failed: %w", err)
		s.mu.Unlock()
		return fmt.Errorf("pebble: save: %w", err)
	}
	if b.Server != nil {
		s.state = *b.Server
	}
	return nil
}

func (s *Storage) commit(b paxos.Batch) error {
	batch := s.db.NewIndexedBatch() // each step sees the changes of those before it
	if err := fill(batch, b); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	return batch.Close()
}

func fill(batch *pebble.Batch, b paxos.Batch) error {
	if b.Server != nil {
		form, _ := b.Server.AppendBinary(nil)
		if err := batch.Set([]byte{kindState}, form, nil); err != nil {
			return err
		}
	}
	for _, r := range b.Drop {
		if err := drop(batch, r); err != nil {
			return err
		}
	}
	for _, r := range b.Records {
		if err := put(batch, r); err != nil {
			return fmt.Errorf("record %q: %w", r.Instance, err)
		}
	}
	return nil
}

// drop removes the records in r.
func drop(batch *pebble.Batch, r paxos.NameRange) error {
	if r.From >= r.To {
		return nil
	}
	var decided []uint64
	low, high := key(kindRecord, r.From), key(kindRecord, r.To)
	err := scan(batch, low, high, func(key, value []byte) (bool, error) {
		var old paxos.Record
		if err := old.UnmarshalBinary(value); err != nil {
			return false, fmt.Errorf("record %q: %w", key[1:], err)
		}
		if old.Chosen {
			decided = append(decided, old.Index)
		}
		return true, nil
	})
	for _, index := range decided {
		err = errors.Join(err, batch.Delete(indexKey(index), nil))
	}
	return errors.Join(err, batch.DeleteRange(low, high, nil),
		batch.DeleteRange(key(kindUndecided, r.From), key(kindUndecided, r.To), nil))
}

// put adds or replaces a record.
func put(batch *pebble.Batch, r paxos.Record) error {
	old, err := loadRecord(batch, r.Instance)
	if err != nil {
		return err
	}
	if old.Chosen && old.Index != r.Index {
		err = batch.Delete(indexKey(old.Index), nil)
	}
	form, _ := r.AppendBinary(nil)
	err = errors.Join(err, batch.Set(key(kindRecord, r.Instance), form, nil))
	if !r.Chosen {
		return errors.Join(err, batch.Set(key(kindUndecided, r.Instance), nil, nil))
	}
	_, taken := get(batch, indexKey(r.Index), func(name []byte) error {
		if string(name) != r.Instance {
			return fmt.Errorf("Index: %d is that of %q", r.Index, name)
		}
		return nil
	})
	if old != (paxos.Record{}) && !old.Chosen {
		err = errors.Join(err, batch.Delete(key(kindUndecided, r.Instance), nil))
	}
	return errors.Join(err, taken, batch.Set(indexKey(r.Index), []byte(r.Instance), nil))
}
