package paxos

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// A Record is what a server remembers of one instance on stable storage.
type Record struct {
	Instance string
	Acceptor Acceptor
	// Chosen says that the instance is decided. Acceptor.Value and Acceptor.Accepted are then the decision's, and are
	// never reported as a vote.
	Chosen bool
	// Index is the decision's place in this server's own order of decisions: from 1, rising, gaps allowed. Zero while
	// the instance is not decided.
	Index uint64
}

// Decision returns the decision of r; Chosen must hold. instance is the name, which r may lack.
func (r Record) Decision(instance string) Decision {
	return Decision{instance, r.Acceptor.Value, r.Acceptor.Accepted}
}

// A ServerState is what a server remembers of itself on stable storage. None of its numbers ever goes down.
type ServerState struct {
	Cluster string
	ID      ServerID
	Store   uint64 // random, made by Format: names this very storage
	Members string // the acceptors and the quorum that the server votes under, in words
	Boot    uint64 // starts so far
	Rounds  uint64 // no round above it was ever used
	Last    uint64 // no Index of a Record is above it
	// Pulled says up to which Index of which servers this one has their decisions, in words: "2/9f03/57,3/1c2/60" is of
	// server 2, on its storage 9f03 (hexadecimal), all up to 57. A server that starts asks for what came later only.
	Pulled string
	// Peers names the storage of each other server that this one has met, in words: "2/9f03,3/1c2" says that server 2 has the Store
	// 9f03 (hexadecimal). They stand in the order of ServerIDs. None is ever taken back or changed: a server with another Store has lost
	// its disk, and is refused for ever. At most 38 bytes for each server ever met.
	Peers string
}

// Check returns an error that says what differs, unless s is the state of a formatted storage of server id, which votes under exactly
// the Members m. A server that was stopped under 3 acceptors and started under 5 would decide twice.
func (s ServerState) Check(id ServerID, m Members) error {
	switch {
	case s == (ServerState{}):
		return fmt.Errorf("storage is not formatted: call Format once in a server's life; if this server has run before, its storage is lost and its ServerID is finished")
	case s.Cluster != m.Cluster:
		return fmt.Errorf("storage belongs to cluster %q, Members.Cluster is %q", s.Cluster, m.Cluster)
	case s.ID != id:
		return fmt.Errorf("storage belongs to server %d, not to server %d", s.ID, id)
	case !m.Has(s.ID):
		return fmt.Errorf("storage belongs to server %d, which is not in Members", s.ID)
	case s.Members != m.Voters():
		return fmt.Errorf("storage votes under acceptors %s, Members says %s: a change of members needs a new cluster", s.Members, m.Voters())
	}
	return nil
}

// A NameRange is the instance names From <= name < To, in byte order.
type NameRange struct{ From, To string }

// A Batch is what one Save makes durable, all or nothing.
type Batch struct {
	Server  *ServerState // nil: unchanged
	Drop    []NameRange  // records that go, before Records are put
	Records []Record     // records that replace earlier ones of the same name; a name occurs at most once
}

// Clone returns a copy of b that shares nothing with it which could change.
func (b Batch) Clone() Batch {
	if b.Server != nil {
		state := *b.Server
		b.Server = &state
	}
	b.Drop, b.Records = slices.Clone(b.Drop), slices.Clone(b.Records)
	return b
}

// A Named is a decided instance and its Index.
type Named struct {
	Instance string
	Index    uint64
}

// A Storage is the stable storage of one server (S3). Safety rests on it: what Save has returned nil for must be there
// after any crash, and for as long as the server exists.
//
// One Save runs at a time; the other methods may run beside it and beside each other. What the readers return already
// survives loss of power. Arguments belong to the caller again when a method returns; nothing of a Batch is kept.
//
// A read may take its time, or hang as on a disk that does not answer. It then holds up the instance that it is about, and no other
// call, context, Status or Close. A Node has 16 reads run at a time for its instances, and as many more as hang for over 100 ms, up
// to 256 in all. A storage that answers some reads from memory says so as a [PromptStorage].
//
// The caller of Start closes what it opened, after Node.Close. From then on every call is an error.
//
// Package paxostest checks implementations.
type Storage interface {
	// Server returns the state last saved, or the zero ServerState if the storage was never formatted.
	Server() (ServerState, error)
	// Load returns the record of an instance, or the zero Record if there is none; that answer must be cheap. An error
	// never means "none".
	Load(instance string) (Record, error)
	// Save makes b durable, all or nothing: nil means that it survives loss of power. After an error the storage is
	// dead, and every later Save fails. A Batch whose Server takes something back is an error: Boot, Rounds or Last that
	// goes down, another Cluster, ID or Store, a Store in Peers that is gone or another. So is a Record whose Index is above
	// the Last that b leaves, and Start refuses a storage that holds one. Batch.Check finds these.
	//
	// Names, values and numbers come as they are in Records: a name has 1 to MaxName bytes, a value up to Limits.MaxValue and
	// any bytes, rounds and ServerIDs are any uint64, and so is the Index of a Chosen Record, from 1 to 2^64-1, with gaps. A
	// batch has up to about Limits.MaxBatch bytes, or one record.
	Save(b Batch) error
	// Undecided lists the names of the records that are not Chosen, in any order. An error ends the list. A Save may run
	// while the list does: what it changes is listed or not, all else is.
	Undecided() iter.Seq2[string, error]
	// Decided lists Chosen records with an Index above after, in the order of Index, at most max. Fewer than max means
	// that there are no more now. after is any uint64, of a decision here or not. max is any int from 0 up to 2^63-1, which
	// asks for all: so it is no size to make room for. The values come from Load. The result is the caller's.
	Decided(after uint64, max int) ([]Named, error)
}

