package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// decision returns the record of v as the decision of instance x, in ballot 1.1.
func decision(index uint64, v paxos.Value) paxos.Record {
	return paxos.Record{Instance: "x", Acceptor: voted(b11, v), Chosen: true, Index: index}
}

func TestOracleFindsWrongSaves(t *testing.T) {
	find(t, []sabotage{
		{"a promise goes down", "I3", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b22}))
			return b.save(1, paxos.Acceptor{Promised: b11})
		}},
		{"a vote goes back", "I3", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.save(3, voted(b22, "burger")))
			return b.save(3, paxos.Acceptor{Promised: b22, Accepted: b11, Value: "burger"})
		}},
		{"a record twice in one Batch", "I3", func(t *testing.T, b *bench) error {
			rec := paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{Promised: b11}}
			return b.Saved(b.servers[0], paxos.Batch{Records: []paxos.Record{rec, rec}})
		}},
		{"a vote above the promise", "I4", func(t *testing.T, b *bench) error {
			return b.save(1, paxos.Acceptor{Promised: b11, Accepted: b22, Value: "pizza"})
		}},
		{"a vote of a server that does not vote", "S2", func(t *testing.T, b *bench) error { return b.save(4, voted(b11, "burger")) }},
		{"a decision is taken back", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			return b.save(1, voted(b11, "burger"))
		}},
		{"a decision changes", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			return b.saveRecord(1, decision(1, "pizza"))
		}},
		{"an Index changes", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			return b.saveRecord(1, decision(2, "burger"))
		}},
		{"an Index of another decision", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.indexes[1001] = map[uint64]string{1: "dinner"}
			return b.saveRecord(1, decision(1, "burger"))
		}},
		{"a decision without an Index", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.saveRecord(1, decision(0, "burger"))
		}},
		{"a pull of what is not on the disk", "I11", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			b.servers[2].Disk.State.Pulled = "1/3e9/0,2/3ea/7"
			return b.pulls(3, "1/3e9/1,2/3ea/7")
		}},
		{"a pull of another storage", "I11", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			b.servers[2].Disk.State.Pulled = "1/3e8/1"
			return b.pulls(3, "1/3e9/1")
		}},
	})
}

// No number of a ServerState goes down, and none of its names changes.
func TestOracleFindsWrongStates(t *testing.T) {
	for name, change := range map[string]func(s *paxos.ServerState){
		"Boot":    func(s *paxos.ServerState) { s.Boot-- },
		"Rounds":  func(s *paxos.ServerState) { s.Rounds-- },
		"Last":    func(s *paxos.ServerState) { s.Last-- },
		"ID":      func(s *paxos.ServerState) { s.ID++ },
		"Store":   func(s *paxos.ServerState) { s.Store++ },
		"Members": func(s *paxos.ServerState) { s.Members = "1 majority(1)" },
		"Cluster": func(s *paxos.ServerState) { s.Cluster = "other" },
	} {
		find(t, []sabotage{{name, "I3", func(t *testing.T, b *bench) error {
			state := b.servers[0].Disk.State
			change(&state)
			return b.Saved(b.servers[0], paxos.Batch{Server: &state})
		}}})
	}
}
