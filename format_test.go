package paxos_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

func TestFormat(t *testing.T) {
	m := paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{9}}
	for _, id := range []paxos.ServerID{2, 9} {
		s := memory.NewStorage()
		require.NoError(t, paxos.Format(s, id, m))
		state, err := s.Server()
		require.NoError(t, err)
		assert.NotZero(t, state.Store)
		assert.Equal(t, paxos.ServerState{Cluster: "c", ID: id, Store: state.Store, Members: "1,2,3 majority(3)"}, state)

		other := memory.NewStorage()
		require.NoError(t, paxos.Format(other, id, m))
		again, err := other.Server()
		require.NoError(t, err)
		assert.NotEqual(t, state.Store, again.Store, "it names this very storage")

		require.ErrorContains(t, paxos.Format(s, id, m), fmt.Sprintf(`belongs to server %d of cluster "c"`, id), "once")
		require.NoError(t, s.Save(paxos.Batch{}), "a refused Format does the storage no harm")
		again, err = s.Server()
		require.NoError(t, err)
		assert.Equal(t, state, again)
	}
}

// A brokenStorage fails in one of its readers.
type brokenStorage struct {
	*memory.Storage
	in string
}

func (s brokenStorage) Server() (paxos.ServerState, error) {
	if s.in == "Server" {
		return paxos.ServerState{}, errors.New("broken in Server")
	}
	return s.Storage.Server()
}

func (s brokenStorage) Undecided() iter.Seq2[string, error] {
	if s.in == "Undecided" {
		return func(yield func(string, error) bool) { yield("", errors.New("broken in Undecided")) }
	}
	return s.Storage.Undecided()
}

func (s brokenStorage) Decided(after uint64, max int) ([]paxos.Named, error) {
	switch s.in {
	case "Decided":
		return nil, errors.New("broken in Decided")
	case "a decision and no state":
		return []paxos.Named{{Instance: "y", Index: 5}}, nil
	}
	return s.Storage.Decided(after, max)
}

func TestFormatRefuses(t *testing.T) {
	m := paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 3}}
	dead := memory.NewStorage()
	require.Error(t, dead.Save(paxos.Batch{Records: []paxos.Record{{}}}))
	holds := func(b paxos.Batch) paxos.Storage {
		s := memory.NewStorage()
		require.NoError(t, s.Save(b))
		return s
	}
	vote := paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "v"}
	for _, tt := range []struct {
		name string
		s    paxos.Storage
		id   paxos.ServerID
		want string
	}{
		{"no storage", nil, 1, "storage is nil"},
		{"not a member", memory.NewStorage(), 4, "server 4 is not a member"},
		{"no server", memory.NewStorage(), 0, "server 0 is not a member"},
		{"a vote", holds(paxos.Batch{Records: []paxos.Record{{Instance: "x", Acceptor: vote}}}), 1, `not empty: it holds "x"`},
		{"a decision", brokenStorage{memory.NewStorage(), "a decision and no state"}, 1, `not empty: it holds "y"`},
		{"another server's", holds(paxos.Batch{Server: &paxos.ServerState{Cluster: "d", ID: 7}}), 1, `belongs to server 7 of cluster "d"`},
		{"a storage that fails to save", dead, 1, "dead since a Save failed"},
		{"an error is not none: Server", brokenStorage{memory.NewStorage(), "Server"}, 1, "broken in Server"},
		{"an error is not none: Undecided", brokenStorage{memory.NewStorage(), "Undecided"}, 1, "broken in Undecided"},
		{"an error is not none: Decided", brokenStorage{memory.NewStorage(), "Decided"}, 1, "broken in Decided"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := paxos.Format(tt.s, tt.id, m)
			require.ErrorContains(t, err, "paxos: format: ")
			require.ErrorContains(t, err, tt.want)
		})
	}
}
