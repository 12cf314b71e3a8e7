package replica

import (
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/singledecree/paxos"
)

// roleBallots are the ballots of the exhaustive tests: none, one of an owned instance, two servers in each of two
// rounds, and one that no server has. They ascend, except for the last.
var roleBallots = []paxos.Ballot{{}, ballot(0, 1), ballot(1, 1), ballot(1, 2), ballot(2, 1), ballot(2, 2), ballot(1, 0)}

// roleKinds are all kinds of messages and some that do not exist.
var roleKinds = []paxos.Kind{0, paxos.KindPrepare, paxos.KindPromise, paxos.KindAccept, paxos.KindAccepted, paxos.KindNack, paxos.KindChosen, paxos.KindDecided, paxos.KindQuery,
	paxos.KindState, paxos.KindPull, paxos.KindRefuse, 12, 255}

func ballot(round uint64, server paxos.ServerID) paxos.Ballot {
	return paxos.Ballot{Round: round, Server: server}
}

// everyRoleMessage yields every combination of small fields: what a broken peer might send, and everything a sound one does.
func everyRoleMessage(ballots []paxos.Ballot, values ...paxos.Value) iter.Seq[paxos.Message] {
	return func(yield func(paxos.Message) bool) {
		for _, k := range roleKinds {
			for _, b := range ballots {
				for _, promised := range ballots {
					for _, accepted := range ballots {
						for _, v := range values {
							if !yield(paxos.Message{Kind: k, Instance: "i", Ballot: b, Promised: promised, Accepted: accepted, Value: v}) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// fuzzedRoleMessages reads messages and the positions they come from, or go to, off fuzz data: three bytes each. Positions
// reach from -1 to 4, ballots and values are small, kinds are any.
func fuzzedRoleMessages(data []byte) iter.Seq2[int, paxos.Message] {
	values := []paxos.Value{"", "a", "b", "c"}
	pick := func(b byte) paxos.Ballot { return roleBallots[int(b)%len(roleBallots)] }
	attempt := func(b byte) paxos.Ballot {
		if int(b) < len(roleBallots) {
			return roleBallots[b]
		}
		return ballot(2, 1) // more often than others, or an attempt would rarely hear of itself
	}
	return func(yield func(int, paxos.Message) bool) {
		for ; len(data) >= 3; data = data[3:] {
			m := paxos.Message{Kind: paxos.Kind(data[0] % 13), Instance: "i", Ballot: attempt(data[1] & 15), Value: values[data[1]>>4&3],
				Promised: pick(data[2] & 15), Accepted: pick(data[2] >> 4)}
			if !yield(int(data[0]/13%6)-1, m) {
				return
			}
		}
	}
}

// addRandomRuns adds long random inputs to a fuzz target's seeds, the same every time, so that a plain go test compares the
// role with its model over thousands of steps.
func addRandomRuns(f *testing.F) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 1+r.IntN(240))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
}
