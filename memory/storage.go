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
	"github.com/singledecree/paxos/internal/tables"
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
// A Save of n records takes time in proportion to n, however many records are stored, and however many names a NameRange in
// Drop has. Those are gone at once. Their memory is given back by this Save and the following ones: each looks at up to 2,048
// records, which takes a millisecond or two. The order of Undecided depends on nothing but the Saves, so a run can be repeated.
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
	undo  []memoryUndo // the changes of the running Save, oldest first; empty between Saves
	lates []memoryLate // of records that the running Save has put into a dropped range, oldest first; empty between Saves
	slice int          // how many records a Save looks at to sweep dropped ones
}

// A memoryLate tells how to take back what drops knows of one record.
type memoryLate struct {
	at     uint32
	before uint64
}

// memorySlice is how many records a Save looks at to sweep dropped ones.
const memorySlice = 2048

// A memoryUndo tells how to take back one step of a Save.
type memoryUndo struct {
	old  memoryRecord // the record before the step; unused if the step added it
	at   uint32       // where it is
	step memoryStep
}

type memoryStep uint8

const (
	memoryAdded memoryStep = iota
	memoryReplaced
	memoryDisplaced // it was dropped, and has lost its Index to another
)

// errOverlap is the error of a Save that begins while another runs.
var errOverlap = errors.New("Save: another Save is running: there must be one at a time")

// NewStorage returns an empty storage, ready for [paxos.Format].
func NewStorage() *Storage {
	s := &Storage{memoryRecords: memoryRecords{seed: maphash.MakeSeed()}, slice: memorySlice}
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
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.names.FetchNames(s.seed, names)
}

// Load returns the record of an instance, or the zero Record if there is none. It never fails.
func (s *Storage) Load(instance string) (paxos.Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.find(s.hash(instance), instance)
	if !ok || s.drops.Has(at, instance) {
		return paxos.Record{}, nil
	}
	return s.record(at).export(), nil
}

// Self returns s: see [paxos.PromptStorage].
func (s *Storage) Self() paxos.Storage { return s }

// SavesAtOnce says that Save waits for nothing: see [paxos.InstantStorage].
func (s *Storage) SavesAtOnce() {}

// LoadNow returns the record that Load returns, and true.
func (s *Storage) LoadNow(instance string) (rec paxos.Record, ok bool) {
	rec, _ = s.Load(instance)
	return rec, true
}

// DecidedNow returns the decisions that Decided returns. ok is false if Decided has to pass thousands of records that were
// dropped just now.
func (s *Storage) DecidedNow(after uint64, max int) (named []paxos.Named, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	named, _, more := s.listDecided(after, max)
	if more {
		return nil, false
	}
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
	before := s.drops.State()
	err := s.apply(b)
	if err != nil {
		s.rollback(before)
		err = s.die(err)
	}
	s.forget()
	if err == nil && s.drops.Pending() {
		s.removeOnes(b.Drop)
		s.sweep(s.slice)
	}
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
	names := make([]string, 0, len(s.undecided))
	for _, at := range s.undecided {
		if name := s.record(at).name; !s.drops.Has(at, name) {
			names = append(names, name)
		}
	}
	return names
}

// Decided lists Chosen records with an Index above after, in the order of Index, at most max of them. It lists none if max
// is not positive. Its time is in proportion to the length of the list and to the logarithm of all records. It never fails.
func (s *Storage) Decided(after uint64, max int) ([]paxos.Named, error) {
	var p memoryPage
	p.begin(after, max, 0)
	for p.more {
		s.turn(&p, after, max)
	}
	return p.named, nil
}

// A memoryPage is a list of decisions that is made in pieces, between which Saves go on.
type memoryPage struct {
	named   []paxos.Named
	next    uint64 // it goes on above
	most    int    // with so many
	more    bool
	listing uint64 // as it was when the list began
}

func (p *memoryPage) begin(after uint64, most int, listing uint64) {
	*p = memoryPage{named: p.named[:0], next: after, most: most, more: true, listing: listing}
}

