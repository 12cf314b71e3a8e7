package change_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configuration returns the one of that number with these acceptors, and a majority of them.
func configuration(number uint64, acceptors ...paxos.ServerID) paxos.Configuration {
	c := paxos.Configuration{Number: number, Members: paxos.Members{Cluster: "change", Acceptors: acceptors}}
	if number > 0 {
		c.Before = 1
	}
	return c
}

// with returns c with that quorum.
func with(t *testing.T, c paxos.Configuration, words string) paxos.Configuration {
	t.Helper()
	q, err := paxos.ParseQuorum(words)
	require.NoError(t, err)
	c.Members.Quorum = q
	require.NoError(t, c.Check())
	return c
}

// set returns the set of these positions.
func set(positions ...int) (s paxos.Set) {
	for _, i := range positions {
		s = s.With(i)
	}
	return s
}

func TestNewView(t *testing.T) {
	c := configuration(4, 2, 5, 9)
	c.Members.Learners = []paxos.ServerID{1, 7}
	v := change.NewView(c)
	c.Members.Acceptors[0], c.Members.Learners[0] = 3, 4 // the view has slices of its own

	assert.Equal(t, uint64(4), v.Number())
	assert.Equal(t, []paxos.ServerID{2, 5, 9}, v.Current().Members.Acceptors)
	assert.Equal(t, paxos.Majority(3), v.Current().Members.Quorum, "a nil Quorum is the majority")
	assert.Equal(t, v.Current().Fingerprint(), v.Fingerprint())
	assert.Equal(t, []paxos.ServerID{2, 5, 9}, v.Acceptors())
	assert.Equal(t, []paxos.ServerID{1, 7}, v.Learners())
	for id, position := range map[paxos.ServerID]int{2: 0, 5: 1, 9: 2, 1: -1, 7: -1, 0: -1, 10: -1} {
		assert.Equal(t, position, v.Position(id), "server %d", id)
	}
	for id, is := range map[paxos.ServerID]bool{2: true, 5: true, 9: true, 1: true, 7: true, 3: false, 0: false} {
		assert.Equal(t, is, v.Has(id), "server %d", id)
	}
	assert.Equal(t, paxos.All(3), v.Voters())
	assert.Equal(t, paxos.Majority(3), v.Quorum())

	assert.False(t, v.IsJoint())
	before, joint := v.Before()
	assert.Zero(t, before)
	assert.False(t, joint)
	assert.Zero(t, v.Sources())
	assert.False(t, v.IsSource(paxos.All(3)), "nothing is imported")
	assert.True(t, v.IsSettled())
	assert.Equal(t, paxos.All(3), v.Complete())
	for i := range 3 {
		assert.True(t, v.IsComplete(i))
		assert.False(t, v.Completed(i), "that is no news")
	}
	assert.False(t, v.IsComplete(-1))
	assert.False(t, v.Completed(-1))
}

func TestJointView(t *testing.T) {
	before, next := configuration(0, 2, 4, 6), configuration(1, 3, 4, 6, 8)
	before.Members.Learners, next.Members.Learners = []paxos.ServerID{1, 8, 9}, []paxos.ServerID{2, 7, 9}
	v := change.Joint(before, next)
	before.Members.Acceptors[0], next.Members.Acceptors[0] = 1, 1 // the view has slices of its own

	assert.True(t, v.IsJoint())
	assert.Equal(t, uint64(1), v.Number())
	assert.Equal(t, []paxos.ServerID{3, 4, 6, 8}, v.Current().Members.Acceptors)
	assert.Equal(t, v.Current().Fingerprint(), v.Fingerprint())
	old, joint := v.Before()
	assert.True(t, joint)
	assert.Equal(t, []paxos.ServerID{2, 4, 6}, old.Members.Acceptors)
	assert.Equal(t, []paxos.ServerID{2, 3, 4, 6, 8}, v.Acceptors())
	for i, id := range v.Acceptors() {
		assert.Equal(t, i, v.Position(id))
	}
	assert.Equal(t, -1, v.Position(5))
	assert.Equal(t, set(1, 2, 3, 4), v.Voters())
	assert.Equal(t, set(0, 2, 3), v.Sources())
	assert.Equal(t, []paxos.ServerID{1, 7, 9}, v.Learners(), "those of both, but for the acceptors")
	assert.True(t, v.Has(2), "a learner of the new configuration")
	assert.False(t, v.Has(1), "it is not in the new configuration")

	assert.Zero(t, v.Complete())
	assert.False(t, v.IsSettled())
	settled := change.NewView(v.Current())
	assert.Equal(t, []paxos.ServerID{3, 4, 6, 8}, settled.Acceptors())
	assert.Equal(t, 0, settled.Position(3), "positions are others when a view is settled")
	assert.True(t, settled.IsSettled())
}

