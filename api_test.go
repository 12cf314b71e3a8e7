package paxos_test

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/replica"
)

// The names and signatures that programs outside the repository compile against. They change with a new major version only.
// Structs may grow fields, so they are written with field names.

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
		paxos.KindDecided, paxos.KindQuery, paxos.KindState, paxos.KindPull, paxos.KindNames, paxos.KindRefuse, paxos.KindLimits, paxos.KindDecisions}
	_ = paxos.Message{Kind: paxos.Kind(uint8(0)), Instance: "", Ballot: paxos.Ballot{}, Promised: paxos.Ballot{}, Accepted: paxos.Ballot{},
		Value: paxos.Value("")}
	_ = paxos.Packet{From: paxos.ServerID(1), To: paxos.ServerID(2), Store: uint64(0), Boot: uint64(0), Nonce: uint64(0), Members: uint64(0),
		Index: uint64(0), Seq: uint64(0), ToStore: uint64(0), Configuration: uint64(0), Complete: false, Messages: []paxos.Message{}}
)

const _ uint64 = paxos.MaxRound - (1<<48 - 1)         // it is just that
const _ uint64 = paxos.MaxConfiguration - (1<<16 - 2) // likewise

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

// Typed values.
var (
	_ paxos.Register                                                           = (*node.Node)(nil)
	_ func(paxos.Register, ...paxos.Codec[int]) paxos.Typed[int]               = paxos.TypedOf[int]
	_ func(paxos.Typed[int], paxos.Decision) (paxos.TypedDecision[int], error) = paxos.Typed[int].Of

	_ = paxos.TypedDecision[int]{Decision: paxos.Decision{}, Content: 0, Same: false}
	_ = paxos.Codec[int]{Encode: func(int) (paxos.Value, error) { return "", nil }, Decode: func(paxos.Value) (int, error) { return 0, nil }}
)

// Members and storage.
var (
	_ func(paxos.Storage, paxos.ServerID, paxos.Members) error = paxos.Format
	_ func() *memory.Storage                                   = memory.NewStorage
	_ paxos.Storage                                            = (*memory.Storage)(nil)

	_ = paxos.Members{Cluster: "", Acceptors: []paxos.ServerID{}, Learners: []paxos.ServerID{}, Quorum: paxos.Quorum(nil),
		Addresses: map[paxos.ServerID]string{}}
	_ = paxos.Configuration{Number: uint64(0), Members: paxos.Members{}, Before: uint64(0)}

	_ func(string) (paxos.Configuration, error)                             = paxos.ParseConfiguration
	_ func(paxos.Configuration, paxos.Members) (paxos.Configuration, error) = paxos.Configuration.Next
	_ func(paxos.Configuration) uint64                                      = paxos.Configuration.Fingerprint
	_ func(paxos.Configuration) string                                      = paxos.Configuration.Name
	_ func(paxos.Configuration) error                                       = paxos.Configuration.Check
	_ fmt.Stringer                                                          = paxos.Configuration{}
	_ func(uint64) string                                                   = paxos.ConfigurationName
	_ func(string) (uint64, bool)                                           = paxos.ConfigurationNumber
	_ func(string) (paxos.Quorum, error)                                    = paxos.ParseQuorum
	_                                                                       = paxos.Record{Instance: "", Acceptor: paxos.Acceptor{}, Chosen: false, Index: uint64(0)}
	_                                                                       = paxos.ServerState{Cluster: "", ID: paxos.ServerID(1), Store: uint64(0), Members: "", Boot: uint64(0), Rounds: uint64(0), Last: uint64(0),
		Pulled: "", Peers: "", Forgotten: uint64(0), Configuration: "", Before: "", Import: paxos.ImportComplete}
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

	_ func() *memory.Network                                           = memory.NewNetwork
	_ func(*memory.Network, paxos.ServerID) paxos.Transport            = (*memory.Network).Join
	_ func(memory.Config) (nodes []*node.Node, stop func(), err error) = memory.Cluster

	_ = memory.Config{Servers: 0, Members: paxos.Members{}, Limits: paxos.Limits{}, Timing: paxos.Timing{}, Logger: (*slog.Logger)(nil),
		Trace: func(context.Context, paxos.Event) {}, Node: func(*node.Config) {}}
)