// turn adds a piece to p. If a Save since the first piece has changed more than the end of the list, p begins anew: it must
// not have half of a Save.
func (s *Storage) turn(p *memoryPage, after uint64, most int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p.listing != s.listing {
		p.begin(after, most, s.listing)
	}
	named, next, more := s.listDecided(p.next, p.most)
	if p.named == nil {
		p.named = named
	} else {
		p.named = append(p.named, named...)
	}
	p.next, p.most, p.more = next, p.most-len(named), more
}

// apply carries out b, and notes in undo how to take it back. On an error it stops half-way.
func (s *Storage) apply(b paxos.Batch) error {
	if err := b.Check(s.state); err != nil {
		return err
	}
	if len(b.Drop) > 0 {
		s.drops.Add(b.Drop)
		s.listing++
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

// removeOnes removes the records of those ranges that have one name. So a sweep need not look for them.
func (s *Storage) removeOnes(ranges []paxos.NameRange) {
	for _, r := range ranges {
		name, one := r.One()
		if !one {
			continue
		}
		if at, ok := s.find(s.hash(name), name); ok && s.drops.Has(at, name) {
			s.remove(at)
		}
		s.drops.Done(r)
	}
}

// put adds or replaces one record.
func (s *Storage) put(hash uint64, r *paxos.Record) error {
	at, known := s.find(hash, r.Instance)
	if !known {
		if err := s.takeIndex(r.Index); err != nil {
			return err
		}
		step := uint32(len(s.undo))
		s.note(s.n, memoryAdded)
		s.add(hash, &memoryRecord{name: r.Instance, acceptor: r.Acceptor, index: r.Index, step: step})
		s.noteLate(s.n-1, r.Instance)
		return nil
	}
	old := s.record(at)
	if s.touched(at, old.step) {
		return errors.New("Instance: it is in the Batch twice")
	}
	if s.drops.Has(at, r.Instance) {
		s.noteLate(at, r.Instance)
	} else if err := checkSuccessor(old, r); err != nil {
		return err
	}
	if r.Index != old.index {
		if err := s.takeIndex(r.Index); err != nil {
			return err
		}
	}
	step := uint32(len(s.undo))
	s.note(at, memoryReplaced).old = *old
	old.step = step
	s.replace(at, &r.Acceptor, r.Index)
	return nil
}

// noteLate notes that the record at this place, of that name, is later than all drops.
func (s *Storage) noteLate(at uint32, name string) {
	if s.drops.Pending() {
		s.lates = append(s.lates, memoryLate{at, s.drops.Put(at, name)})
	}
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
	return int(step) < len(s.undo) && s.undo[step].at == at && s.undo[step].step != memoryDisplaced
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

// takeIndex returns an error if an instance has this Index already. If it is a dropped one, takeIndex takes the Index from it.
// No instance has Index 0.
func (s *Storage) takeIndex(index uint64) error {
	at, ok := s.order.Get(index)
	if !ok {
		return nil
	}
	old := s.record(at)
	if !s.drops.Has(at, old.name) {
		return fmt.Errorf("Index: %d is that of %q", index, old.name)
	}
	s.note(at, memoryDisplaced).old = *old
	s.replace(at, &old.acceptor, 0)
	return nil
}

// rollback takes back the changes of the running Save, the latest step first. So each record is at its old place again when
// its step is taken back.
func (s *Storage) rollback(before tables.State) {
	for _, l := range slices.Backward(s.lates) {
		s.drops.Unput(l.at, l.before)
	}
	s.drops.Back(before)
	for i := range slices.Backward(s.undo) {
		switch u := &s.undo[i]; u.step {
		case memoryAdded:
			s.remove(u.at)
		case memoryReplaced, memoryDisplaced:
			s.replace(u.at, &u.old.acceptor, u.old.index)
		}
	}
}

// forget empties undo. So undo keeps no string alive, and no more room than a common Save needs.
func (s *Storage) forget() {
	const most = 1 << 14
	if cap(s.undo) > most {
		s.undo = nil
	}
	if cap(s.lates) > most {
		s.lates = nil
	}
	clear(s.undo)
	s.undo, s.lates = s.undo[:0], s.lates[:0]
}

// quoteShort quotes v for people, cut to what fits a line.
func quoteShort(v paxos.Value) string {
	const most = 64
	if len(v) <= most {
		return fmt.Sprintf("%q", string(v))
	}
	return fmt.Sprintf("%q… (%d bytes)", string(v[:most]), len(v))
}
