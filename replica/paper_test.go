package replica

import (
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// 2.5: "Stable storage, preserved during failures, is used to maintain the information that the acceptor must remember."
func TestPaper25StableStorageHoldsWhatMustBeRemembered(t *testing.T) {
	s := newSavingServer()
	for _, m := range []paxos.Message{
		{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 1}}, {Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, {Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 2, Server: 2}},
	} {
		_, _, err := s.receive(m)
		require.NoError(t, err)
		s.beginSave()
		s.endSave()
		before := s.Acceptor
		s.crash(false)
		assert.Equal(t, before, s.Acceptor, "after %+v", m)
	}
	assert.Equal(t, paxos.Acceptor{Promised: paxos.Ballot{Round: 2, Server: 2}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, s.Acceptor)
}

// 2.5: "An acceptor records its intended response in stable storage before actually sending the response."
func TestPaper25RecordsBeforeItResponds(t *testing.T) {
	requests := []paxos.Message{
		{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 1, Server: 1}}, {Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"},
		{Kind: paxos.KindAccept, Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: "a"}, {Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 2, Server: 2}},
	}
	// A Save begins, ends, or neither, after each request; then the server crashes. All orders of that.
	sent := 0
	for plan := range 81 {
		s, rest := newSavingServer(), plan
		for _, m := range requests {
			_, _, err := s.receive(m)
			require.NoError(t, err)
			switch rest % 3 {
			case 1:
				s.beginSave()
			case 2:
				s.beginSave()
				s.endSave()
			}
			rest /= 3
			require.Zero(t, s.unbacked(), "plan %d: left before it was recorded", plan)
		}
		s.crash(false)
		require.Zero(t, s.unbacked(), "plan %d: the crash took back a response", plan)
		sent += len(s.sent)
	}
	assert.Positive(t, sent, "no response ever left")
}

// 2.2: "an acceptor must remember this information even if it fails and then restarts"
func TestPaper22RemembersOverARestart(t *testing.T) {
	// An acceptor may crash after each of the 8 answers of two attempts, in every combination.
	for crashes := range 1 << 8 {
		servers := [3]*savingServer{newSavingServer(), newSavingServer(), newSavingServer()}
		first, second := paxos.NewProposer(paxos.Ballot{Round: 1, Server: 1}, "a", paxos.Majority(3)), paxos.NewProposer(paxos.Ballot{Round: 2, Server: 2}, "b", paxos.Majority(3))
		point := 0
		deliver := func(p *paxos.Proposer, m paxos.Message, i int) {
			reply, _, err := servers[i].receive(m)
			require.NoError(t, err)
			servers[i].beginSave()
			servers[i].endSave()
			if crashes>>point&1 == 1 {
				servers[i].crash(false)
			}
			point++
			next, _, err := p.Step(i, reply)
			require.NoError(t, err)
			*p = next
		}
		for _, i := range []int{0, 1} {
			deliver(&first, first.Prepare(), i)
		}
		for _, i := range []int{0, 1} {
			deliver(&first, first.Accept(), i)
		}
		for _, i := range []int{1, 2} {
			deliver(&second, second.Prepare(), i)
		}
		for _, i := range []int{1, 2} {
			deliver(&second, second.Accept(), i)
		}
		require.True(t, first.Chosen(), "crashes %08b", crashes)
		require.True(t, second.Chosen(), "crashes %08b", crashes)
		require.Equal(t, paxos.Value("a"), second.Value(), "crashes %08b", crashes)
	}
}
