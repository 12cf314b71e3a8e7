package proof_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

const ms = time.Millisecond

// decided returns a Sim in which these instances are decided, and durable on all servers.
func decided(t *testing.T, c paxostest.SimConfig, names ...string) *paxostest.Sim {
	t.Helper()
	s := paxostest.NewSim(c)
	for _, name := range names {
		call := s.Propose(1, name, "v")
		s.Run()
		require.NoError(t, call.Err)
	}
	return s
}

func isForgotten(c *paxostest.Call) bool { return c.Ended && errors.Is(c.Err, paxos.ErrForgotten) }

// A server that has heard nothing of it learns it by its first question. It does not wait for a pull: here, for an hour.
func TestForgottenIsToldAtOnce(t *testing.T) {
	for _, names := range []paxos.NameRange{paxos.OneName("job/1"), paxos.Prefix("job/")} {
		s := decided(t, paxostest.SimConfig{}, "lunch")
		s.Isolate(3)
		forget := s.Forget(1, names)
		s.RunFor(100 * ms)
		require.True(t, forget.Ended)
		require.NoError(t, forget.Err)
		s.Heal()
		propose, read := s.Propose(3, "job/1", "v"), s.Read(3, "job/1")
		s.RunFor(50 * ms)
		assert.True(t, isForgotten(propose), "%s", propose)
		assert.True(t, isForgotten(read), "%s", read)
		var forgotten *paxos.ForgottenError
		require.ErrorAs(t, propose.Err, &forgotten)
		assert.Equal(t, names, forgotten.Names, "and with which names")
	}
}

// A Read that comes while the instance is being forgotten is told so, and the Forget ends.
func TestForgetBesideARead(t *testing.T) {
	s := decided(t, paxostest.SimConfig{Servers: 1}, "lunch")
	s.SaveTime(1, 50*ms)
	forget, read := s.Forget(1, paxos.OneName("lunch")), s.Read(1, "lunch")
	s.RunFor(40 * ms)
	assert.False(t, forget.Ended || read.Ended, "it is not durable yet")
	s.RunFor(40 * ms)
	assert.True(t, isForgotten(read), "%s", read)
	assert.True(t, forget.Ended && forget.Err == nil, "%s", forget)
}

// A range that grows while others answer is asked for anew: their answers are about the smaller one.
func TestForgetOfARangeThatGrows(t *testing.T) {
	s := decided(t, paxostest.SimConfig{}, "lunch")
	s.Hold(paxostest.Match{To: 1, Kind: paxos.KindForgotten})
	first := s.Forget(1, paxos.NameRange{From: "a", To: "b"})
	s.RunFor(20 * ms)
	second := s.Forget(1, paxos.NameRange{From: "b", To: "c"})
	s.Drop(paxostest.Match{From: 1, Kind: paxos.KindForget})
	s.Release(paxostest.Match{To: 1, Kind: paxos.KindForgotten})
	s.RunFor(50 * ms)
	assert.False(t, first.Ended || second.Ended, "nobody has forgotten all of it")
	s.Clear()
	s.RunFor(5 * time.Second)
	assert.True(t, first.Ended && first.Err == nil, "%s", first)
	assert.True(t, second.Ended && second.Err == nil, "%s", second)
	for id := range paxos.ServerID(3) {
		assert.Equal(t, []paxos.NameRange{{From: "a", To: "c"}}, s.Status(id+1).Forgotten)
	}
}

// A range between two others makes them one, with one record.
func TestForgetOfARangeBetweenTwo(t *testing.T) {
	s := decided(t, paxostest.SimConfig{}, "lunch")
	for _, names := range []paxos.NameRange{{From: "a", To: "b"}, {From: "c", To: "d"}, {From: "x", To: "y"}, {From: "b", To: "c"}} {
		forget := s.Forget(1, names)
		s.RunFor(time.Second)
		require.True(t, forget.Ended && forget.Err == nil, "%s", forget)
	}
	for id := range paxos.ServerID(3) {
		assert.Equal(t, []paxos.NameRange{{From: "a", To: "d"}, {From: "x", To: "y"}}, s.Status(id+1).Forgotten)
		assert.True(t, s.Stored(id+1, "$forgotten/0").Chosen)
		assert.Zero(t, s.Stored(id+1, "$forgotten/1"))
		assert.True(t, s.Stored(id+1, "$forgotten/2").Chosen)
		s.Crash(id + 1)
		s.Restart(id + 1)
	}
	s.RunFor(time.Second)
	read := s.Read(2, "c1")
	s.RunFor(time.Second)
	assert.True(t, isForgotten(read), "%s", read)
}

// A server that does not vote forgets after an acceptor has. If it stops before, nobody has forgotten anything.
func TestForgetAtAServerThatDoesNotVote(t *testing.T) {
	s := decided(t, paxostest.SimConfig{Learners: 1}, "lunch")
	s.Isolate(4)
	forget := s.Forget(4, paxos.OneName("lunch"))
	s.RunFor(5 * ms)
	assert.False(t, s.Stored(4, "lunch").Acceptor.Promised.IsForgotten())
	s.Heal()
	s.RunFor(5 * time.Second)
	assert.True(t, forget.Ended && forget.Err == nil, "%s", forget)
	for id := range paxos.ServerID(4) {
		assert.True(t, s.Stored(id+1, "lunch").Acceptor.Promised.IsForgotten(), "server %d", id+1)
	}
}

// A Forget can be cancelled in each of its phases. The servers that have begun to forget go on.
func TestForgetIsCancelled(t *testing.T) {
	for _, at := range []time.Duration{0, ms / 2, 5 * ms, 15 * ms} {
		for _, names := range []paxos.NameRange{paxos.OneName("lunch"), paxos.Prefix("l")} {
			s := decided(t, paxostest.SimConfig{}, "lunch")
			forget := s.Forget(1, names)
			s.RunFor(at)
			s.Cancel(forget)
			assert.True(t, forget.Ended, "after %s", at)
			assert.True(t, paxos.Unknown(forget.Err), "%s", forget)
			s.RunFor(time.Second)
			read := s.Read(1, "lunch")
			s.RunFor(time.Second)
			assert.True(t, isForgotten(read), "%s", read)
			assert.Zero(t, s.Status(1).Calls)
		}
	}
}
