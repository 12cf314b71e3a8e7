package proof_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/replica"
)

// The goals of a living cluster, in the virtual time of a Sim.

const (
	defaultSilence = time.Second
	defaultPhase   = 200 * time.Millisecond
	defaultPull    = 5 * time.Second
)

// percentile returns the smallest of ds that so many of them are no longer than.
func percentile(ds []time.Duration, part float64) time.Duration {
	slices.Sort(ds)
	return ds[min(int(part*float64(len(ds))), len(ds)-1)]
}

// The proposer dies at any moment of a ballot, also in the middle of sending, with others dead: every living server knows the
// decision within a silence, the turns of those before it in the ring that are dead, have heard nothing or know already, the jitter, and the
// time that a ballot takes.
func TestTakeoverTakesNoLonger(t *testing.T) {
	const d, save = 10 * time.Millisecond, time.Millisecond
	var late []time.Duration // by how much more than the bound
	for seed := range uint64(3000) {
		x := rand.New(rand.NewPCG(seed, 12))
		n := 3 + 2*x.IntN(2)
		w := newWorld(t, paxostest.SimConfig{Servers: n, Seed: seed})
		proposer := paxos.ServerID(1 + x.IntN(n))
		ring := make([]paxos.ServerID, 0, n-1) // the others, in the order of their turns
		for i := 1; i < n; i++ {
			ring = append(ring, (proposer+paxos.ServerID(i)-1)%paxos.ServerID(n)+1)
		}
		dead := map[paxos.ServerID]bool{}
		if n == 5 && x.IntN(2) == 0 {
			id := ring[x.IntN(len(ring))]
			dead[id] = true
			w.Crash(id)
		}
		if kind := []paxos.Kind{0, paxos.KindPrepare, paxos.KindAccept, paxos.KindChosen}[x.IntN(4)]; kind == 0 {
			w.Propose(proposer, "lunch", "burger")
			w.RunFor(time.Duration(x.IntN(45_000)) * time.Microsecond)
		} else { // it dies while it sends these
			for _, id := range ring {
				if x.IntN(2) == 0 {
					w.Drop(paxostest.Match{From: proposer, To: id, Kind: kind})
				}
			}
			w.Propose(proposer, "lunch", "burger")
			untilSent(w, 1, paxostest.Match{From: proposer, Kind: kind})
		}
		w.Crash(proposer)
		w.Clear()
		crashed := w.Now()
		w.RunFor(11 * time.Millisecond) // messages on their way arrive
		k := 0
		for k < len(ring) {
			_, knows := w.Learned(ring[k], "lunch") // it has nothing to finish, and does not know that others have
			if !knows && !dead[ring[k]] && !w.Stored(ring[k], "lunch").Acceptor.Promised.IsZero() {
				break
			}
			k++
		}
		if k == len(ring) {
			continue // nobody alive has heard of it, or all know
		}
		w.Run()
		for _, id := range ring {
			_, ok := w.Learned(id, "lunch")
			require.True(t, ok || dead[id], "seed %d: server %d does not know", seed, id)
		}
		bound := defaultSilence + time.Duration(k)*defaultPhase + defaultPhase/2 + 6*d + 2*save
		late = append(late, learnedLast(w)-crashed-bound)
		if late[len(late)-1] > 0 {
			t.Logf("seed %d late %v k %d dead %v\n", seed, late[len(late)-1], k, dead)
		}
	}
	require.Greater(t, len(late), 2000)
	t.Logf("%d runs: p50 %s, p99 %s below the bound", len(late), -percentile(late, 0.5), -percentile(late, 0.99))
	assert.LessOrEqual(t, percentile(late, 0.99), time.Duration(0), "more than the bound, at p99 of %d", len(late))
}

// Where prepare, accept and their saves take longer than the silence, takeovers do not pre-empt each other for ever.
func TestTakeoverSlowerThanTheSilence(t *testing.T) {
	for seed := range uint64(300) {
		x := rand.New(rand.NewPCG(seed, 13))
		n := 3 + 2*x.IntN(2)
		w := newWorld(t, paxostest.SimConfig{Servers: n, Seed: seed, Delay: 300 * time.Millisecond, SaveTime: 200 * time.Millisecond,
			Timing: paxos.Timing{Silence: time.Duration(1+x.IntN(100)) * time.Millisecond, Phase: time.Duration(1+x.IntN(50)) * time.Millisecond}})
		w.Propose(1, "lunch", "burger")
		w.RunFor(time.Duration(300+x.IntN(1500)) * time.Millisecond)
		w.Crash(1)
		began := w.Now()
		w.RunFor(2 * time.Minute)
		for id := paxos.ServerID(2); int(id) <= n; id++ {
			_, ok := w.Learned(id, "lunch")
			require.True(t, ok || w.Stored(id, "lunch").Acceptor.Promised.IsZero(), "seed %d: server %d does not know after 2 minutes", seed, id)
		}
		assert.Less(t, learnedLast(w)-began, 30*time.Second, "seed %d", seed)
	}
}

