package paxostest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// ErrCrashed is the error of every call of a [CrashStorage] after its Crash.
var ErrCrashed = errors.New("paxostest: the storage has crashed")

// ErrDisk is the error of a call that a [Failure] without an Err hits.
var ErrDisk = errors.New("paxostest: input/output error")

// The operations of a Storage, for [Failure], Delay and Calls. OpAny means all of them.
const (
	OpAny       = ""
	OpServer    = "server"
	OpLoad      = "load"
	OpSave      = "save"
	OpUndecided = "undecided"
	OpDecided   = "decided"
)

// A Failure says which call of a [CrashStorage] fails, and how.
type Failure struct {
	Op  string // the calls that count: one of the Op constants
	Nth int    // which of those calls from now on, from 1; 0: the next
	Err error  // the error that it returns; nil: ErrDisk
	// Kept is for a Save. If set, its contents are durable although it returns an error. Otherwise nothing of it is durable.
	Kept bool
}

// A CrashStorage is a [paxos.Storage] in memory that crashes and fails on command. It does so as harshly as a Storage may. Data that was
// not saved is gone, a running Save leaves nothing at a crash, and after a failed Save no other one succeeds.
//
//	s := paxostest.NewCrashStorage()
//	…                 // Format, Start, work
//	s = s.Crash()     // the power goes: every call of the old s fails, and the new one holds what was saved
//	…                 // Close the Node, and Start another on s
//
// The methods of Storage are safe for concurrent use as far as paxos.Storage demands. All other methods are safe in any case.
type CrashStorage struct {
	inner *memory.Storage

	mu      sync.Mutex
	crashed chan struct{} // closed by a crash
	failing []Failure
	failed  bool          // a call has met a Failure
	hung    chan struct{} // closed when the disk answers again; nil: it answers
	delays  map[string]time.Duration
	calls   map[string]int
	batches []paxos.Batch
	running *paxos.Batch // the contents of the running Save
	dead    error        // why every Save fails from now on
}

// NewCrashStorage returns an empty storage, ready for [paxos.Format].
func NewCrashStorage() *CrashStorage { return nextLife(memory.NewStorage(), nil) }

// nextLife returns a storage that holds what inner holds.
func nextLife(inner *memory.Storage, batches []paxos.Batch) *CrashStorage {
	return &CrashStorage{inner: inner, crashed: make(chan struct{}), delays: map[string]time.Duration{}, calls: map[string]int{},
		batches: batches}
}

// Crash cuts the power. A running Save leaves nothing, and every running or later call on s returns [ErrCrashed]. Crash returns the
// storage of the server's next life: it holds everything that was saved, without the Delays and Failures of s. Crash panics if s has
// crashed already.
func (s *CrashStorage) Crash() *CrashStorage { return s.crash(false) }

// CrashKept is [CrashStorage.Crash], but the contents of a running Save are durable. Its caller does not learn that.
func (s *CrashStorage) CrashKept() *CrashStorage { return s.crash(true) }

func (s *CrashStorage) crash(keep bool) *CrashStorage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down() {
		panic("paxostest: Crash of a CrashStorage that has crashed")
	}
	if keep && s.running != nil {
		if err := s.apply(); err != nil {
			panic(err)
		}
	}
	close(s.crashed)
	return nextLife(s.inner, s.batches)
}

func (s *CrashStorage) down() bool {
	select {
	case <-s.crashed:
		return true
	default:
		return false
	}
}

// Fail makes a later call fail. After a failed Save the storage is dead: all later Saves fail, too.
func (s *CrashStorage) Fail(f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Nth = max(f.Nth, 1)
	if f.Err == nil {
		f.Err = ErrDisk
	}
	s.failing = append(s.failing, f)
}

// Delay sets how long each call of op takes from now on; OpAny sets it for all.
func (s *CrashStorage) Delay(op string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op == OpAny {
		for _, op := range []string{OpServer, OpLoad, OpSave, OpUndecided, OpDecided} {
			s.delays[op] = d
		}
		return
	}
	s.delays[op] = d
}