func TestCompleted(t *testing.T) {
	v := change.Joint(configuration(0, 1, 2, 3), configuration(1, 2, 3, 4))
	began := v.Quorum()
	assert.False(t, v.Completed(0), "server 1 is no acceptor of the new configuration")
	for _, i := range []int{-1, 4, 63, 64} {
		assert.False(t, v.Completed(i), "position %d", i)
		assert.False(t, v.IsComplete(i), "position %d", i)
	}
	assert.Equal(t, began, v.Quorum())

	assert.False(t, began.Phase1(set(2, 3)))
	assert.True(t, v.Completed(3))
	assert.True(t, v.IsComplete(3))
	assert.False(t, v.IsComplete(2))
	assert.False(t, v.Completed(3), "that is no news")
	assert.Equal(t, set(3), v.Complete())
	assert.True(t, v.Quorum().Phase1(set(2, 3)))
	assert.False(t, began.Phase1(set(2, 3)), "an attempt that runs keeps its quorum")

	assert.False(t, v.IsSettled())
	assert.True(t, v.Completed(1))
	assert.True(t, v.IsSettled())
	assert.True(t, v.IsJoint(), "it stays joint until its owner makes another view")
}

// TestJointOnAllSets compares a joint view with the words of the protocol, and with Joint of package paxos, on all sets of acceptors, for
// all sets of complete ones.
func TestJointOnAllSets(t *testing.T) {
	three, two := configuration(0, 1, 2, 3), configuration(0, 1, 2)
	for _, tt := range []struct{ before, next paxos.Configuration }{
		{configuration(0, 1), configuration(1, 2)},
		{configuration(0, 2), configuration(1, 1)},
		{three, configuration(1, 2, 3, 4)},
		{three, configuration(1, 4, 5, 6)},
		{three, configuration(1, 1, 2, 3, 4)},
		{configuration(0, 1, 2, 3, 4), configuration(1, 2, 3, 4)},
		{three, configuration(1, 2)},
		{configuration(0, 2, 4, 6), configuration(1, 1, 3, 4, 5)},
		{with(t, two, "flexible(2,1,2)"), with(t, configuration(1, 3, 4), "flexible(2,2,1)")},
		{with(t, three, "flexible(3,2,2)"), with(t, configuration(1, 1, 2, 3), "flexible(3,1,3)")},
		{with(t, three, "weighted(3,1,1)"), with(t, configuration(1, 1, 4, 5), "weighted(1,1,5)")},
		{with(t, configuration(0, 1, 2, 3, 4), "grid(2,2)"), with(t, configuration(1, 1, 2, 3, 4), "grid(1,4)")},
	} {
		t.Run(fmt.Sprintf("%s to %s", tt.before.Members.Voters(), tt.next.Members.Voters()), func(t *testing.T) {
			v := change.Joint(tt.before, tt.next)
			require.True(t, v.IsJoint())
			for complete := paxos.Set(0); complete <= v.Voters(); complete++ {
				if complete&^v.Voters() == 0 {
					checkJoint(t, tt.before, tt.next, complete)
				}
			}
		})
	}
}

