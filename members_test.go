package paxos

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// threeOf is a Quorum of a user's own: all of three.
type threeOf struct{ name string }

func (q threeOf) Size() int         { return 3 }
func (q threeOf) Phase1(s Set) bool { return s&All(3) == All(3) }
func (q threeOf) Phase2(s Set) bool { return s&All(3) == All(3) }
func (q threeOf) String() string    { return q.name }

// noQuorum has quorums that do not meet.
type noQuorum struct{ threeOf }

func (noQuorum) Phase2(s Set) bool { return s.Has(0) }
func (noQuorum) Phase1(s Set) bool { return s.Has(1) }

func upTo(n int) (ids []ServerID) {
	for i := range n {
		ids = append(ids, ServerID(i+1))
	}
	return ids
}

func TestMembersRefused(t *testing.T) {
	three := upTo(3)
	for _, tt := range []struct {
		name string
		m    Members
		want string
	}{
		{"no cluster", Members{Acceptors: three}, "Members.Cluster: name is empty"},
		{"cluster too long", Members{Cluster: fmt.Sprintf("%256d", 1), Acceptors: three}, "Members.Cluster: name has 256 bytes"},
		{"cluster not UTF-8", Members{Cluster: "\xff", Acceptors: three}, `Members.Cluster: name "\xff" is not valid UTF-8`},
		{"cluster with a control character", Members{Cluster: "a\nb", Acceptors: three}, "Members.Cluster: name \"a\\nb\" has a control"},
		{"no acceptors", Members{Cluster: "c"}, "Members.Acceptors: 0 servers: want 1 to 64"},
		{"too many acceptors", Members{Cluster: "c", Acceptors: upTo(65)}, "Members.Acceptors: 65 servers: want 1 to 64"},
		{"acceptor 0", Members{Cluster: "c", Acceptors: []ServerID{0, 1}}, "Members.Acceptors: server 0 is not a valid"},
		{"an acceptor twice", Members{Cluster: "c", Acceptors: []ServerID{1, 2, 2}}, "Members.Acceptors: server 2 after 2"},
		{"acceptors not ascending", Members{Cluster: "c", Acceptors: []ServerID{1, 3, 2}}, "Members.Acceptors: server 2 after 3"},
		{"too many learners", Members{Cluster: "c", Acceptors: []ServerID{5000}, Learners: upTo(1025)},
			"Members.Learners: 1025 servers: want at most 1024"},
		{"learner 0", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{0}}, "Members.Learners: server 0 is not a valid"},
		{"a learner twice", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{7, 7}}, "Members.Learners: server 7 after 7"},
		{"learners not ascending", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{8, 7}}, "Members.Learners: server 7 after 8"},
		{"a learner that votes", Members{Cluster: "c", Acceptors: three, Learners: []ServerID{3}},
			"Members.Learners: server 3 is an acceptor too"},
		{"quorum of fewer", Members{Cluster: "c", Acceptors: three, Quorum: Majority(2)},
			"Members.Quorum: majority(2) counts 2 acceptors, Members.Acceptors has 3"},
		{"quorum of more", Members{Cluster: "c", Acceptors: three, Quorum: Majority(5)}, "Members.Quorum: majority(5) counts 5"},
		{"quorum of none", Members{Cluster: "c", Acceptors: three, Quorum: Majority(0)}, "Members.Quorum: "},
		{"quorums that do not meet", Members{Cluster: "c", Acceptors: three, Quorum: noQuorum{threeOf{"bad"}}},
			"Members.Quorum: paxos: quorum bad: phase-1 quorum {1} and phase-2 quorum {0} do not meet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, err := FirstState(1, tt.m, 9)
			require.ErrorContains(t, err, "paxos: format: ")
			require.ErrorContains(t, err, tt.want)
			assert.Zero(t, state)
		})
	}
}

func TestMembersAccepted(t *testing.T) {
	grid, err := Grid(8, 8)
	require.NoError(t, err)
	for _, tt := range []struct {
		name string
		m    Members
		want string // of the storage's Members
	}{
		{"one server", Members{Cluster: "c", Acceptors: []ServerID{1}}, "1 majority(1)"},
		{"the most", Members{Cluster: "c", Acceptors: upTo(64), Quorum: grid}, ""},
		{"the greatest ServerID", Members{Cluster: "c", Acceptors: []ServerID{1, 1<<64 - 1}}, "1,18446744073709551615 majority(2)"},
		{"the longest name", Members{Cluster: fmt.Sprintf("%255d", 1), Acceptors: []ServerID{1}}, "1 majority(1)"},
		{"the most learners", Members{Cluster: "c", Acceptors: []ServerID{5000}, Learners: upTo(1024)}, "5000 majority(1)"},
		{"a quorum of the user's own", Members{Cluster: "c", Acceptors: upTo(3), Quorum: threeOf{"all"}}, "1,2,3 all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state, err := FirstState(tt.m.Acceptors[0], tt.m, 9)
			require.NoError(t, err)
			if tt.want != "" {
				assert.Equal(t, tt.want, state.Members)
			}
		})
	}
}

func TestMembersString(t *testing.T) {
	flexible, err := Flexible(4, 3, 2)
	require.NoError(t, err)
	m := Members{Cluster: "a \"b\"", Acceptors: []ServerID{2, 3, 5, 7}, Learners: []ServerID{11}, Quorum: flexible}
	assert.Equal(t, `cluster "a \"b\"", acceptors 2,3,5,7 flexible(4,3,2)`, m.String())
	m.Quorum = nil
	assert.Equal(t, `cluster "a \"b\"", acceptors 2,3,5,7 majority(4)`, m.String())
}

// TestMembersFingerprint holds numbers that are part of the wire format: servers of two releases must agree on them.
func TestMembersFingerprint(t *testing.T) {
	flexible, err := Flexible(3, 3, 1)
	require.NoError(t, err)
	base := Members{Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}}
	assert.EqualValues(t, uint64(0xb09ceb0d03d0aa1f), base.Fingerprint())

	same := map[string]Members{
		"the default quorum is Majority": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: Majority(3)},
		"learners do not count":          {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Learners: []ServerID{4, 5}},
	}
	for name, m := range same {
		assert.Equal(t, base.Fingerprint(), m.Fingerprint(), name)
	}
	seen := map[uint64]string{base.Fingerprint(): "base"}
	for name, m := range map[string]Members{
		"cluster":         {Cluster: "clustes", Acceptors: []ServerID{1, 2, 3}},
		"fewer acceptors": {Cluster: "cluster", Acceptors: []ServerID{1, 2}},
		"other acceptors": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 4}},
		"12 is not 1, 2":  {Cluster: "cluster", Acceptors: []ServerID{12, 3}},
		"quorum":          {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: flexible},
		"quorum, its own": {Cluster: "cluster", Acceptors: []ServerID{1, 2, 3}, Quorum: threeOf{"all"}},
	} {
		assert.NotContains(t, seen, m.Fingerprint(), "%s and %s", name, seen[m.Fingerprint()])
		seen[m.Fingerprint()] = name
	}
}
