package paxostest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestChaosRepeats: a Chaos is data. The same one does the same again, bit for bit, drawn anew or kept, with a log or without.
func TestChaosRepeats(t *testing.T) {
	for seed := range uint64(50) {
		c := NewChaos(seed)
		require.Equal(t, c, NewChaos(seed))
		first := c.Run(false)
		require.NoError(t, first.Err, "seed %d", seed)
		for _, log := range []bool{false, true} {
			again := c.Run(log)
			require.Equal(t, first.Hash, again.Hash, "seed %d", seed)
			require.Equal(t, first.Steps, again.Steps, "seed %d", seed)
			require.Equal(t, first.Tally, again.Tally, "seed %d", seed)
		}
		explicit := c.explicit().Run(false)
		require.Equal(t, first.Hash, explicit.Hash, "seed %d: packet by packet", seed)
	}
}

// TestChaosDrawsAll: among few seeds there is each kind of fault, each size of a cluster, and each kind of quorum.
func TestChaosDrawsAll(t *testing.T) {
	var acts [acts]int
	sizes, quorums, learners, lossy, tight, crowded := map[int]int{}, map[string]int{}, 0, 0, 0, 0
	for seed := range uint64(500) {
		c := NewChaos(seed)
		sizes[c.Servers]++
		if c.Quorum != nil {
			kind, _, _ := strings.Cut(c.Quorum.String(), "(")
			quorums[kind]++
		}
		if c.Learners > 0 {
			learners++
		}
		if c.Loss > 0 {
			lossy++
		}
		if c.Limits != (paxos.Limits{}) {
			tight++
		}
		if c.Crowded {
			crowded++
			require.Positive(t, c.Limits.MaxOpen)
		}
		for _, a := range c.Actions {
			acts[a.Act]++
			require.LessOrEqual(t, int(a.Server), c.Servers+c.Learners)
		}
	}
	for a, n := range acts {
		assert.NotZero(t, n, "%s", Act(a))
	}
	for _, size := range []int{1, 2, 3, 4, 5, 6, 7, 9, 13} {
		assert.NotZero(t, sizes[size], "%d servers", size)
	}
	assert.Len(t, quorums, 3, "%v", quorums)
	assert.NotZero(t, learners)
	assert.NotZero(t, lossy)
	assert.NotZero(t, tight)
	assert.Equal(t, 50, crowded)
}

// TestShrink: of a long run that breaks agreement only the cause remains: a proposal, a lie, and the crash after which the lie is believed.
// The remaining run still fails, prints as a diagram, and shrinks no further.
func TestShrink(t *testing.T) {
	shrunk := 0
	for seed := uint64(0); shrunk < 4; seed++ {
		c := NewChaos(seed)
		if c.Servers < 3 || c.Quorum != nil || len(c.Actions) < 8 || c.Seed%10 == 9 {
			continue
		}
		lie := Action{At: max(c.Ends-20*ms, 0), Act: ActForge, Server: 2, Peer: 1, Message: paxos.Message{Kind: paxos.KindDecided, Instance: c.names()[0],
			Ballot: paxos.Ballot{Round: 9, Server: 2}, Value: "nobody proposed this"}}
		c.Actions = append(c.Actions, lie)
		if c.Run(false).Err == nil {
			continue // server 1 was down
		}
		shrunk++
		short := c.Shrink()
		r := short.Run(true)
		require.Error(t, r.Err)
		assert.LessOrEqual(t, len(short.Actions), 5, "%v", short)
		assert.Empty(t, short.Packets, "%v", short)
		assert.Contains(t, r.Sim.Draw(), "forged: decided 9.2")
		again := short.Shrink()
		assert.Equal(t, short.size(), again.size())
	}
	well := NewChaos(1)
	assert.Equal(t, well, well.Shrink(), "what does not fail is left as it is")
}

// TestDrawsServersThatWereNeverThere: a run without some of its actions is drawn, too, though a server that members name may never start.
func TestDrawsServersThatWereNeverThere(t *testing.T) {
	absent := 0
	for seed := uint64(5); seed < 150; seed += 10 {
		c := NewChaos(seed)
		c.Actions = slices.DeleteFunc(c.Actions, func(a Action) bool { return a.Act == ActJoin || a.Act == ActRestart })
		absent += strings.Count(c.Run(true).Sim.Draw(), "(never there)")
	}
	assert.NotZero(t, absent)
}

// names returns the instances of c that are proposed in.
func (c Chaos) names() (names []string) {
	for _, a := range c.Actions {
		if a.Act == ActPropose {
			names = append(names, a.Instance)
		}
	}
	return append(names, "job/0")
}

// TestChaosKeepsPackets: when only single packets are to blame, those remain.
func TestChaosKeepsPackets(t *testing.T) {
	c := Chaos{Servers: 3, Delay: 10 * ms, SaveTime: ms, Ends: 200 * ms, Loss: 0.4, Seed: 4,
		Timing:  paxos.Timing{Phase: 50 * ms, MaxBackoff: 50 * ms, Silence: 100 * ms, MaxSilence: 200 * ms, Pull: 500 * ms},
		Actions: []Action{{Act: ActPropose, Server: 1, Instance: "job", Value: "a"}}}
	lost := c.Run(false).Tally[tallyLost]
	require.NotZero(t, lost)
	explicit := c.explicit()
	require.Len(t, explicit.Packets, int(lost))
	for _, p := range explicit.Packets {
		require.Empty(t, p.Copies)
	}
	require.Contains(t, explicit.String(), "arrives after []")
}

// BenchmarkChaos runs one seed after the other, on one core, all invariants checked after every event.
func BenchmarkChaos(b *testing.B) {
	steps := 0
	for seed := uint64(0); b.Loop(); seed++ {
		r := NewChaos(seed).Run(false)
		if r.Err != nil {
			b.Fatal(r.Err)
		}
		steps += r.Steps
	}
	b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(steps)/float64(b.N), "events/op")
}
