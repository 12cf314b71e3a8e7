// Package memory has a storage, a network and whole clusters in one process: for trials, examples and tests.
//
// [Cluster] starts servers that vote and hold everything in memory. [NewStorage] and [NewNetwork] make the parts. All that they
// hold ends with the process, so a cluster that must survive needs a storage on disk, such as package wal.
package memory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// A Storage is a [paxos.Storage] in memory. It survives the stop and the start of a Node in one process, and nothing else.
// It is for tests, examples and servers that may lose everything at once.
//
// A server that lost its Storage has forgotten its promises. It must not vote again under its ServerID. If a quorum of
// servers loses its memory, the decisions of the cluster are lost.
//
// It holds the live records and little more: about 120 bytes for each, and the strings of its name and its value. It shares
// those strings with the Batch that brought them. There is no other limit than memory.
//
// A Save of n records takes time in proportion to n, however many records are stored. Only a NameRange in Drop costs more: a
// pass over all records. The order of Undecided depends on nothing but the Saves, so a run can be repeated.
//
// Save refuses a Batch that no correct server asks for. Its error names the field and the instance. Nothing of the Batch is
// visible then, and the storage is dead, as after any error of a Save. Readers still see the earlier Saves; later Saves
// fail. Save refuses:
//
//   - a second Save while one runs (the running one is not affected);
//   - a ServerState with a lower number than the saved one, or with another Cluster, ID or Store;
//   - a Record without a name, or two Records of one name in a Batch;
//   - a Record that is Chosen without an Index, or has an Index and is not Chosen, or has the Index of another instance;
//   - a Record that is not Chosen and has Accepted above Promised;
//   - a Record that is not Chosen, with a lower Promised or Accepted than the saved one;
//   - a Record with another Value for the same Accepted;
//   - a Record with another Value for a decided instance, or of a decided instance that is no longer Chosen;
//   - a Record that is not forgotten, of an instance that is.
//
// The last four compare a Record with the saved one. They do not apply to a name that was dropped before, or is in Drop of
// the same Batch. A forgotten Record may take the place of any other.
//
// It is a [paxos.PromptStorage] that answers every read at once.
//
// Its methods are safe for concurrent use, as [paxos.Storage] asks. Server, Load, Undecided and Decided never fail. It needs
// no Close.
type Storage struct {
	saving atomic.Bool           // a Save is under way
	dead   atomic.Pointer[error] // the error of the first Save that failed; nil: none has

	mu    sync.RWMutex // guards the fields below; the one Save that runs holds it to its end
	state paxos.ServerState
	memoryRecords
	undo []memoryUndo // the changes of the running Save, oldest first; empty between Saves
}

// A memoryUndo tells how to take back one step of a Save.
type memoryUndo struct {
	old  memoryRecord // the record before the step; unused if the step added it
	at   uint32       // where it is; unused if the step dropped the record
	step memoryStep
}

type memoryStep uint8

const (
	memoryAdded memoryStep = iota
	memoryReplaced
	memoryDropped
)

// errOverlap is the error of a Save that begins while another runs.
var errOverlap = errors.New("Save: another Save is running: there must be one at a time")

// NewStorage returns an empty storage, ready for [paxos.Format].
func NewStorage() *Storage {
	s := &Storage{memoryRecords: memoryRecords{seed: maphash.MakeSeed()}}
	s.names.Remember()
	return s
}

// Server returns the state last saved, or the zero ServerState if there is none. It never fails.
func (s *Storage) Server() (paxos.ServerState, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state, nil
}

// Expect brings the table entries of these names into the processor's caches, for calls of LoadNow that follow: see
// [paxos.ExpectingStorage].
func (s *Storage) Expect(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetchNames(names)
}

// Load returns the record of an instance, or the zero Record if there is none. It never fails.
func (s *Storage) Load(instance string) (paxos.Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.find(s.hash(instance), instance)
	if !ok {
		return paxos.Record{}, nil
	}
	return s.record(at).export(), nil
}