// 2 to 9 proposers who propose at once: all are told within 20 round trips, at the 99th percentile.
func TestDuelsEnd(t *testing.T) {
	const d = 10 * time.Millisecond
	for n := 2; n <= 9; n++ {
		var took []time.Duration
		for seed := range uint64(300) {
			x := rand.New(rand.NewPCG(seed, 14))
			w := newWorld(t, paxostest.SimConfig{Servers: max(n, 3), Seed: seed, Delay: d})
			var calls []*paxostest.Call
			for id := 1; id <= n; id++ {
				w.At(w.Now()+time.Duration(x.Int64N(int64(2*d))), func() {
					calls = append(calls, w.Propose(paxos.ServerID(id), "lunch", paxos.Value(fmt.Sprint("of ", id))))
				})
			}
			w.Until("all are told", func() bool {
				return len(calls) == n && !slices.ContainsFunc(calls, func(c *paxostest.Call) bool { return !c.Ended })
			})
			took = append(took, w.Now()-2*d)
		}
		p50, p99 := percentile(took, 0.5), percentile(took, 0.99)
		t.Logf("%d proposers: p50 %.1f round trips, p99 %.1f", n, float64(p50)/float64(2*d), float64(p99)/float64(2*d))
		assert.LessOrEqual(t, p99, 20*2*d, "%d proposers", n)
	}
}

// Any one server of 3 or 5 stops under load: callers on the others see no pause longer than the slowest decision before plus one
// phase, and 99 of 100 none longer than a hedge more. So long a call waits that was forwarded to the server that stood, and stops: the
// usual time, and 8 ms at most. There is no leader to lose, and nobody is elected.
func TestAnyServerStopsUnderLoad(t *testing.T) {
	for _, n := range []int{3, 5} {
		for victim := paxos.ServerID(1); int(victim) <= n; victim++ {
			before, after := stopUnderLoad(t, n, victim)
			require.Greater(t, len(before), 500)
			require.Greater(t, len(after), 500)
			slowest := slices.Max(before)
			t.Logf("server %d of %d stops: slowest before %s; after p50 %s, p99 %s, slowest %s", victim, n, slowest, percentile(after, 0.5),
				percentile(after, 0.99), slices.Max(after))
			assert.LessOrEqual(t, slices.Max(after), slowest+defaultPhase)
			assert.LessOrEqual(t, percentile(after, 0.99), slowest+percentile(before, 0.5)+8*time.Millisecond)
		}
	}
}

// stopUnderLoad returns how long the calls took that ended before the victim stopped, and those on the others that ended later.
func stopUnderLoad(t *testing.T, n int, victim paxos.ServerID) (before, after []time.Duration) {
	w := newWorld(t, paxostest.SimConfig{Servers: n, Seed: uint64(victim), Delay: time.Millisecond})
	stop := time.Second + time.Duration(victim)*137*time.Microsecond
	began := map[replica.CallID]time.Duration{}
	x := rand.New(rand.NewPCG(uint64(victim), uint64(n)))
	for i := range 2000 {
		w.At(time.Duration(x.Int64N(int64(2*time.Second))), func() {
			if id := paxos.ServerID(1 + x.IntN(n)); w.Up(id) {
				began[w.Propose(id, fmt.Sprint("job ", i), "v").ID] = w.Now()
			}
		})
	}
	w.At(stop, func() { w.Crash(victim) })
	w.RunFor(3 * time.Second)
	for _, e := range w.Log() {
		if e.Kind != paxos.EventDone {
			continue
		}
		took := e.At - began[replica.CallID(e.Call)]
		switch {
		case e.At <= stop:
			before = append(before, took)
		case e.Server != victim:
			after = append(after, took)
		}
	}
	for _, c := range w.Calls() {
		require.True(t, c.Ended, "%s", c)
	}
	return before, after
}

