package paxos

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// 2.5: "Stable storage, preserved during failures, is used to maintain the information that the acceptor must remember."
func TestPaper25StableStorageHoldsWhatMustBeRemembered(t *testing.T) {
	s := newSavingServer()
	for _, m := range []Message{
		{Kind: KindPrepare, Ballot: Ballot{1, 1}}, {Kind: KindAccept, Ballot: Ballot{1, 1}, Value: "a"}, {Kind: KindPrepare, Ballot: Ballot{2, 2}},
	} {
		_, _, err := s.receive(m)
		require.NoError(t, err)
		s.beginSave()
		s.endSave()
		before := s.Acceptor
		s.crash(false)
		assert.Equal(t, before, s.Acceptor, "after %+v", m)
	}
	assert.Equal(t, Acceptor{Promised: Ballot{2, 2}, Accepted: Ballot{1, 1}, Value: "a"}, s.Acceptor)
}

// 2.5: "An acceptor records its intended response in stable storage before actually sending the response."
func TestPaper25RecordsBeforeItResponds(t *testing.T) {
	requests := []Message{
		{Kind: KindPrepare, Ballot: Ballot{1, 1}}, {Kind: KindAccept, Ballot: Ballot{1, 1}, Value: "a"},
		{Kind: KindAccept, Ballot: Ballot{1, 1}, Value: "a"}, {Kind: KindPrepare, Ballot: Ballot{2, 2}},
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
		first, second := NewProposer(Ballot{1, 1}, "a", Majority(3)), NewProposer(Ballot{2, 2}, "b", Majority(3))
		point := 0
		deliver := func(p *Proposer, m Message, i int) {
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
		require.Equal(t, Value("a"), second.Value(), "crashes %08b", crashes)
	}
}
