package paxos

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// A Record is the memory of a server of one instance, on stable storage.
type Record struct {
	Instance string
	Acceptor Acceptor
	// Chosen says that the instance is decided. Acceptor.Value and Acceptor.Accepted are then those of the decision. A server
	// never reports them as a vote.
	Chosen bool
	// Index is the place of the decision in this server's own order of decisions: from 1, rising, with gaps. It is zero while
	// the instance is not decided.
	Index uint64
}

// Decision returns the decision of r, of which Chosen must be true. instance is its name, because r may lack it.
func (r Record) Decision(instance string) Decision {
	return Decision{instance, r.Acceptor.Value, r.Acceptor.Accepted}
}

// A ServerState is the memory of a server of itself, on stable storage. None of its numbers ever goes down.
type ServerState struct {
	Cluster string
	ID      ServerID
	Store   uint64 // random, made by Format: it names this storage
	Members string // the acceptors and the quorum that the server votes under, in words
	Boot    uint64 // starts so far
	Rounds  uint64 // no round above it was ever used
	Last    uint64 // no Index of a Record is above it
	// Pulled says how far this server has the decisions of the others, in words. "2/9f03/57,3/1c2/60" says: of server 2, on its
	// storage 9f03 (hexadecimal), all decisions up to Index 57. A server that starts asks only for later ones.
	Pulled string
	// Peers names the storage of each other server that this one has met, in words. "2/9f03,3/1c2" says that server 2 has the
	// Store 9f03 (hexadecimal). Servers are in the order of their ServerIDs, with at most 38 bytes each. No entry is ever
	// removed or changed: a server with another Store has lost its disk, and is refused for ever.
	Peers string
	// Forgotten says how many records of forgotten ranges there may be: see ReadForgotten of package replica. It is above 0
	// if this server has forgotten anything.
	Forgotten uint64
	// Configuration is the text of the [Configuration] under which the server runs, with a number from 1 on. Members is then that
	// of its Voters. Empty: the server runs under configuration 0, with the acceptors and the quorum of Members. The number
	// never goes down, and one number never has two texts.
	Configuration string
	// Before is the text of the configuration before Configuration, while that change is not settled. Empty otherwise. It never
	// comes back under the same Configuration.
	Before string
	// Import says how far this server has taken over the memory of the acceptors before, in words. [ImportComplete] says that it
	// has all of it, and never changes under the same Configuration.
	Import string
	// Floor is the highest standing ballot that this server has promised: see [Floor]. It votes in no lower ballot for any ordinary
	// name. The zero Ballot: it has promised none.
	Floor Ballot
}

// ImportComplete is [ServerState].Import of a server that is complete for its Configuration.
const ImportComplete = "complete"

// Check returns nil if s is the state of a formatted storage of server id, and the [Members] m are what it votes under. Else
// the error says what differs. A server that was stopped under 3 acceptors and started under 5 could decide a second value.
//
// The acceptors and the quorum of m are exactly those of s.Members, or those of s.Before. After the first change of members the
// storage knows better than m, and so m need not have the server.
func (s ServerState) Check(id ServerID, m Members) error {
	switch {
	case s == (ServerState{}):
		return fmt.Errorf("storage is not formatted: call Format once in a server's life; if this server has run before, its storage is lost and its ServerID is finished")
	case s.Cluster != m.Cluster:
		return fmt.Errorf("storage belongs to cluster %q, Members.Cluster is %q", s.Cluster, m.Cluster)
	case s.ID != id:
		return fmt.Errorf("storage belongs to server %d, not to server %d", s.ID, id)
	case s.Configuration != "":
		return s.checkLater(m)
	case !m.Has(s.ID):
		return fmt.Errorf("storage belongs to server %d, which is not in Members", s.ID)
	case s.Members != m.Voters():
		return fmt.Errorf("storage votes under acceptors %s, Members says %s: a change of members needs a new cluster", s.Members, m.Voters())
	}
	return nil
}