// With nothing open, each pair of servers exchanges no more than one small message in an interval of pulls.
func TestIdleClusterIsQuiet(t *testing.T) {
	for _, n := range []int{1, 3, 5, 9} {
		w := newWorld(t, paxostest.SimConfig{Servers: n, Learners: 1, Timing: paxos.Timing{Pull: defaultPull}})
		w.Propose(1, "lunch", "burger")
		w.RunFor(time.Minute)
		before, bytes := w.Sent(paxostest.Match{}), 0
		const intervals = 1000
		w.RunFor(intervals * defaultPull)
		sent := w.Sent(paxostest.Match{}) - before
		pairs := n * (n + 1) / 2
		most := intervals * pairs
		if n == 1 {
			most += most / 8 // the learner can't do without the only acceptor
		}
		assert.LessOrEqual(t, sent, most, "%d servers and a learner", n)
		assert.GreaterOrEqual(t, sent, intervals*pairs/2, "%d servers and a learner: somebody still asks", n)
		for _, e := range w.Log() {
			if e.Kind == paxos.EventSend && e.At > time.Minute {
				require.Contains(t, []paxos.Kind{paxos.KindPull, paxos.KindNames}, e.Message.Kind)
				bytes = max(bytes, len(e.Message.Value))
			}
		}
		assert.Less(t, bytes, 64)
	}
}

// In the steady state, with names of 16 bytes and values of 64, catching up takes no more than a fifth of the bytes.
func TestCatchUpTakesFewBytes(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond} {
		w := newWorld(t, paxostest.SimConfig{Servers: 3, Delay: time.Millisecond, Timing: paxos.Timing{Pull: defaultPull}})
		value := paxos.Value(fmt.Sprintf("%064d", 7))
		const n = 6000
		for i := range n {
			w.At(time.Duration(i)*every, func() {
				w.Propose(paxos.ServerID(1+i%3), fmt.Sprintf("instance/%07d", i), value)
			})
		}
		w.RunFor(n * every)
		bytes := map[bool]int{}
		for _, e := range w.Log() {
			if e.Kind == paxos.EventSend {
				encoded, err := e.Message.AppendBinary(nil)
				require.NoError(t, err)
				k := e.Message.Kind
				bytes[k == paxos.KindPull || k == paxos.KindNames || k == paxos.KindQuery || k == paxos.KindDecided] += len(encoded)
			}
		}
		part := float64(bytes[true]) / float64(bytes[true]+bytes[false])
		t.Logf("a decision every %s: %.1f %% of the bytes", every, 100*part)
		assert.LessOrEqual(t, part, 0.2)
	}
}

// A server that was away fetches what it missed, in about as many messages as that takes, and nothing twice; when it starts
// again, it fetches what came since.
func TestCatchUpFetchesWhatIsMissing(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 3, Delay: time.Millisecond, Timing: paxos.Timing{Pull: defaultPull}})
	decide := func(from, to int) {
		for i := from; i < to; i++ {
			w.Propose(paxos.ServerID(1+i%2), fmt.Sprint("job/", i), "v")
			if i%50 == 0 {
				w.RunFor(10 * time.Millisecond)
			}
		}
		w.RunFor(time.Second)
	}
	fetched := func() uint64 { return w.Status(3).Counters.Fetched }
	decide(0, 2000)
	w.RunFor(time.Minute)
	w.Crash(3)
	decide(2000, 5000)
	w.Restart(3)
	w.RunFor(2 * time.Second)
	for i := range 5000 {
		require.True(t, w.Stored(3, fmt.Sprint("job/", i)).Chosen, "job/%d", i)
	}
	assert.Equal(t, uint64(3000), fetched())
	w.RunFor(time.Minute)
	w.Crash(3)
	decide(5000, 5100)
	names := w.Sent(paxostest.Match{To: 3, Kind: paxos.KindNames})
	w.Restart(3)
	w.RunFor(time.Second)
	assert.Equal(t, uint64(100), fetched())
	assert.LessOrEqual(t, w.Sent(paxostest.Match{To: 3, Kind: paxos.KindNames})-names, 4, "a page or two of each")
	w.RunFor(time.Minute)
	w.Crash(3)
	w.Restart(3)
	w.RunFor(time.Minute)
	assert.Zero(t, fetched(), "nothing is new")
}

// A decision that a dying proposer told to one server alone reaches everyone, also those that never heard of the instance.
func TestOneServerWasTold(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Servers: 5, Learners: 2, Timing: paxos.Timing{Pull: defaultPull}})
	for _, deaf := range []paxos.ServerID{4, 5, 6, 7} {
		w.CutOneWay(1, deaf)
	}
	w.Drop(paxostest.Match{From: 1, To: 3, Kind: paxos.KindChosen})
	w.Propose(1, "lunch", "burger")
	untilSent(w, 1, paxostest.Match{From: 1, Kind: paxos.KindChosen})
	w.Crash(1)
	w.RunFor(2 * defaultPull)
	for id := paxos.ServerID(2); id <= 7; id++ {
		d, ok := w.Learned(id, "lunch")
		require.True(t, ok, "server %d", id)
		assert.Equal(t, paxos.Value("burger"), d.Value)
	}
}

