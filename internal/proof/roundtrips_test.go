package proof_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// An uncontended decision, by how its instance is named: its messages, and its time where a message takes 10 ms and a
// Save 1 ms. That is one round trip with a Save at its end where the name was minted, the owner's own Save before that where it
// was made by Owned, and two round trips with a Save each everywhere else.
func TestOwnedDecisionsTakeOneRoundTrip(t *testing.T) {
	const delay, save = 10 * time.Millisecond, time.Millisecond
	for _, n := range []int{3, 5} {
		for _, tt := range []struct {
			says  string
			name  func(w *paxostest.Sim) string
			takes time.Duration
			saves int // of the owner, one after the other, before the decision is known
			rest  int // Prepares and Promises
		}{
			{"minted", func(w *paxostest.Sim) string { return w.Mint(1, "lunch") }, 2*delay + save, 1, 0},
			{"owned", func(*paxostest.Sim) string { return paxos.Owned(1, "lunch") }, 2*delay + 2*save, 1, 0},
			{"owned by another", func(*paxostest.Sim) string { return paxos.Owned(2, "lunch") }, 2 * (2*delay + save), 2, n - 1},
			{"nobody's", func(*paxostest.Sim) string { return "lunch" }, 2 * (2*delay + save), 2, n - 1},
		} {
			t.Run(fmt.Sprintf("%s, %d servers", tt.says, n), func(t *testing.T) {
				w := newWorld(t, paxostest.SimConfig{Servers: n, Delay: delay, SaveTime: save})
				before := w.Status(1).Counters
				call := w.Propose(1, tt.name(w), "burger")
				began := w.Now()
				w.Until("it is decided", func() bool { return call.Ended })
				assert.Equal(t, tt.takes, w.Now()-began)
				assert.Equal(t, paxos.Value("burger"), call.Decision.Value)
				after := w.Status(1).Counters
				assert.Equal(t, uint64(tt.saves), after.Saves-before.Saves)
				w.Run()
				for kind, want := range map[paxos.Kind]int{paxos.KindPrepare: tt.rest, paxos.KindPromise: tt.rest, paxos.KindAccept: n - 1,
					paxos.KindAccepted: n - 1, paxos.KindChosen: n - 1} {
					assert.Equal(t, want, w.Sent(paxostest.Match{Kind: kind}), "%v", kind)
				}
				assert.Equal(t, 3*(n-1)+2*tt.rest, w.Sent(paxostest.Match{}), "and nothing else")
			})
		}
	}
}
