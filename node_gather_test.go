package paxos

import (
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quietTransport sends to nobody.
type quietTransport struct{ Transport }

func (quietTransport) Send(Packet) {}

// A blankStorage holds nothing but a state, and saves at once.
type blankStorage struct{ state ServerState }

func (s *blankStorage) Server() (ServerState, error)           { return s.state, nil }
func (s *blankStorage) Load(string) (Record, error)            { return Record{}, nil }
func (s *blankStorage) LoadNow(string) (Record, bool)          { return Record{}, true }
func (s *blankStorage) Undecided() iter.Seq2[string, error]    { return func(func(string, error) bool) {} }
func (s *blankStorage) Decided(uint64, int) ([]Named, error)   { return nil, nil }
func (s *blankStorage) DecidedNow(uint64, int) ([]Named, bool) { return nil, true }
func (s *blankStorage) Self() Storage                          { return s }
func (s *blankStorage) SavesAtOnce()                           {}

func (s *blankStorage) Save(b Batch) error {
	if b.Server != nil {
		s.state = *b.Server
	}
	return nil
}

// A Save waits for what is about to come, a few times, so that it serves all of it; but not for ever.
func TestNodeGathersBeforeASave(t *testing.T) {
	for _, tt := range []struct{ comes, saved int }{{1, 1}, {2, 2}, {4, 4}, {5, 5}, {100, 5}} {
		t.Run(fmt.Sprint(tt.comes), func(t *testing.T) {
			m := membersOf(3)
			m.Cluster = "test"
			storage := &blankStorage{}
			require.NoError(t, Format(storage, 1, m))
			cfg := Config{ID: 1, Members: m, Storage: storage, Transport: quietTransport{}, Limits: Limits{}.WithDefaults(),
				Timing: Timing{}.WithDefaults()}
			stored, err := readStart(t.Context(), cfg)
			require.NoError(t, err)
			n, err := newNode(cfg, stored)
			require.NoError(t, err)
			require.True(t, n.instant)
			require.NoError(t, n.carryOut(n.now())) // boots
			met := Packet{From: 2, To: 1, Store: 1, Boot: 1, Members: m.Fingerprint()}
			n.replica.Receive(n.now(), met)
			require.NoError(t, n.carryOut(n.now()))
			n.instant, n.saving = false, make(chan *Batch, 1)
			seq := uint64(0)
			come := func() {
				seq++
				require.True(t, n.put(Packet{From: 2, To: 1, Store: 1, Boot: 1, Members: m.Fingerprint(), Seq: seq,
					Messages: []Message{{Kind: KindPrepare, Instance: fmt.Sprint("job/", seq), Ballot: Ballot{1, 2}}}}))
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
