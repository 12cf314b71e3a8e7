package paxos_test

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
)

// The names and signatures that programs outside the repository compile against. What is here changes with a new major
// version only; structs may grow fields, so they are written with field names.

// Vocabulary.
var (
	_ func(paxos.Ballot, paxos.Ballot) int       = paxos.Ballot.Compare
	_ func(paxos.Ballot, paxos.Ballot) bool      = paxos.Ballot.Less
	_ func(paxos.Ballot) bool                    = paxos.Ballot.IsZero
	_ func(paxos.Ballot) string                  = paxos.Ballot.String
	_ encoding.TextMarshaler                     = paxos.Ballot{}
	_ encoding.TextUnmarshaler                   = (*paxos.Ballot)(nil)
	_ func(paxos.Set, int) bool                  = paxos.Set.Has
	_ func(paxos.Set, int) paxos.Set             = paxos.Set.With
	_ func(paxos.Set) int                        = paxos.Set.Len
	_ func(int) paxos.Set                        = paxos.All
	_ func(int) paxos.Quorum                     = paxos.Majority
	_ func(n, p1, p2 int) (paxos.Quorum, error)  = paxos.Flexible
	_ func([]int) (paxos.Quorum, error)          = paxos.Weighted
	_ func(rows, cols int) (paxos.Quorum, error) = paxos.Grid
	_ func(paxos.Quorum) error                   = paxos.CheckQuorum
	_ func(paxos.Batch, paxos.ServerState) error = paxos.Batch.Check
	_ fmt.Stringer                               = paxos.Kind(0)
	_ fmt.Stringer                               = paxos.Message{}

	_ = paxos.Ballot{Round: uint64(1), Server: paxos.ServerID(uint64(1))}
	_ = paxos.Value("bytes")
	_ = paxos.Set(uint64(1))
	_ = []paxos.Kind{paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindNack, paxos.KindChosen,
		paxos.KindDecided, paxos.KindQuery, paxos.KindState, paxos.KindPull, paxos.KindNames, paxos.KindRefuse, paxos.KindLimits}
	_ = paxos.Message{Kind: paxos.Kind(uint8(0)), Instance: "", Ballot: paxos.Ballot{}, Promised: paxos.Ballot{}, Accepted: paxos.Ballot{},
		Value: paxos.Value("")}
	_ = paxos.Packet{From: paxos.ServerID(1), To: paxos.ServerID(2), Store: uint64(0), Boot: uint64(0), Nonce: uint64(0), Members: uint64(0),
		Index: uint64(0), Seq: uint64(0), Messages: []paxos.Message{}}
)

const _ uint64 = paxos.MaxRound - (1<<48 - 1) // it is just that

// A quorum of the user's own.
type ownQuorum interface {
	Size() int
	Phase1(paxos.Set) bool
	Phase2(paxos.Set) bool
	String() string
}

var (
	_ paxos.Quorum = ownQuorum(nil)
	_ ownQuorum    = paxos.Quorum(nil)
)

// Roles.
var (
	_ func(paxos.Acceptor, paxos.Message) (paxos.Acceptor, paxos.Message, error)      = paxos.Acceptor.Step
	_ func(paxos.Ballot, paxos.Value, paxos.Quorum) paxos.Proposer                    = paxos.NewProposer
	_ func(paxos.Proposer, int, paxos.Message) (paxos.Proposer, paxos.Message, error) = paxos.Proposer.Step
	_ func(paxos.Proposer) paxos.Message                                              = paxos.Proposer.Prepare
	_ func(paxos.Proposer) paxos.Value                                                = paxos.Proposer.Value
	_ func(paxos.Proposer) bool                                                       = paxos.Proposer.Chosen
	_ func(paxos.Proposer) (paxos.Ballot, bool)                                       = paxos.Proposer.Superseded
	_ func(paxos.Quorum) paxos.Learner                                                = paxos.NewLearner
	_ func(paxos.Learner, int, paxos.Ballot, paxos.Value) (paxos.Learner, error)      = paxos.Learner.Step
	_ func(paxos.Learner) (paxos.Value, bool)                                         = paxos.Learner.Chosen

	_ = paxos.Acceptor{Promised: paxos.Ballot{}, Accepted: paxos.Ballot{}, Value: paxos.Value("")}
)

