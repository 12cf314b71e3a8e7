package node

import (
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// quietTransport sends to nobody.
type quietTransport struct{ paxos.Transport }

func (quietTransport) Send(paxos.Packet) {}

// A blankStorage holds nothing but a state, and saves at once.
type blankStorage struct{ state paxos.ServerState }

func (s *blankStorage) Server() (paxos.ServerState, error)           { return s.state, nil }
func (s *blankStorage) Load(string) (paxos.Record, error)            { return paxos.Record{}, nil }
func (s *blankStorage) LoadNow(string) (paxos.Record, bool)          { return paxos.Record{}, true }
func (s *blankStorage) Undecided() iter.Seq2[string, error]          { return func(func(string, error) bool) {} }
func (s *blankStorage) Decided(uint64, int) ([]paxos.Named, error)   { return nil, nil }
func (s *blankStorage) DecidedNow(uint64, int) ([]paxos.Named, bool) { return nil, true }
func (s *blankStorage) Self() paxos.Storage                          { return s }
func (s *blankStorage) SavesAtOnce()                                 {}

func (s *blankStorage) Save(b paxos.Batch) error {
	if b.Server != nil {
		s.state = *b.Server
	}
	return nil
}

// bootedNode returns server 1 of 3. Its loop does not run: the test takes the turns.
func bootedNode(t *testing.T) *Node {
	m := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	storage := &blankStorage{}
	require.NoError(t, paxos.Format(storage, 1, m))
	cfg := Config{ID: 1, Members: m, Storage: storage, Transport: quietTransport{}, Limits: paxos.Limits{}.WithDefaults(),
		Timing: paxos.Timing{}.WithDefaults()}
	stored, err := readStart(t.Context(), cfg)
	require.NoError(t, err)
	n, err := newNode(cfg, stored)
	require.NoError(t, err)
	require.True(t, n.instant)
	require.NoError(t, n.carryOut(n.now()))
	return n
}

// A Save waits for what is about to come, a few times, so that it serves all of it; but not for ever.
func TestNodeHoldsSavesForWhatComes(t *testing.T) {
	for _, tt := range []struct{ comes, saved int }{{1, 1}, {2, 2}, {4, 4}, {5, 5}, {100, 5}} {
		t.Run(fmt.Sprint(tt.comes), func(t *testing.T) {
			n := bootedNode(t)
			m := n.config.Members
			met := paxos.Packet{From: 2, To: 1, Store: 1, Boot: 1, Members: m.Fingerprint()}
			n.replica.Receive(n.now(), met)
			require.NoError(t, n.carryOut(n.now()))
			n.instant, n.saving = false, make(chan *paxos.Batch, 1)
			seq := uint64(0)
			come := func() {
				seq++
				require.True(t, n.put(paxos.Packet{From: 2, To: 1, Store: 1, Boot: 1, Members: m.Fingerprint(), Seq: seq,
					Messages: []paxos.Message{{Kind: paxos.KindPrepare, Instance: fmt.Sprint("job/", seq), Ballot: paxos.Ballot{Round: 1, Server: 2}}}}))
				signal(n.wake)
			}
			n.yield = func() {
				if int(seq) < tt.comes {
					come()
				}
			}
			come()
			<-n.wake
			require.NoError(t, n.turns())
			select {
			case b := <-n.saving:
				assert.Len(t, b.Records, tt.saved)
			default:
				t.Error("no Save has begun")
			}
		})
	}
}