// On each of the 1,024 graphs that 5 servers can form, whoever reaches a majority decides, and nobody else does. All that can
// be told on the graph are told.
func TestAllGraphs(t *testing.T) {
	decided := 0
	for graph := range 1 << 10 {
		if testing.Short() && graph%16 != 7 {
			continue
		}
		w := newWorld(t, paxostest.SimConfig{Servers: 5, Timing: paxos.Timing{Pull: defaultPull}})
		var near [6]paxos.Set // by server; itself included
		bit := 0
		for a := 1; a <= 5; a++ {
			near[a] = near[a].With(a - 1)
			for b := a + 1; b <= 5; b++ {
				if graph>>bit&1 == 1 {
					near[a], near[b] = near[a].With(b-1), near[b].With(a-1)
				} else {
					w.Cut(paxos.ServerID(a), paxos.ServerID(b))
				}
				bit++
			}
		}
		var calls []*paxostest.Call
		for id := paxos.ServerID(1); id <= 5; id++ {
			calls = append(calls, w.Propose(id, "lunch", paxos.Value(fmt.Sprint("of ", id))))
		}
		w.RunFor(5 * time.Minute)
		some := false
		for _, c := range calls {
			reaches := near[c.Server].Len() >= 3
			some = some || reaches
			require.True(t, c.Ended || !reaches, "graph %010b: %s", graph, c)
		}
		for _, c := range calls {
			if !some {
				require.False(t, c.Ended, "graph %010b: %s", graph, c)
				continue
			}
			hears := c.Ended // through those that know, one after the other
			for id := range 5 {
				hears = hears || near[c.Server].Has(id) && calls[id].Ended
			}
			require.Equal(t, hears, c.Ended, "graph %010b: %s", graph, c)
		}
		if some {
			decided++
		}
	}
	t.Logf("decided on %d of 1024 graphs", decided)
	if !testing.Short() {
		assert.Equal(t, 998, decided, "all but those on which nobody has two neighbours")
	}
}

// A server that was paused, and does not know that it was, reads what was decided meanwhile (P27).
func TestPausedServerReadsFresh(t *testing.T) {
	for pause := range 45 { // milliseconds after its own first Read, whose answers may wait for it
		w := newWorld(t, paxostest.SimConfig{Timing: paxos.Timing{Pull: defaultPull}})
		early := w.Read(3, "lunch")
		w.RunFor(time.Duration(pause) * time.Millisecond)
		w.Pause(3)
		burger := w.Propose(1, "lunch", "burger")
		w.Until("it is decided", func() bool { return burger.Ended })
		late := w.Read(3, "lunch")
		w.Resume(3)
		w.RunFor(time.Minute)
		requireSame(t, late, "burger")
		require.NoError(t, early.Err)
		require.True(t, early.Ended)
	}
}

// Servers without a vote propose, learn, read and wait, and never count.
func TestLearnersHaveNoVote(t *testing.T) {
	w := newWorld(t, paxostest.SimConfig{Learners: 2, Timing: paxos.Timing{Pull: defaultPull}})
	requireOf := func(id paxos.ServerID, v paxos.Value) {
		t.Helper()
		read, wait := w.Read(id, "lunch"), w.Wait(id, "lunch")
		w.RunFor(time.Second)
		requireSame(t, read, v)
		requireSame(t, wait, v)
	}
	wait := w.Wait(5, "lunch")
	burger := w.Propose(4, "lunch", "burger")
	w.RunFor(time.Second)
	requireSame(t, burger, "burger")
	requireSame(t, wait, "burger")
	requireOf(5, "burger")

	w.Crash(5)
	dinner := w.Propose(1, "dinner", "soup")
	w.RunFor(time.Second)
	requireSame(t, dinner, "soup")
	w.Restart(5)
	w.RunFor(time.Second)
	d, ok := w.Learned(5, "dinner")
	require.True(t, ok, "it was down, and catches up")
	require.Equal(t, paxos.Value("soup"), d.Value)

	w.Crash(2)
	w.Crash(3)
	none := []*paxostest.Call{w.Propose(4, "tea", "green"), w.Propose(1, "tea", "black"), w.Read(5, "tea"), w.Ready(5)}
	w.RunFor(time.Minute)
	for _, c := range none {
		require.False(t, c.Ended, "one acceptor and two learners are no majority of three acceptors: %s", c)
	}
	for _, learner := range []paxos.ServerID{4, 5} {
		for _, kind := range []paxos.Kind{paxos.KindPromise, paxos.KindAccepted, paxos.KindState} {
			require.Zero(t, w.Sent(paxostest.Match{From: learner, Kind: kind}))
		}
	}
	w.Restart(2)
	w.RunFor(time.Minute)
	for _, c := range none {
		require.True(t, c.Ended && c.Err == nil, "%s", c)
	}
}