// The binary forms, which every storage and transport should use.
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
	_ func(paxos.ServerID, string) string                                              = paxos.Owned
	_ func(*node.Node, string) (string, error)                                         = (*node.Node).Mint
	_ func(*replica.Replica, string) (string, error)                                   = (*replica.Replica).Mint
	_ func(context.Context, node.Config) (*node.Node, error)                           = node.Start
	_ func(*node.Node, context.Context, string, paxos.Value) (paxos.Decision, error)   = (*node.Node).Propose
	_ func(*node.Node, context.Context, string) (d paxos.Decision, ok bool, err error) = (*node.Node).Peek
	_ func(*node.Node, context.Context, string) (d paxos.Decision, ok bool, err error) = (*node.Node).Read
	_ func(*node.Node, context.Context, string) (paxos.Decision, error)                = (*node.Node).Wait
	_ func(*node.Node, context.Context, paxos.NameRange) error                         = (*node.Node).Forget
	_ func(*replica.Replica, string) (paxos.NameRange, bool)                           = (*replica.Replica).Forgotten
	_ func(string) paxos.NameRange                                                     = paxos.Prefix
	_ func(string) paxos.NameRange                                                     = paxos.OneName

	_ func(*node.Node, context.Context, uint64, ...paxos.NameRange) iter.Seq2[paxos.Learned, error] = (*node.Node).Decisions

	_ func(*node.Node, context.Context) error = (*node.Node).Ready
	_ func(*node.Node) paxos.Status           = (*node.Node).Status
	_ func(*node.Node) paxos.Metrics          = (*node.Node).Metrics
	_ func(paxos.Metrics) []paxos.Metric      = paxos.Metrics.All
	_ func(error) node.Outcome                = node.OutcomeOf
	_ func(*node.Node) <-chan struct{}        = (*node.Node).Done
	_ func(*node.Node) error                  = (*node.Node).Err
	_ func(*node.Node) error                  = (*node.Node).Close

	_ = node.Config{ID: paxos.ServerID(1), Members: paxos.Members{}, Storage: paxos.Storage(nil), Transport: paxos.Transport(nil),
		Limits: paxos.Limits{}, Timing: paxos.Timing{}, Logger: (*slog.Logger)(nil), Trace: func(context.Context, paxos.Event) {}, Seed: uint64(0),
		Observer: interface {
			Call(context.Context, node.Call)
			Save(node.Save)
			RoundTrip(paxos.RoundTrip)
		}(nil)}
	_ = node.Call{Op: "", Instance: "", Outcome: node.OutcomeOK, Began: time.Time{}, Duration: time.Duration(0), Err: error(nil)}
	_ = node.Save{Duration: time.Duration(0), Records: 0, Bytes: 0, Err: error(nil)}
	_ = paxos.Limits{MaxValue: 0, MaxHint: 0, MaxPacket: 0, MaxBatch: 0, MaxOpen: 0, MaxCalls: 0, Cache: 0}
	_ = paxos.Timing{Phase: time.Duration(0), Silence: time.Duration(0), MaxSilence: time.Duration(0), MaxBackoff: time.Duration(0),
		Pull: time.Duration(0)}
	_ = paxos.Status{Instances: []paxos.OpenInstance{}, NoQuorum: time.Duration(0), StorageWait: time.Duration(0)}
	_ = paxos.OpenInstance{Instance: "", Age: time.Duration(0), Ballot: paxos.Ballot{}, Calls: 0, Orphaned: false}
	_ = paxos.Metrics{Uptime: time.Duration(0), Running: true, Open: 0, Orphaned: 0, Counters: paxos.Counters{}, Peers: []paxos.PeerStatus{}}
	_ = paxos.Metric{Name: "", Unit: "", Help: "", Counter: false, Label: "", Values: []paxos.MetricValue{{Label: "", Value: 0}}}
	_ = paxos.RoundTrip{Kind: paxos.KindPrepare, Duration: time.Duration(0)}
	_ = paxos.Counters{Takeovers: uint64(0), Fetched: uint64(0)}
	_ = paxos.Decision{Instance: "", Value: paxos.Value(""), Ballot: paxos.Ballot{}}
	_ = paxos.Learned{Decision: paxos.Decision{}, Index: uint64(0)}
	_ = paxos.Event{Seq: uint64(0), Peer: paxos.ServerID(0), PeerBoot: uint64(0), Op: "", Cut: 0}
	_ = paxos.Tracing{On: false, OneIn: uint64(0)}.Has("")
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
	_ func(time.Duration, replica.Config) (*replica.Replica, error)              = replica.New
	_ func(*replica.Replica, time.Duration, replica.CallID, string, paxos.Value) = (*replica.Replica).Propose
	_ func(*replica.Replica, time.Duration, replica.CallID, string)              = (*replica.Replica).Wait
	_ func(*replica.Replica, time.Duration, replica.CallID, string)              = (*replica.Replica).Read
	_ func(*replica.Replica, time.Duration, replica.CallID)                      = (*replica.Replica).Ready
	_ func(*replica.Replica, time.Duration, replica.CallID)                      = (*replica.Replica).Cancel
	_ func(*replica.Replica, time.Duration, paxos.Packet)                        = (*replica.Replica).Receive
	_ func(*replica.Replica, time.Duration)                                      = (*replica.Replica).Saved
	_ func(*replica.Replica, time.Duration, string, paxos.Record) bool           = (*replica.Replica).Loaded
	_ func(*replica.Replica, time.Duration, uint64, replica.Page) bool           = (*replica.Replica).Listed
	_ func(*replica.Replica, time.Duration)                                      = (*replica.Replica).Tick
	_ func(*replica.Replica) (at time.Duration, ok bool)                         = (*replica.Replica).Next
	_ func(*replica.Replica, *replica.Output) bool                               = (*replica.Replica).Take
	_ func(*replica.Replica, bool)                                               = (*replica.Replica).HoldSaves
	_ func(*replica.Replica) bool                                                = (*replica.Replica).WantsSave
	_ func(*replica.Replica, bool)                                               = (*replica.Replica).DelayNotices
	_ func(*replica.Replica) bool                                                = (*replica.Replica).HasNotices
	_ func(*replica.Replica, *replica.Output)                                    = (*replica.Replica).Flush
	_ func(*replica.Replica, time.Duration, error)                               = (*replica.Replica).Stop
	_ func(*replica.Replica) *paxos.Batch                                        = (*replica.Replica).LastBatch
	_ func(*replica.Replica) uint64                                              = (*replica.Replica).Boot
	_ func(*replica.Replica) uint64                                              = (*replica.Replica).Changes
	_ func(*replica.Replica, time.Duration) time.Duration                        = (*replica.Replica).NoQuorum
	_ func(*replica.Replica, time.Duration) time.Duration                        = (*replica.Replica).SaveWait
	_ func(*replica.Replica, time.Duration) []paxos.PeerStatus                   = (*replica.Replica).Peers

	_ = replica.Config{ID: paxos.ServerID(0), State: paxos.ServerState{}, Nonce: uint64(0), Members: paxos.Members{}, Open: []string{}, Limits: paxos.Limits{},
		Timing: paxos.Timing{}, Seed: uint64(0), Trace: false}
	_ = replica.CallID(uint64(0))
	_ = replica.Output{Send: []paxos.Packet{}, Save: &paxos.Batch{}, Load: []string{}, List: []replica.ListAsk{{ID: uint64(0), After: uint64(0), Max: 0}}, Done: []replica.Done{}, Index: uint64(0),
		Faults: []*paxos.SafetyError{}, Events: []paxos.Event{}}
	_ = replica.Done{ID: replica.CallID(0), Decision: paxos.Decision{}, OK: false, Err: error(nil)}
)