// A PromptStorage is a Storage that can answer some reads at once, from memory. Having these methods is optional. A Node makes such
// reads where it stands; all others run in goroutines of their own, which costs some microseconds each. Calls of these methods run
// beside each other and beside all others.
type PromptStorage interface {
	Storage
	// Self returns the Storage whose methods these are. A type that embeds a PromptStorage has its methods too, and may have another
	// Load: a Node uses LoadNow and DecidedNow only if Self returns the very Storage that it was given.
	Self() Storage
	// LoadNow returns what Load would return without an error. ok is false if Load has to be called. It never waits for a disk, nor
	// for a Save that does. It should know at once which instances have no record.
	LoadNow(instance string) (rec Record, ok bool)
	// DecidedNow returns what Decided would return, under the same rules.
	DecidedNow(after uint64, max int) (named []Named, ok bool)
}

// An InstantStorage is a PromptStorage with a Save that returns at once, as in memory: it waits for no disk, no network and no lock that is
// held for long. Being one is optional. A Node calls such a Save where it stands, and not in a goroutine of its own.
type InstantStorage interface {
	PromptStorage
	// SavesAtOnce does nothing: it says that Save returns at once. A Node believes it only if Self returns the very Storage that it was
	// given.
	SavesAtOnce()
}

// An ExpectingStorage is a PromptStorage that gains from knowing which records are about to be loaded. Being one is optional.
type ExpectingStorage interface {
	PromptStorage
	// Expect says that LoadNow is about to be called for these names. It changes no answer, and keeps no hold of the slice. A Node calls
	// it only if Self returns the very Storage that it was given.
	Expect(names []string)
}

// Format makes s, which must be empty, the storage of server id of the cluster m. It is done once in a server's life, by
// an explicit act, since a server whose storage was lost must not vote again under its ServerID: it would have forgotten
// its promises. A Format that failed left s empty or formatted.
func Format(s Storage, id ServerID, m Members) error {
	if s == nil {
		return errors.New("paxos: format: storage is nil")
	}
	var store [8]byte
	rand.Read(store[:])
	state, err := FirstState(id, m, binary.LittleEndian.Uint64(store[:])|1)
	if err != nil {
		return err
	}
	if err := checkEmpty(s); err != nil {
		return fmt.Errorf("paxos: format: %w", err)
	}
	if err := s.Save(Batch{Server: &state}); err != nil {
		return fmt.Errorf("paxos: format: %w", err)
	}
	return nil
}

// FirstState returns the ServerState that Format saves: for a host of a Replica that keeps its state elsewhere than in a Storage. store is
// a random number that no other storage of the cluster has or had, and not 0.
func FirstState(id ServerID, m Members, store uint64) (ServerState, error) {
	if err := m.Check(); err != nil {
		return ServerState{}, fmt.Errorf("paxos: format: %w", err)
	}
	if !m.Has(id) {
		return ServerState{}, fmt.Errorf("paxos: format: server %d is not a member of %s", id, m)
	}
	if store == 0 {
		return ServerState{}, errors.New("paxos: format: Store: 0 is not a valid one")
	}
	return ServerState{Cluster: m.Cluster, ID: id, Store: store, Members: m.Voters()}, nil
}

// checkEmpty returns an error that says whose storage s is, unless it is empty.
func checkEmpty(s Storage) error {
	state, err := s.Server()
	if err != nil {
		return err
	}
	if state != (ServerState{}) {
		return fmt.Errorf("the storage belongs to server %d of cluster %q already", state.ID, state.Cluster)
	}
	for name, err := range s.Undecided() {
		if err != nil {
			return err
		}
		return fmt.Errorf("the storage is not empty: it holds %q", name)
	}
	decided, err := s.Decided(0, 1)
	if err != nil {
		return err
	}
	if len(decided) > 0 {
		return fmt.Errorf("the storage is not empty: it holds %q", decided[0].Instance)
	}
	return nil
}
