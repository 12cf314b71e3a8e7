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

// A Forget of a name that is being forgotten joins the other one, and each is cancelled alone.
func TestForgetsOfOneNameAreCancelledAlone(t *testing.T) {
	for _, order := range [][]int{{0, 2, 1}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}} {
		s := decided(t, paxostest.SimConfig{}, "lunch")
		s.SaveTime(1, 50*ms)
		calls := []*paxostest.Call{s.Forget(1, paxos.OneName("lunch")), nil, nil}
		s.RunFor(2 * ms)
		calls[1] = s.Read(1, "lunch")
		calls[2] = s.Forget(1, paxos.OneName("lunch"))
		for n, i := range order {
			s.Cancel(calls[i])
			for m, j := range order {
				assert.Equal(t, m <= n, calls[j].Ended, "%v: %s", order, calls[j])
			}
		}
		s.RunFor(time.Second)
		assert.True(t, s.Stored(1, "lunch").Acceptor.Promised.IsForgotten())
	}
}

// In round 0 an owner asks for votes without a phase 1, and a standing ballot has had its own before. So a Forget waits until neither can find a
// phase-2 quorum.
func TestForgetOfAnOwnedNameLeavesNoQuorum(t *testing.T) {
	q, err := paxos.Flexible(4, 3, 2)
	require.NoError(t, err)
	owned := paxos.Owned(3, "x")
	for _, c := range []struct {
		names paxos.NameRange
		name  string
	}{{paxos.OneName(owned), owned}, {paxos.Prefix("$3/"), owned}, {paxos.Prefix(""), owned}, {paxos.OneName("dinner"), "dinner"}, {paxos.Prefix(""), "dinner"}} {
		s := decided(t, paxostest.SimConfig{Servers: 4, Quorum: q}, "lunch")
		s.Stand(3)
		s.RunFor(time.Second)
		for _, a := range []paxos.ServerID{1, 2} {
			for _, b := range []paxos.ServerID{3, 4} {
				s.Cut(a, b)
			}
		}
		forget := s.Forget(1, c.names)
		s.RunFor(2 * time.Second)
		assert.False(t, forget.Ended, "%s", forget)
		propose := s.Propose(3, c.name, "new")
		s.RunFor(time.Second)
		assert.Equal(t, paxos.Value("new"), propose.Decision.Value)
		s.Heal()
		s.RunFor(time.Minute)
		assert.True(t, forget.Ended && forget.Err == nil, "%s", forget)
	}
}

// A server that does not vote forgets what an acceptor has forgotten, whatever waits there.
func TestForgetAtAServerThatDoesNotVoteBesideACall(t *testing.T) {
	for _, names := range []paxos.NameRange{paxos.OneName("x"), paxos.Prefix("x")} {
		s := decided(t, paxostest.SimConfig{Learners: 1}, "lunch")
		forget := s.Forget(4, names)
		s.RunFor(ms)
		wait := s.Wait(4, "x")
		s.RunFor(time.Minute)
		assert.True(t, forget.Ended && forget.Err == nil, "%s", forget)
		assert.True(t, isForgotten(wait), "%s", wait)
	}
}

// The text of a range may be longer than any value.
func TestForgottenIsToldWhereValuesAreSmall(t *testing.T) {
	s := decided(t, paxostest.SimConfig{Limits: paxos.Limits{MaxValue: 4}}, "lunch")
	s.Isolate(3)
	s.Forget(1, paxos.Prefix("a rather long prefix of many names/"))
	s.RunFor(time.Second)
	s.Heal()
	propose := s.Propose(3, "a rather long prefix of many names/1", "v")
	s.RunFor(100 * ms)
	assert.True(t, isForgotten(propose), "%s", propose)
}

// While a range grows, and that is not durable yet, the part that is durable is told as ever, and no more than that.
func TestForgottenIsToldWhileItsRangeGrows(t *testing.T) {
	s := decided(t, paxostest.SimConfig{}, "lunch")
	first := s.Forget(1, paxos.NameRange{From: "a", To: "b"})
	s.RunFor(time.Second)
	require.NoError(t, first.Err)
	s.SaveTime(1, 100*ms)
	s.Forget(1, paxos.NameRange{From: "b", To: "c"})
	read := s.Read(1, "a1")
	require.True(t, isForgotten(read), "%s", read)
	var forgotten *paxos.ForgottenError
	require.ErrorAs(t, read.Err, &forgotten)
	assert.Equal(t, paxos.NameRange{From: "a", To: "b"}, forgotten.Names)
	later := s.Read(1, "b1")
	assert.False(t, later.Ended)
	s.RunFor(time.Second)
	require.ErrorAs(t, later.Err, &forgotten)
	assert.Equal(t, paxos.NameRange{From: "a", To: "c"}, forgotten.Names)
}

// An answer that waits for a Save names no more than that Save has, although the range has grown since.
func TestForgottenIsToldAsTheSaveHasIt(t *testing.T) {
	s := paxostest.NewSim(paxostest.SimConfig{})
	s.Drop(paxostest.Match{To: 3, Kind: paxos.KindPromise})
	propose := s.Propose(3, "a/1", "v")
	s.RunFor(30 * ms)
	s.SaveTime(1, time.Second)
	s.Drop(paxostest.Match{From: 1, Kind: paxos.KindForget})
	s.Forget(1, paxos.Prefix("a/"))
	s.RunFor(10 * ms)
	s.Forget(1, paxos.NameRange{From: "a0", To: "b"})
	s.RunFor(1100 * ms) // server 3 asks again
	assert.NotZero(t, s.Arrived(paxostest.Match{To: 3, Kind: paxos.KindNack}))
	require.True(t, isForgotten(propose), "%s", propose)
	var forgotten *paxos.ForgottenError
	require.ErrorAs(t, propose.Err, &forgotten)
	assert.Equal(t, paxos.OneName("a/1"), forgotten.Names, "no range was durable when the answer was made")
}

// A server that does not vote takes no Forget: nobody might learn of it.
func TestForgetIsNotForAServerThatDoesNotVote(t *testing.T) {
	s := decided(t, paxostest.SimConfig{Learners: 1}, "lunch")
	s.Inject(1, 4, paxos.Message{Kind: paxos.KindForget, Instance: "lunch"})
	s.Inject(1, 4, paxos.Message{Kind: paxos.KindForget, Value: paxos.Value(paxos.Prefix("l").String())})
	s.RunFor(time.Second)
	assert.False(t, s.Stored(4, "lunch").Acceptor.Promised.IsForgotten())
	assert.Empty(t, s.Status(4).Forgotten)
	assert.Equal(t, uint64(2), s.Status(4).Counters.Dropped)
}