// The words that a host or a Storage of one's own needs.
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
	_ func(paxos.Storage, uint64) error                                 = paxos.CheckLast
	_ func(paxos.Quorum, bool) string                                   = paxos.QuorumNeeds
	_ func(*paxos.Proposer) paxos.Value                                 = (*paxos.Proposer).Own
	_ func(*paxos.Proposer) bool                                        = (*paxos.Proposer).Asking
	_ func(*paxos.Proposer) paxos.Set                                   = (*paxos.Proposer).Accepted
	_ func(*paxos.Proposer) paxos.Ballot                                = (*paxos.Proposer).Highest
	_ func(paxos.Learner) (paxos.Ballot, paxos.Value)                   = paxos.Learner.Highest
	_ func(paxos.Learner) bool                                          = paxos.Learner.IsZero
	_ func(uint64) paxos.Ballot                                         = paxos.Base
	_ func(paxos.Ballot) uint64                                         = paxos.Ballot.Configuration
	_ func(paxos.Acceptor, paxos.Acceptor, uint64) paxos.Acceptor       = paxos.Acceptor.Import
	_ func(paxos.Acceptor) paxos.Acceptor                               = paxos.Acceptor.Forget
	_ func(*paxos.Floor, string, paxos.Acceptor) paxos.Acceptor         = (*paxos.Floor).Raise
	_ func(string) paxos.NameRange                                      = paxos.Prefix
	_                                                                   = paxos.Owner{Server: paxos.ServerID(0), Boot: uint64(0)}
)

// The optional interfaces of a Storage or a Transport.
var (
	_ paxos.InstantStorage   = (*memory.Storage)(nil)
	_ paxos.ExpectingStorage = (*memory.Storage)(nil)
	_ paxos.DrainTransport   = memory.NewNetwork().Join(1).(paxos.DrainTransport)
)

// The design calls these types comparable: they are map keys here.
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