// Members and storage.
var (
	_ func(paxos.Storage, paxos.ServerID, paxos.Members) error = paxos.Format
	_ func() *paxos.MemoryStorage                              = paxos.NewMemoryStorage
	_ paxos.Storage                                            = (*paxos.MemoryStorage)(nil)

	_ = paxos.Members{Cluster: "", Acceptors: []paxos.ServerID{}, Learners: []paxos.ServerID{}, Quorum: paxos.Quorum(nil)}
	_ = paxos.Record{Instance: "", Acceptor: paxos.Acceptor{}, Chosen: false, Index: uint64(0)}
	_ = paxos.ServerState{Cluster: "", ID: paxos.ServerID(1), Store: uint64(0), Members: "", Boot: uint64(0), Rounds: uint64(0), Last: uint64(0),
		Pulled: ""}
	_ = paxos.NameRange{From: "", To: ""}
	_ = paxos.Batch{Server: &paxos.ServerState{}, Drop: []paxos.NameRange{}, Records: []paxos.Record{}}
	_ = paxos.Named{Instance: "", Index: uint64(0)}
)

// A storage of the user's own.
type ownStorage interface {
	Server() (paxos.ServerState, error)
	Load(instance string) (paxos.Record, error)
	Save(b paxos.Batch) error
	Undecided() iter.Seq2[string, error]
	Decided(after uint64, max int) ([]paxos.Named, error)
}

// A transport of the user's own.
type ownTransport interface {
	Send(p paxos.Packet)
	Receive(ctx context.Context) (paxos.Packet, error)
}

var (
	_ paxos.Storage   = ownStorage(nil)
	_ ownStorage      = paxos.Storage(nil)
	_ paxos.Transport = ownTransport(nil)
	_ ownTransport    = paxos.Transport(nil)

	_ interface {
		paxos.Transport
		ID() paxos.ServerID
	} = paxos.IDTransport(nil)

	_ func() *paxos.MemoryNetwork                                = paxos.NewMemoryNetwork
	_ func(*paxos.MemoryNetwork, paxos.ServerID) paxos.Transport = (*paxos.MemoryNetwork).Join
	_ func(int) (nodes []*paxos.Node, stop func(), err error)    = paxos.MemoryCluster
)