// checkLater is Check for a state with a Configuration.
func (s ServerState) checkLater(m Members) error {
	c, before, err := s.configurations()
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	known := fmt.Sprintf("acceptors %s of configuration %d", c.Members.Voters(), c.Number)
	if s.Before != "" {
		if m.Voters() == before.Members.Voters() {
			return nil
		}
		known += fmt.Sprintf(" and %s of configuration %d", before.Members.Voters(), before.Number)
	}
	if m.Voters() == c.Members.Voters() {
		return nil
	}
	return fmt.Errorf("storage knows %s, Members says %s", known, m.Voters())
}

// configurations parses Configuration and Before. It returns the zero Configuration for an empty text. Else the error names
// the field that does not fit the others.
func (s ServerState) configurations() (c, before Configuration, err error) {
	if s.Configuration == "" {
		switch {
		case s.Before != "":
			err = errors.New("ServerState.Before: there is no Configuration that it is before")
		case s.Import != "":
			err = errors.New("ServerState.Import: there is no Configuration before that of Members")
		}
		return c, before, err
	}
	if c, err = ParseConfiguration(s.Configuration); err != nil {
		return c, before, fmt.Errorf("ServerState.Configuration: %w", err)
	}
	switch {
	case c.Number == 0:
		return c, before, errors.New("ServerState.Configuration: number 0: want it empty, because Members has configuration 0")
	case c.Members.Cluster != s.Cluster:
		return c, before, fmt.Errorf("ServerState.Configuration: of cluster %q, the server is of cluster %q", c.Members.Cluster, s.Cluster)
	case c.Members.Voters() != s.Members:
		return c, before, fmt.Errorf("ServerState.Members: %q, want %q as in Configuration", clip(s.Members), c.Members.Voters())
	case s.Before == "":
		return c, before, nil
	}
	if before, err = ParseConfiguration(s.Before); err != nil {
		return c, before, fmt.Errorf("ServerState.Before: %w", err)
	}
	switch {
	case before.Number+1 != c.Number:
		err = fmt.Errorf("ServerState.Before: configuration %d, want the one before configuration %d", before.Number, c.Number)
	case before.Fingerprint() != c.Before:
		err = fmt.Errorf("ServerState.Before: fingerprint %x, but that before configuration %d is %x", before.Fingerprint(), c.Number, c.Before)
	}
	return c, before, err
}

// A Batch is the input of one Save, which makes all of it durable or nothing.
type Batch struct {
	Server  *ServerState // nil: unchanged
	Drop    []NameRange  // records to remove, before Records are stored
	Records []Record     // each replaces an earlier one of the same name; a name occurs at most once
}

// Clone returns a copy of b. The two share nothing that could change.
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

// A Storage is the stable storage of one server (S3). Safety rests on it: a Batch for which Save returned nil must be there
// after any crash, for as long as the server exists.
//
// One Save runs at a time. The other methods may run beside it and beside each other. They return only what survives loss of
// power. When a method returns, its arguments belong to the caller again. A Storage keeps no part of a Batch.
//
// A read may be slow, or hang because the disk does not answer. It then delays its own instance, and no other call, context,
// Status or Close. A Node runs 16 reads of instances at a time. For each that has taken over 100 ms it runs one more, up to
// 256 in all. A storage that answers some reads from memory can be a [PromptStorage].
//
// The caller of node.Start closes the storage, after Node.Close. From then on every method returns an error.
//
// TestStorage of package paxostest checks an implementation.
type Storage interface {
	// Server returns the state that was saved last, or the zero ServerState if the storage was never formatted.
	Server() (ServerState, error)
	// Load returns the record of an instance, or the zero Record if there is none. The answer "none" must be cheap. An error
	// never means "none".
	Load(instance string) (Record, error)
	// Save makes b durable, all or nothing. Nil means that b survives loss of power. After an error the storage is dead, and
	// every later Save fails.
	//
	// Save refuses a Batch whose Server takes something back. That is a lower Boot, Rounds, Last or Floor, or another Cluster, ID or
	// Store. It is also a server in Peers that is gone or has another Store, and a Configuration that is gone or has a lower number
	// or another text. Save also refuses a Record whose Index is above the
	// Last that b leaves; node.Start refuses a storage that holds one. [Batch.Check] finds these errors.
	//
	// A name has 1 to [MaxName] bytes. A value has up to Limits.MaxValue bytes, of any content. The record of a range of forgotten
	// names has up to 2,053 bytes, whatever the limit is, and all of them that are new are in one batch. Rounds and ServerIDs may be
	// any uint64. The Index of a Chosen Record may be any number from 1 to 2^64-1, with gaps. A batch has up to about
	// Limits.MaxBatch bytes, or it has one record.
	Save(b Batch) error
	// Undecided lists the names of the records that are not Chosen, in any order. An error ends the list. A Save may run at the
	// same time. Records that it changes may or may not appear; all others do.
	Undecided() iter.Seq2[string, error]
	// Decided lists Chosen records with an Index above after, in the order of Index. It lists at most max of them. Fewer than
	// max mean that there are no more now. The argument after may be any uint64, also one that is no Index here. The argument
	// max may be any int from 0 to 2^63-1, which asks for all, so do not allocate room for max. The caller gets the values from
	// Load. The result is the caller's.
	Decided(after uint64, max int) ([]Named, error)
}