// Of names that differ little, the share that is traced is as asked for. Each share holds the smaller ones.
func TestTracingHas(t *testing.T) {
	const names = 100_000
	for _, form := range []string{"job/%d", "%08d", "config/eu/%d/owner", "%x"} {
		for _, oneIn := range []uint64{2, 8, 64} {
			n := 0
			for i := range names {
				name := fmt.Sprintf(form, i)
				has := paxos.Tracing{On: true, OneIn: oneIn}.Has(name)
				if has {
					n++
					assert.True(t, paxos.Tracing{On: true, OneIn: oneIn / 2}.Has(name))
				}
			}
			assert.InEpsilon(t, names/int(oneIn), n, 0.15, "%s, one in %d", form, oneIn)
		}
	}
	assert.False(t, paxos.Tracing{}.Has(""))
	thin := paxos.Tracing{On: true, OneIn: 1 << 20}
	assert.True(t, thin.Has(""))
	assert.True(t, thin.Has(paxos.ConfigurationName(7)))
	assert.False(t, thin.Has("lunch"))
	has := false
	assert.Zero(t, testing.AllocsPerRun(100, func() { has = thin.Has("a name of some length") || has }))
}

// Each metric has a name as monitors want it, a help, and no other metric's name. A zero Metrics has the same ones.
func TestMetricsAll(t *testing.T) {
	m := paxos.Metrics{Peers: []paxos.PeerStatus{{ID: 2, Taken: 1}}}
	all, zero := m.All(), paxos.Metrics{}.All()
	require.Len(t, zero, len(all))
	seen := map[string]bool{}
	for i, metric := range all {
		assert.Regexp(t, `^[a-z]+(_[a-z]+)*$`, metric.Name)
		assert.NotRegexp(t, regexp.MustCompile(`_(total|seconds|bytes|count|sum)$`), metric.Name)
		assert.False(t, seen[metric.Name], metric.Name)
		seen[metric.Name] = true
		assert.True(t, strings.HasSuffix(metric.Help, "."), metric.Name)
		assert.Contains(t, []string{"", "s"}, metric.Unit)
		assert.Equal(t, metric.Name, zero[i].Name)
		assert.NotEmpty(t, metric.Values, metric.Name)
		for _, v := range metric.Values {
			assert.Equal(t, metric.Label == "", v.Label == "", metric.Name)
			assert.NotContains(t, v.Label, "kind(", "a kind without a name")
		}
		if metric.Label == "kind" {
			assert.Len(t, metric.Values, len(m.Counters.Sent)-1)
		}
	}
}

func TestMetricsValues(t *testing.T) {
	m := paxos.Metrics{ID: 1, Boot: 3, Uptime: time.Minute, Running: true, Configuration: 4, Settled: true, Import: paxos.ImportStatus{Records: 5, Goal: 6},
		Calls: 7, Open: 8, Orphaned: 9, InMemory: 10, NoQuorum: 11 * time.Second, StorageWait: 12 * time.Millisecond, Index: 13,
		Peers: []paxos.PeerStatus{{ID: 2, Heard: 14 * time.Second, Refused: "why", Taken: 10, Dropped: 15}, {ID: 3, Heard: -1}, {ID: 4, Taken: 99}}}
	c := &m.Counters
	for i, field := range []*uint64{&c.Decided, &c.Fetched, &c.Attempts, &c.Owned, &c.Superseded, &c.Takeovers, &c.Saves, &c.Records, &c.Packets, &c.Resends,
		&c.Dropped, &c.DroppedPackets, &c.Strangers, &c.Unwatched, &c.Changes, &c.Faults, &c.Sent[paxos.KindPrepare], &c.Received[paxos.KindPromise]} {
		*field = uint64(100 + i)
	}
	got := map[string]float64{}
	for _, metric := range m.All() {
		for _, v := range metric.Values {
			if v.Value != 0 {
				got[strings.TrimSuffix(metric.Name+" "+v.Label, " ")] = v.Value
			}
		}
	}
	assert.Equal(t, map[string]float64{"running": 1, "uptime": 60, "boot": 3, "no_quorum": 11, "storage_wait": 0.012, "calls_waiting": 7, "instances_open": 8,
		"instances_orphaned": 9, "instances_in_memory": 10, "index": 13, "configuration": 4, "configuration_settled": 1, "import_records": 5,
		"import_goal_records": 6, "peer_silence 2": 14, "peer_silence 3": 60, "peer_refused 2": 1, "peer_decisions_behind 2": 3, "peer_packets_dropped 2": 15,
		"decisions_learned": 100, "decisions_fetched": 101, "attempts": 102, "attempts_owned": 103, "attempts_superseded": 104, "takeovers": 105,
		"saves": 106, "records_saved": 107, "packets_sent": 108, "messages_resent": 109, "messages_dropped": 110, "packets_dropped": 111,
		"packets_of_strangers": 112, "instances_unwatched": 113, "configurations_entered": 114, "faults": 115,
		"messages_sent prepare": 116, "messages_received promise": 117}, got)
	text, err := json.Marshal(m)
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, json.Unmarshal(text, &object))
	assert.Len(t, object, len(m.All()))
	assert.Equal(t, 0.012, object["storage_wait"])
	assert.Equal(t, map[string]any{"2": 3.0, "4": 0.0}, object["peer_decisions_behind"])
}