// Self returns s: see [paxos.PromptStorage].
func (s *Storage) Self() paxos.Storage { return s }

// SavesAtOnce says that Save waits for nothing: see [paxos.InstantStorage].
func (s *Storage) SavesAtOnce() {}

// LoadNow returns the record that Load returns. ok is always true.
func (s *Storage) LoadNow(instance string) (rec paxos.Record, ok bool) {
	rec, _ = s.Load(instance)
	return rec, true
}

// DecidedNow returns the decisions that Decided returns. ok is always true.
func (s *Storage) DecidedNow(after uint64, max int) (named []paxos.Named, ok bool) {
	named, _ = s.Decided(after, max)
	return named, true
}

// Save puts b into memory, all or nothing. [Storage] lists the Batches that it refuses, and the consequences.
func (s *Storage) Save(b paxos.Batch) error {
	if !s.saving.CompareAndSwap(false, true) {
		return s.die(errOverlap)
	}
	defer s.saving.Store(false)
	if err := s.dead.Load(); err != nil {
		return fmt.Errorf("paxos: memory storage: dead since a Save failed: %w", *err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.apply(b)
	if err != nil {
		s.rollback()
		err = s.die(err)
	}
	s.forget()
	return err
}

// die makes the storage dead because of err, unless it is dead already. It returns the error for the Save that failed.
func (s *Storage) die(err error) error {
	s.dead.CompareAndSwap(nil, &err)
	return fmt.Errorf("paxos: memory storage: %w", err)
}

// Undecided lists the names of the records that are not Chosen when the loop over it begins. It takes time and memory in
// proportion to their number. It holds no lock while the loop runs, and never fails. It may be used any number of times.
func (s *Storage) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range s.undecidedNames() {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (s *Storage) undecidedNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, len(s.undecided))
	for i, at := range s.undecided {
		names[i] = s.record(at).name
	}
	return names
}

// Decided lists Chosen records with an Index above after, in the order of Index, at most max of them. It lists none if max
// is not positive. Its time is in proportion to the length of the list and to the logarithm of all records. It never fails.
func (s *Storage) Decided(after uint64, max int) ([]paxos.Named, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	runs, n := s.order.Above(after, max)
	if n == 0 {
		return nil, nil
	}
	named := make([]paxos.Named, 0, n)
	for _, run := range runs {
		for _, p := range run {
			named = append(named, paxos.Named{Instance: s.record(p.At).name, Index: p.Index})
		}
	}
	return named, nil
}

// apply carries out b, and notes in undo how to take it back. On an error it stops half-way.
func (s *Storage) apply(b paxos.Batch) error {
	if err := b.Check(s.state); err != nil {
		return err
	}
	for _, r := range b.Drop {
		s.drop(r)
	}
	s.undo = slices.Grow(s.undo, len(b.Records))
	s.fetch(b.Records)
	for i := range b.Records {
		if err := s.put(s.hashes[i], &b.Records[i]); err != nil {
			return fmt.Errorf("Record %q: %w", b.Records[i].Instance, err)
		}
	}
	if b.Server != nil {
		s.state = *b.Server
	}
	return nil
}

// drop removes the records in r. It looks at every record, as they are in no order of names.
func (s *Storage) drop(r paxos.NameRange) {
	for at := uint32(0); at < s.n; {
		rec := s.record(at)
		if rec.name < r.From || rec.name >= r.To {
			at++
			continue
		}
		s.note(0, memoryDropped).old = *rec
		s.remove(at) // the last record is at this place now
	}
}

// put adds or replaces one record.
func (s *Storage) put(hash uint64, r *paxos.Record) error {
	step := uint32(len(s.undo))
	at, known := s.find(hash, r.Instance)
	if !known {
		if err := s.checkIndex(r.Index); err != nil {
			return err
		}
		s.note(s.n, memoryAdded)
		s.add(hash, &memoryRecord{name: r.Instance, acceptor: r.Acceptor, index: r.Index, step: step})
		return nil
	}
	old := s.record(at)
	if s.touched(at, old.step) {
		return errors.New("Instance: it is in the Batch twice")
	}
	if err := checkSuccessor(old, r); err != nil {
		return err
	}
	if r.Index != old.index {
		if err := s.checkIndex(r.Index); err != nil {
			return err
		}
	}
	s.note(at, memoryReplaced).old = *old
	old.step = step
	s.replace(at, &r.Acceptor, r.Index)
	return nil
}

// note adds a step to undo; the caller sets its old record. The entries beyond the end of undo are zero.
func (s *Storage) note(at uint32, step memoryStep) *memoryUndo {
	end := len(s.undo)
	s.undo = slices.Grow(s.undo, 1)[:end+1]
	u := &s.undo[end]
	u.at, u.step = at, step
	return u
}

// touched reports whether the running Save has put the record at this place, in that step. The number of a step is of the
// Save that noted it. In a later Save the same number is beyond the end of undo, or is a step of another record.
func (s *Storage) touched(at, step uint32) bool {
	return int(step) < len(s.undo) && s.undo[step].at == at && s.undo[step].step != memoryDropped
}

// checkSuccessor returns an error if r takes back something of old, and nil otherwise.
func checkSuccessor(old *memoryRecord, r *paxos.Record) error {
	was, is := &old.acceptor, &r.Acceptor
	decided := old.index != 0
	switch {
	case is.Promised.IsForgotten() && r.Chosen:
		return nil
	case was.Promised.IsForgotten():
		return errors.New("Promised: the instance is forgotten, and that is for ever")
	case was.Accepted == is.Accepted && !is.Accepted.IsZero() && was.Value != is.Value:
		return fmt.Errorf("Value: %s after %s, both accepted in %s", quoteShort(is.Value), quoteShort(was.Value), is.Accepted)
	case decided && !r.Chosen:
		return errors.New("Chosen: false after true: a decision is for ever")
	case decided && was.Value != is.Value:
		return fmt.Errorf("Value: %s after %s, which was chosen", quoteShort(is.Value), quoteShort(was.Value))
	case r.Chosen:
		return nil
	case is.Promised.Less(was.Promised):
		return fmt.Errorf("Promised: %s after %s: it never goes down", is.Promised, was.Promised)
	case is.Accepted.Less(was.Accepted):
		return fmt.Errorf("Accepted: %s after %s: it never goes down", is.Accepted, was.Accepted)
	}
	return nil
}

// checkIndex returns an error if an instance has this Index already. No instance has Index 0.
func (s *Storage) checkIndex(index uint64) error {
	if at, ok := s.order.Get(index); ok {
		return fmt.Errorf("Index: %d is that of %q", index, s.record(at).name)
	}
	return nil
}

// rollback takes back the changes of the running Save, the latest step first. So each record is at its old place again when
// its step is taken back.
func (s *Storage) rollback() {
	for i := range slices.Backward(s.undo) {
		switch u := &s.undo[i]; u.step {
		case memoryAdded:
			s.remove(u.at)
		case memoryReplaced:
			s.replace(u.at, &u.old.acceptor, u.old.index)
		case memoryDropped:
			s.add(s.hash(u.old.name), &u.old)
		}
	}
}

// forget empties undo. So undo keeps no string alive, and no more room than a common Save needs.
func (s *Storage) forget() {
	const most = 1 << 14
	if cap(s.undo) > most {
		s.undo = nil
	}
	clear(s.undo)
	s.undo = s.undo[:0]
}

// quoteShort quotes v for people, cut to what fits a line.
func quoteShort(v paxos.Value) string {
	const most = 64
	if len(v) <= most {
		return fmt.Sprintf("%q", string(v))
	}
	return fmt.Sprintf("%q… (%d bytes)", string(v[:most]), len(v))
}