// Hang has every call hang, from now on, until [CrashStorage.Release] or a crash. A call that waits for its Delay hangs after that.
func (s *CrashStorage) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hung == nil {
		s.hung = make(chan struct{})
	}
}

// Release ends a Hang: calls that hang go on.
func (s *CrashStorage) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hung != nil {
		close(s.hung)
		s.hung = nil
	}
}

// hasFailed reports whether a call has met a Failure.
func (s *CrashStorage) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Calls returns how many calls of op there were on s; OpAny counts all.
func (s *CrashStorage) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Batches returns all batches that were ever saved, also before a Crash, in order. Do not change them.
func (s *CrashStorage) Batches() []paxos.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

// call counts a call, waits for as long as it takes, and returns the failure that it meets, if any.
func (s *CrashStorage) call(op string) (*Failure, error) {
	s.mu.Lock()
	s.calls[op]++
	s.calls[OpAny]++
	failure := s.hit(op)
	d := s.delays[op]
	s.mu.Unlock()
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.crashed:
		}
	}
	s.mu.Lock()
	hung := s.hung
	s.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-s.crashed:
		}
	}
	if s.down() {
		return nil, ErrCrashed
	}
	return failure, nil
}

// hit returns the Failure that this call of op meets, or nil.
func (s *CrashStorage) hit(op string) (found *Failure) {
	left := s.failing[:0]
	for _, f := range s.failing {
		if f.Op == op || f.Op == OpAny {
			f.Nth--
		}
		if f.Nth == 0 && found == nil {
			found, s.failed = &f, true
			continue
		}
		left = append(left, f)
	}
	s.failing = left
	return found
}

// read is a call that changes nothing.
func (s *CrashStorage) read(op string, f func() error) error {
	failure, err := s.call(op)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return failure.Err
	}
	return f()
}

// Server implements paxos.Storage.
func (s *CrashStorage) Server() (state paxos.ServerState, err error) {
	err = s.read(OpServer, func() (err error) { state, err = s.inner.Server(); return err })
	return state, err
}

// Load implements paxos.Storage.
func (s *CrashStorage) Load(instance string) (rec paxos.Record, err error) {
	err = s.read(OpLoad, func() (err error) { rec, err = s.inner.Load(instance); return err })
	return rec, err
}

// Undecided implements paxos.Storage.
func (s *CrashStorage) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := s.read(OpUndecided, func() error {
			s.inner.Undecided()(yield)
			return nil
		})
		if err != nil {
			yield("", err)
		}
	}
}

// Decided implements paxos.Storage.
func (s *CrashStorage) Decided(after uint64, most int) (named []paxos.Named, err error) {
	err = s.read(OpDecided, func() (err error) { named, err = s.inner.Decided(after, most); return err })
	return named, err
}

// Save implements paxos.Storage.
func (s *CrashStorage) Save(b paxos.Batch) error {
	if err := s.saveBegins(b); err != nil {
		return err
	}
	failure, err := s.call(OpSave)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.down() {
		err = ErrCrashed
	}
	if err == nil && (failure == nil || failure.Kept) {
		err = s.apply()
	}
	if err == nil && failure != nil {
		err = failure.Err
	}
	if err != nil && s.dead == nil {
		s.dead = fmt.Errorf("paxostest: an earlier Save failed: %w", err)
	}
	s.running = nil
	return err
}

// saveBegins notes a copy of b, which the running Save holds.
func (s *CrashStorage) saveBegins(b paxos.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.dead != nil:
		return s.dead
	case s.running != nil:
		return errors.New("paxostest: two Saves at once")
	}
	if b.Server != nil {
		state := *b.Server
		b.Server = &state
	}
	b.Drop, b.Records = slices.Clone(b.Drop), slices.Clone(b.Records)
	s.running = &b
	return nil
}

// apply makes the contents of the running Save durable.
func (s *CrashStorage) apply() error {
	err := s.inner.Save(*s.running)
	if err == nil {
		s.batches = append(s.batches, *s.running)
	}
	return err
}
