package paxos

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A proposerModel is a second proposer, deliberately dumb: it keeps every message that was not a contradiction, and reads
// the answer to each question off the whole list, counting by majority.
type proposerModel struct {
	n   int
	own Value
	log []heardMessage
}

// asked returns what the attempt asks the acceptors for. ok is false while no majority has promised.
func (h *proposerModel) asked() (highest vote, ok bool) {
	promised := map[int]bool{}
	highest.value = h.own
	for _, e := range h.log {
		if e.m.Kind != KindPromise {
			continue
		}
		promised[e.from] = true
		if highest.ballot.Compare(e.m.Accepted) < 0 {
			highest = vote{e.m.Accepted, e.m.Value}
		}
		if 2*len(promised) > h.n {
			return highest, true
		}
	}
	return highest, false
}

func (h *proposerModel) from(k Kind) map[int]bool {
	who := map[int]bool{}
	for _, e := range h.log {
		if e.m.Kind == k {
			who[e.from] = true
		}
	}
	return who
}

func (h *proposerModel) broken(m Message) bool {
	highest, asking := h.asked()
	switch m.Kind {
	case KindPromise:
		some := m.Accepted != Ballot{}
		return some && (m.Accepted.Compare(ballot21) >= 0 || m.Accepted == highest.ballot && m.Value != highest.value)
	case KindAccepted:
		return !asking
	}
	return false
}

func (h *proposerModel) superseded() bool {
	mayPromise, mayVote := 0, 0
	promised, refused, accepted := h.from(KindPromise), h.from(KindNack), h.from(KindAccepted)
	for i := range h.n {
		if promised[i] || !refused[i] {
			mayPromise++
		}
		if accepted[i] || !refused[i] {
			mayVote++
		}
	}
	_, asking := h.asked()
	return 2*mayVote <= h.n || !asking && 2*mayPromise <= h.n
}

// FuzzProposer runs any sequence of messages through a Proposer and through the model that keeps them all. The first byte
// says how many acceptors there are.
func FuzzProposer(f *testing.F) {
	f.Add([]byte{2, 2 + 13, 4, 0x20, 2 + 26, 0x14, 0x30, 4 + 13, 4, 0, 4 + 26, 4, 0})
	f.Add([]byte{2, 2 + 13, 4, 0, 5 + 13, 4, 5, 5 + 26, 4, 5, 4 + 13, 4, 0})
	f.Add([]byte{4, 2 + 13, 0x14, 0x20, 2 + 26, 0x24, 0x20})
	addRandomRuns(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		n := int(data[0]%5) + 1
		p, model := NewProposer(ballot21, "own", Majority(n)), proposerModel{n: n, own: "own"}
		for i, m := range fuzzedRoleMessages(data[1:]) {
			next, out, err := p.Step(i, m)
			require.Empty(t, proposerFault(p, i, m, next, out, err), "%+v from %d in %+v", m, i, p)
			if m.Ballot == ballot21 && i >= 0 && i < n {
				require.Equal(t, model.broken(m), err != nil, "%+v from %d in %+v: %v", m, i, p, err)
				if err == nil {
					model.log = append(model.log, heardMessage{i, m})
				}
			}
			p = next
			asks, asking := model.asked()
			_, superseded := p.Superseded()
			require.Equal(t, asks.value, p.Value())
			require.Equal(t, asking, p.Accept().Kind == KindAccept)
			require.Equal(t, 2*len(model.from(KindAccepted)) > n, p.Chosen())
			require.Equal(t, model.superseded(), superseded)
		}
	})
}