func checkJoint(t *testing.T, before, next paxos.Configuration, complete paxos.Set) {
	before.Members, next.Members = before.Members.Clone(), next.Members.Clone()
	v := change.Joint(before, next)
	all := paxos.All(len(v.Acceptors()))
	for i := range v.Acceptors() {
		require.Equal(t, complete.Has(i), complete.Has(i) && v.Completed(i))
	}
	require.Equal(t, complete, v.Complete())
	q, err := paxos.Joint(before.Members.Quorum, v.Sources(), next.Members.Quorum, v.Voters(), complete)
	require.NoError(t, err)
	require.Equal(t, q, v.Quorum())
	in := func(c paxos.Configuration, s paxos.Set) (t paxos.Set) {
		for i, id := range v.Acceptors() {
			if at := slices.Index(c.Members.Acceptors, id); at >= 0 && s.Has(i) {
				t = t.With(at)
			}
		}
		return t
	}
	require.Equal(t, next.Members.Quorum.Phase2(in(next, complete)), v.IsSettled(), "complete %v", complete)
	for s := paxos.Set(0); s <= all; s++ {
		ofBefore, ofNext := before.Members.Quorum.Phase1(in(before, s)), next.Members.Quorum.Phase1(in(next, s))
		require.Equal(t, ofNext && (ofBefore || s&complete != 0), v.Quorum().Phase1(s), "phase 1, %v, complete %v", s, complete)
		require.Equal(t, next.Members.Quorum.Phase2(in(next, s)), v.Quorum().Phase2(s), "phase 2, %v, complete %v", s, complete)
		require.Equal(t, ofBefore, v.IsSource(s), "source, %v", s)
		if v.IsSettled() && ofNext {
			require.NotZero(t, s&complete, "a phase-1 quorum of a settled view has a complete acceptor")
		}
	}
}

// TestSameVoters: with the same acceptors and the same quorum nothing is imported, whatever else is another.
func TestSameVoters(t *testing.T) {
	before := configuration(1, 1, 2, 3)
	for name, next := range map[string]paxos.Configuration{
		"a majority in words": with(t, configuration(2, 1, 2, 3), "majority(3)"),
		"learners":            {Number: 2, Before: 1, Members: paxos.Members{Cluster: "change", Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{7}}},
		"addresses": {Number: 2, Before: 1, Members: paxos.Members{Cluster: "change", Acceptors: []paxos.ServerID{1, 2, 3},
			Addresses: map[paxos.ServerID]string{1: "there"}}},
	} {
		v := change.Joint(before, next)
		assert.Equal(t, change.NewView(next), v, name)
		assert.False(t, v.IsJoint(), name)
		assert.True(t, v.IsSettled(), name)
		assert.Equal(t, uint64(2), v.Number(), name)
		assert.Equal(t, paxos.Majority(3), v.Quorum(), name)
	}
	for name, next := range map[string]paxos.Configuration{
		"another acceptor":            configuration(2, 1, 2, 4),
		"one more":                    configuration(2, 1, 2, 3, 4),
		"one less":                    configuration(2, 1, 2),
		"another quorum":              with(t, configuration(2, 1, 2, 3), "flexible(3,1,3)"),
		"equal sets, and other words": with(t, configuration(2, 1, 2, 3), "flexible(3,2,2)"),
	} {
		v := change.Joint(before, next)
		assert.True(t, v.IsJoint(), name)
		assert.False(t, v.IsSettled(), name)
	}
}

func TestJointOfMostAcceptors(t *testing.T) {
	var first, second []paxos.ServerID
	for i := range paxos.ServerID(32) {
		first, second = append(first, 2*i+1), append(second, 2*i+2)
	}
	v := change.Joint(configuration(0, first...), configuration(1, second...))
	assert.Equal(t, 63, v.Position(64))
	assert.True(t, v.Voters().Has(63))
	assert.Equal(t, ^v.Voters(), v.Sources())
	assert.True(t, v.IsSource(v.Sources()))
	assert.False(t, v.IsSource(v.Voters()))
	for i := 63; i > 64-2*17; i -= 2 {
		assert.False(t, v.IsSettled())
		assert.True(t, v.Completed(i))
	}
	assert.True(t, v.IsSettled(), "17 of 32 are complete")
}

// TestJointOfUnchecked: configurations that do not pass their Check are a mistake of the caller.
func TestJointOfUnchecked(t *testing.T) {
	wrong := configuration(0, 1, 2, 3)
	wrong.Members.Quorum = paxos.Majority(2)
	assert.Panics(t, func() { change.Joint(wrong, configuration(1, 1, 2)) })
}