// What every storage and transport is to use.
type binaryForm interface {
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

var (
	_                                                   = []binaryForm{(*paxos.Message)(nil), (*paxos.Packet)(nil), (*paxos.Record)(nil), (*paxos.ServerState)(nil)}
	_                                                   = []encoding.BinaryAppender{paxos.Message{}, paxos.Packet{}, paxos.Record{}, paxos.ServerState{}}
	_ func(*paxos.Decoder, []byte, *paxos.Packet) error = (*paxos.Decoder).Packet
	_ func(*paxos.Decoder, []byte, *paxos.Record) error = (*paxos.Decoder).Record
)

// Node.
var (
	_ func(paxos.ServerID, string) string                                               = paxos.Owned
	_ func(*paxos.Node, string) (string, error)                                         = (*paxos.Node).Mint
	_ func(*paxos.Replica, string) (string, error)                                      = (*paxos.Replica).Mint
	_ func(context.Context, paxos.Config) (*paxos.Node, error)                          = paxos.Start
	_ func(*paxos.Node, context.Context, string, paxos.Value) (paxos.Decision, error)   = (*paxos.Node).Propose
	_ func(*paxos.Node, context.Context, string) (d paxos.Decision, ok bool, err error) = (*paxos.Node).Peek
	_ func(*paxos.Node, context.Context, string) (d paxos.Decision, ok bool, err error) = (*paxos.Node).Read
	_ func(*paxos.Node, context.Context, string) (paxos.Decision, error)                = (*paxos.Node).Wait
	_ func(*paxos.Node, context.Context, uint64) iter.Seq2[paxos.Learned, error]        = (*paxos.Node).Decisions
	_ func(*paxos.Node, context.Context) error                                          = (*paxos.Node).Ready
	_ func(*paxos.Node) paxos.Status                                                    = (*paxos.Node).Status
	_ func(*paxos.Node) <-chan struct{}                                                 = (*paxos.Node).Done
	_ func(*paxos.Node) error                                                           = (*paxos.Node).Err
	_ func(*paxos.Node) error                                                           = (*paxos.Node).Close

	_ = paxos.Config{ID: paxos.ServerID(1), Members: paxos.Members{}, Storage: paxos.Storage(nil), Transport: paxos.Transport(nil),
		Limits: paxos.Limits{}, Timing: paxos.Timing{}, Logger: (*slog.Logger)(nil), Trace: func(context.Context, paxos.Event) {}, Seed: uint64(0)}
	_ = paxos.Limits{MaxValue: 0, MaxHint: 0, MaxPacket: 0, MaxBatch: 0, MaxOpen: 0, MaxCalls: 0, Cache: 0}
	_ = paxos.Timing{Phase: time.Duration(0), Silence: time.Duration(0), MaxSilence: time.Duration(0), MaxBackoff: time.Duration(0),
		Pull: time.Duration(0)}
	_ = paxos.Status{Instances: []paxos.OpenInstance{}, NoQuorum: time.Duration(0), StorageWait: time.Duration(0)}
	_ = paxos.OpenInstance{Instance: "", Age: time.Duration(0), Ballot: paxos.Ballot{}, Calls: 0, Alone: false}
	_ = paxos.Counters{Takeovers: uint64(0), Fetched: uint64(0)}
	_ = paxos.Decision{Instance: "", Value: paxos.Value(""), Ballot: paxos.Ballot{}}
	_ = paxos.Learned{Decision: paxos.Decision{}, Index: uint64(0)}
	_ = paxos.Event{Kind: paxos.EventKind(0), At: time.Duration(0), Server: paxos.ServerID(1), Boot: uint64(0), Call: uint64(0), Save: uint64(0),
		Packet: uint64(0), Message: paxos.Message{}, Err: error(nil)}
)

// Errors.
var (
	_ = []error{paxos.ErrClosed, paxos.ErrBusy, paxos.ErrTooLarge, paxos.ErrForgotten, paxos.ErrRounds}
	_ = []error{(*paxos.OpError)(nil), (*paxos.SafetyError)(nil)}

	_ func(*paxos.OpError) bool  = (*paxos.OpError).Unknown
	_ func(*paxos.OpError) error = (*paxos.OpError).Unwrap
	_ func(error) bool           = paxos.Unknown

	_ = paxos.OpError{Op: "", Instance: "", Phase: "", Ballot: paxos.Ballot{}, Answered: []paxos.ServerID{}, Refused: []paxos.ServerID{},
		Silent: []paxos.ServerID{}, Quorum: "", Err: error(nil)}
)

// Replica.
var (
	_ func(time.Duration, paxos.ReplicaConfig) (*paxos.Replica, error)       = paxos.NewReplica
	_ func(*paxos.Replica, time.Duration, paxos.CallID, string, paxos.Value) = (*paxos.Replica).Propose
	_ func(*paxos.Replica, time.Duration, paxos.CallID, string)              = (*paxos.Replica).Wait
	_ func(*paxos.Replica, time.Duration, paxos.CallID, string)              = (*paxos.Replica).Read
	_ func(*paxos.Replica, time.Duration, paxos.CallID)                      = (*paxos.Replica).Ready
	_ func(*paxos.Replica, time.Duration, paxos.CallID)                      = (*paxos.Replica).Cancel
	_ func(*paxos.Replica, time.Duration, paxos.Packet)                      = (*paxos.Replica).Receive
	_ func(*paxos.Replica, time.Duration)                                    = (*paxos.Replica).Saved
	_ func(*paxos.Replica, time.Duration, string, paxos.Record) bool         = (*paxos.Replica).Loaded
	_ func(*paxos.Replica, time.Duration, uint64, []paxos.Named) bool        = (*paxos.Replica).Listed
	_ func(*paxos.Replica, time.Duration)                                    = (*paxos.Replica).Tick
	_ func(*paxos.Replica) (at time.Duration, ok bool)                       = (*paxos.Replica).Next
	_ func(*paxos.Replica, *paxos.Output) bool                               = (*paxos.Replica).Take
	_ func(*paxos.Replica, bool)                                             = (*paxos.Replica).HoldSaves
	_ func(*paxos.Replica) bool                                              = (*paxos.Replica).WantsSave
	_ func(*paxos.Replica, bool)                                             = (*paxos.Replica).DelayNotices
	_ func(*paxos.Replica) bool                                              = (*paxos.Replica).HasNotices
	_ func(*paxos.Replica, *paxos.Output)                                    = (*paxos.Replica).Flush
	_ func(*paxos.Replica, time.Duration, error)                             = (*paxos.Replica).Stop
	_ func(*paxos.Replica) *paxos.Batch                                      = (*paxos.Replica).LastBatch
	_ func(*paxos.Replica) uint64                                            = (*paxos.Replica).Boot
	_ func(*paxos.Replica) uint64                                            = (*paxos.Replica).Changes
	_ func(*paxos.Replica, time.Duration) time.Duration                      = (*paxos.Replica).NoQuorum
	_ func(*paxos.Replica, time.Duration) time.Duration                      = (*paxos.Replica).SaveWait
	_ func(*paxos.Replica, time.Duration) []paxos.PeerStatus                 = (*paxos.Replica).Peers

	_ = paxos.ReplicaConfig{ID: paxos.ServerID(0), State: paxos.ServerState{}, Nonce: uint64(0), Members: paxos.Members{}, Open: []string{}, Limits: paxos.Limits{},
		Timing: paxos.Timing{}, Seed: uint64(0), Trace: false}
	_ = paxos.CallID(uint64(0))
	_ = paxos.Output{Send: []paxos.Packet{}, Save: &paxos.Batch{}, Load: []string{}, List: []paxos.ListAsk{{ID: uint64(0), After: uint64(0), Max: 0}}, Done: []paxos.Done{}, Index: uint64(0),
		Faults: []*paxos.SafetyError{}, Events: []paxos.Event{}}
	_ = paxos.Done{ID: paxos.CallID(0), Decision: paxos.Decision{}, OK: false, Err: error(nil)}
)

// What a host or a Storage of one's own needs of the words.
var (
	_ func(paxos.Limits) paxos.Limits                                   = paxos.Limits.WithDefaults
	_ func(paxos.Limits) error                                          = paxos.Limits.Check
	_ func(paxos.Timing) paxos.Timing                                   = paxos.Timing.WithDefaults
	_ func(paxos.Timing) error                                          = paxos.Timing.Check
	_ func(paxos.Members) error                                         = paxos.Members.Check
	_ func(paxos.Members) paxos.Members                                 = paxos.Members.Clone
	_ func(paxos.Members, paxos.ServerID) int                           = paxos.Members.Position
	_ func(paxos.Members, paxos.ServerID) bool                          = paxos.Members.Has
	_ func(paxos.Members) string                                        = paxos.Members.Voters
	_ func(paxos.ServerState, paxos.ServerID, paxos.Members) error      = paxos.ServerState.Check
	_ func(paxos.ServerState) (map[paxos.ServerID]uint64, error)        = paxos.ServerState.Stores
	_ func(paxos.ServerState, paxos.ServerID, uint64) paxos.ServerState = paxos.ServerState.WithStore
	_ func(paxos.Record, string) paxos.Decision                         = paxos.Record.Decision
	_ func(string) error                                                = paxos.CheckName
	_ func(string) error                                                = paxos.CheckInstance
	_ func(string) (paxos.Owner, bool)                                  = paxos.OwnerOf
	_ func(paxos.Ballot, string) bool                                   = paxos.OwnsRound
	_ func(paxos.ServerID, uint64, uint64, string) (string, error)      = paxos.Minted
	_ func(paxos.Quorum, bool) string                                   = paxos.QuorumNeeds
	_ func(*paxos.Proposer) paxos.Value                                 = (*paxos.Proposer).Own
	_ func(*paxos.Proposer) bool                                        = (*paxos.Proposer).Asking
	_ func(*paxos.Proposer) paxos.Set                                   = (*paxos.Proposer).Accepted
	_ func(*paxos.Proposer) paxos.Ballot                                = (*paxos.Proposer).Highest
	_ func(paxos.Learner) (paxos.Ballot, paxos.Value)                   = paxos.Learner.Highest
	_ func(paxos.Learner) bool                                          = paxos.Learner.IsZero
	_                                                                   = paxos.Owner{Server: paxos.ServerID(0), Boot: uint64(0)}
)

// What a Storage or a Transport may be, besides.
var (
	_ paxos.InstantStorage   = (*paxos.MemoryStorage)(nil)
	_ paxos.ExpectingStorage = (*paxos.MemoryStorage)(nil)
	_ paxos.DrainTransport   = paxos.NewMemoryNetwork().Join(1).(paxos.DrainTransport)
)

// What the design calls comparable is: these are map keys.
var (
	_ map[paxos.Ballot]bool
	_ map[paxos.Message]bool
	_ map[paxos.Acceptor]bool
	_ map[paxos.Proposer]bool
	_ map[paxos.Decision]bool
	_ map[paxos.Learned]bool
	_ map[paxos.Record]bool
	_ map[paxos.ServerState]bool
)

func TestZeroValuesOfErrors(t *testing.T) {
	assert.False(t, paxos.Unknown(nil))
	assert.True(t, paxos.Unknown(errors.New("test")), "of an error that the package knows nothing of it can't be certain")
	assert.True(t, paxos.Unknown(&paxos.OpError{Op: "propose", Err: errors.New("test")}), "nor of one that somebody else made")
}