// A PromptStorage is a [Storage] that can answer some reads at once, from memory. These methods are optional. A Node makes such
// reads in its own goroutine. Each other read runs in another goroutine, which costs some microseconds. Calls of these methods
// may run beside each other, and beside calls of all other methods.
type PromptStorage interface {
	Storage
	// Self returns the Storage that has these methods. A type that embeds a PromptStorage also has them, and may have another
	// Load. So a Node uses LoadNow and DecidedNow only if Self returns the very Storage that it was given.
	Self() Storage
	// LoadNow returns the result of Load without an error. ok is false if Load has to be called. LoadNow never waits for a disk,
	// nor for a Save that waits for one. It should know at once which instances have no record.
	LoadNow(instance string) (rec Record, ok bool)
	// DecidedNow returns the result of Decided, under the same rules.
	DecidedNow(after uint64, max int) (named []Named, ok bool)
}

// An InstantStorage is a [PromptStorage] with a Save that returns at once, as in memory. Save waits for no disk, no network and
// no lock that is held for long. The method is optional. A Node calls such a Save in its own goroutine, not in another one.
type InstantStorage interface {
	PromptStorage
	// SavesAtOnce does nothing. It says that Save returns at once. A Node believes it only if Self returns the very Storage that
	// it was given.
	SavesAtOnce()
}

// An ExpectingStorage is a [PromptStorage] that is faster if it knows which records are about to be loaded. The method is
// optional.
type ExpectingStorage interface {
	PromptStorage
	// Expect says that LoadNow is about to be called for these names. It changes no answer, and does not keep the slice. A Node
	// calls it only if Self returns the very Storage that it was given.
	Expect(names []string)
}

// Format makes s the storage of server id of the cluster m. s must be empty. After an error s is empty or formatted.
//
// Call Format once in the life of a server, by an explicit act. A server whose storage was lost must not vote again under its
// ServerID, because it would have forgotten its promises.
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

// FirstState returns the [ServerState] that [Format] saves. It is for a host of a Replica that does not use a [Storage]. The
// argument store is a random number. It is not 0, and no other storage of the cluster has or had it.
func FirstState(id ServerID, m Members, store uint64) (ServerState, error) {
	if err := m.Check(); err != nil {
		return ServerState{}, fmt.Errorf("paxos: format: %w", err)
	}
	if !m.Has(id) {
		return ServerState{}, fmt.Errorf("paxos: format: server %d is not a member of %s", id, m)
	}
	if store == 0 {
		return ServerState{}, errors.New("paxos: format: Store: 0 is not valid")
	}
	return ServerState{Cluster: m.Cluster, ID: id, Store: store, Members: m.Voters()}, nil
}

// checkEmpty returns nil if s is empty. Else the error names the server that s belongs to, or a record in it.
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
