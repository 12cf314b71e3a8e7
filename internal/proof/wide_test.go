package proof_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// published are the mean round-trip times between regions of Google Cloud, in milliseconds, as pinged by Enes and others in September
// 2019. docs/performance.md has the source.
var published = []struct {
	region string
	to     []float64 // the regions before it, in order
}{
	{"us-east1", nil},
	{"us-west1", []float64{67.3}},
	{"europe-west1", []float64{93.0, 141.0}},
	{"asia-northeast1", []float64{155.3, 88.3, 230.5}},
	{"southamerica-east1", []float64{117.8, 171.8, 210.0, 259.8}},
	{"australia-southeast1", []float64{197.8, 161.4, 276.1, 114.1, 302.7}},
	{"asia-southeast1", []float64{218.0, 151.7, 291.1, 67.6, 323.4, 91.8}},
}

// wideRegions returns the first n published regions, with a server in each.
func wideRegions(n int, jitter float64) paxostest.Regions {
	r := paxostest.Regions{RoundTrips: map[[2]string]time.Duration{}, Jitter: jitter}
	for _, p := range published[:n] {
		r.Of = append(r.Of, p.region)
		for i, ms := range p.to {
			r.RoundTrips[[2]string{p.region, r.Of[i]}] = time.Duration(ms * float64(time.Millisecond))
		}
	}
	return r
}

// wideSizes are how many of them are simulated.
var wideSizes = []int{3, 5, 7}

// All simulations of regions have this in common.
const (
	wideSave   = time.Millisecond
	widePhase  = 500 * time.Millisecond // Timing.Phase: more than a round trip to any quorum
	wideJitter = 0.05
	wideCalls  = 100 // of each caller, one after the other
)

// nobody is a region that is not there.
const nobody = -1

// A wide is a number of regions with a server in each. Regions are meant by their position.
type wide struct{ paxostest.Regions }

func (w wide) roundTrip(a, b int) time.Duration { return w.RoundTrip(w.Of[a], w.Of[b]) }

// others returns the regions other than r, the nearest first.
func (w wide) others(r int) (all []int) {
	for i := range w.Of {
		if i != r {
			all = append(all, i)
		}
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(w.roundTrip(r, a), w.roundTrip(r, b)) })
	return all
}

// reach returns the round-trip time from r to the nearest n servers, its own among them, while one region is down.
func (w wide) reach(r, n, down int) time.Duration {
	up := slices.DeleteFunc(w.others(r), func(i int) bool { return i == down })
	return w.roundTrip(r, up[n-2])
}

// leaders returns the regions by what a leader there costs a caller on average, the best first.
func (w wide) leaders() (all []int) {
	cost := func(leader int) (sum time.Duration) {
		for r := range w.Of {
			sum += w.hop(r, leader) + w.reach(leader, len(w.Of)/2+1, nobody)
		}
		return sum
	}
	for i := range w.Of {
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(cost(a), cost(b)) })
	return all
}

// hop is the time from a caller in r to a server in another region, and back. Within the region it is none: the caller is at the server.
func (w wide) hop(r, at int) time.Duration {
	if r == at {
		return 0
	}
	return w.roundTrip(r, at)
}

// A mode is a way to decide, between regions.
type mode struct {
	says   string                       // with a %s for the region of the leader, if there is one
	with   func(c *paxostest.SimConfig) // further settings; nil: none
	stands func(w wide) int             // the region with a server that stands; nil: none
	// forwards has the other servers forward to it where they want to. The region nearest to it is down then, if one is.
	forwards bool
	minted   bool             // the server that decides owns the name
	small    bool             // quorums are those of smallVotes; else majorities
	leader   func(w wide) int // the region that decides for all callers; nil: each decides for its own
	down     bool             // the region nearest to the one that decides is down
}

// smallVotes has, by servers, a smaller phase 2 at the price of a larger phase 1. Both get on when a server is down.
var smallVotes = map[int][2]int{5: {4, 2}, 7: {5, 3}}

// wideModes are the rows of the table..
func wideModes() (all []mode) {
	best := func(w wide) int { return w.leaders()[0] }
	worst := func(w wide) int { return w.leaders()[len(w.Of)-1] }
	all = []mode{
		{says: "classic"},
		{says: "minted", minted: true},
		{says: "standing in the best place, others classic", stands: best},
		{says: "standing in the best place, others may forward", stands: best, forwards: true},
		{says: "standing in the worst place, others classic", stands: worst},
		{says: "standing in the worst place, others may forward", stands: worst, forwards: true},
		{says: "classic, small phase 2", small: true},
		{says: "minted, small phase 2", small: true, minted: true},
		{says: "leader in the best place, %s", minted: true, leader: best},
		{says: "leader in the worst place, %s", minted: true, leader: worst},
	}
	for _, m := range slices.Clone(all) {
		m.says, m.down = m.says+"; nearest region down", true
		all = append(all, m)
	}
	return all
}

// decides returns the region that decides for a caller in r, and the region that is down.
func (m mode) decides(w wide, r int) (at, down int) {
	at, down = r, nobody
	if m.leader != nil {
		at = m.leader(w)
	}
	near := at
	if m.forwards {
		near = m.stands(w)
	}
	if m.down {
		down = w.others(near)[0]
	}
	return at, down
}

// needs returns how many servers each phase needs, and false if the mode is none for so many regions.
func (m mode) needs(w wide) (phase1, phase2 int, ok bool) {
	if !m.small {
		return len(w.Of)/2 + 1, len(w.Of)/2 + 1, true
	}
	q, ok := smallVotes[len(w.Of)]
	return q[0], q[1], ok
}

// takes returns how long a decision must take for a caller in r, without jitter: the round trips, and the Saves at their ends.
func (m mode) takes(w wide, r int) (trips, saves time.Duration) {
	at, down := m.decides(w, r)
	phase1, phase2, _ := m.needs(w)
	trips, saves = w.reach(at, phase2, down)+w.hop(r, at), wideSave
	if !m.minted && (m.stands == nil || m.stands(w) != at) {
		trips, saves = trips+w.reach(at, phase1, down), 2*wideSave
	}
	if forwarded, ok := m.takesForwarded(w, r); ok && forwarded+wideSave < trips+saves+mostLoss {
		return forwarded, wideSave
	}
	return trips, saves
}

// mostLoss is by how much a forwarded call may be slower than a classic one, if that takes longer than this.
const mostLoss = time.Millisecond

// takesForwarded returns the round trips of a decision that is forwarded from r. It is no mode of its own: ok is false where none is.
func (m mode) takesForwarded(w wide, r int) (trips time.Duration, ok bool) {
	if !m.forwards || m.stands(w) == r {
		return 0, false
	}
	_, down := m.decides(w, r)
	_, phase2, _ := m.needs(w)
	return w.hop(r, m.stands(w)) + w.reach(m.stands(w), phase2, down), true
}

// start returns the simulation of a caller in r, and the server that decides. Nil: the region of the caller is down.
func (m mode) start(t *testing.T, w wide, r int, seed uint64) (*paxostest.Sim, paxos.ServerID) {
	at, down := m.decides(w, r)
	if r == down {
		return nil, 0
	}
	c := paxostest.SimConfig{Regions: w.Regions, Seed: seed, SaveTime: wideSave, Timing: paxos.Timing{Phase: widePhase}, NoStanding: !m.forwards}
	if phase1, phase2, _ := m.needs(w); m.small {
		q, err := paxos.Flexible(len(w.Of), phase1, phase2)
		require.NoError(t, err)
		c.Quorum = q
	}
	if m.with != nil {
		m.with(&c)
	}
	s := newWorld(t, c)
	if m.stands != nil {
		s.Stand(w.Servers(w.Of[m.stands(w)])[0])
		s.RunFor(time.Second)
	}
	if down != nobody {
		s.CrashRegion(w.Of[down])
	}
	return s, w.Servers(w.Of[at])[0]
}

// wideWarm is how many calls show a server how long a classic and a forwarded one take.
const wideWarm = 3

// work lets time pass until all is still. The server that stands then has a call of its own, if others forward: else they would not
// know that it is at work.
func (m mode) work(s *paxostest.Sim, w wide, i int) {
	s.RunFor(time.Second)
	if m.forwards {
		call := s.Propose(w.Servers(w.Of[m.stands(w)])[0], fmt.Sprint("own/", i), "done")
		s.Until("it is decided", func() bool { return call.Ended })
		s.RunFor(time.Second / 2)
	}
}

// run simulates a caller in r, and returns how long its calls took, the shortest first. Nil: its region is down.
func (m mode) run(t *testing.T, w wide, r int, seed uint64, calls int) (took []time.Duration) {
	s, server := m.start(t, w, r, seed)
	if s == nil {
		return nil
	}
	at, _ := m.decides(w, r)
	random := rand.New(rand.NewPCG(seed, uint64(r)))
	hop := func() time.Duration { // from the caller to the one that decides, or back
		d := w.hop(r, at) / 2
		return d + time.Duration(random.Float64()*w.Jitter*float64(d))
	}
	if m.forwards {
		for i := range wideWarm {
			m.work(s, w, -i)
			call := s.Propose(server, fmt.Sprint("warm/", i), "done")
			s.Until("it is decided", func() bool { return call.Ended })
			require.NoError(t, call.Err)
		}
	}
	for i := range calls {
		m.work(s, w, i+1)
		name := fmt.Sprint("job/", i)
		if m.minted {
			name = s.Mint(server, "job")
		}
		call := s.Propose(server, name, "done")
		s.Until("it is decided", func() bool { return call.Ended })
		require.NoError(t, call.Err)
		took = append(took, hop()+call.Took+hop())
	}
	slices.Sort(took)
	return took
}

// TestWideAreaTakesItsRoundTrips: without jitter, each call takes exactly the round trips to the nearest quorums, and the Saves at
// their ends. With jitter, it takes longer by no more than that, so the table can't leave what is right.
func TestWideAreaTakesItsRoundTrips(t *testing.T) {
	const seed = 21
	t.Logf("seed %d", seed)
	for _, jitter := range []float64{0, wideJitter} {
		for _, n := range wideSizes {
			w := wide{wideRegions(n, jitter)}
			require.NoError(t, w.Check())
			for _, m := range wideModes() {
				if _, _, ok := m.needs(w); !ok {
					continue
				}
				for r := range w.Of {
					trips, saves := m.takes(w, r)
					longest := trips + saves
					if forwarded, ok := m.takesForwarded(w, r); ok && jitter > 0 { // both ways may seem the faster one
						longest = max(longest, forwarded+wideSave)
						classic := m
						classic.forwards = false
						other, saved := classic.takes(w, r)
						longest = max(longest, other+saved)
					}
					most := longest + time.Duration(jitter*float64(longest))
					for _, took := range m.run(t, w, r, seed, 3) {
						assert.GreaterOrEqual(t, took, trips+saves, "%d regions, %s, %s", n, m.says, w.Of[r])
						assert.LessOrEqual(t, took, most, "%d regions, %s, %s", n, m.says, w.Of[r])
					}
				}
			}
		}
	}
}

// TestPhaseBelowARoundTrip: a Timing.Phase below the round trip to a quorum costs messages, as docs/performance.md says. Silent servers are
// asked twice, and no call takes longer.
func TestPhaseBelowARoundTrip(t *testing.T) {
	w := wide{wideRegions(7, 0)}
	for region, twice := range map[string]bool{"us-east1": false, "europe-west1": true, "southamerica-east1": true, "asia-northeast1": false} {
		r := slices.Index(w.Of, region)
		for _, phase := range []time.Duration{0, widePhase} {
			m := mode{with: func(c *paxostest.SimConfig) { c.Timing.Phase = phase }}
			s, server := m.start(t, w, r, 1)
			call := s.Propose(server, "job", "done")
			s.Run()
			messages := 30
			if twice && phase == 0 {
				messages = 46
			}
			assert.Equal(t, messages, s.Sent(paxostest.Match{}), "%s, %v", region, phase)
			trips, saves := m.takes(w, r)
			assert.Equal(t, trips+saves, call.Took, "%s, %v", region, phase)
		}
	}
}

// TestForwardingBetweenThreeRegions: with 30, 70 and 90 ms between three regions, the best placed server stands, and the others forward. A
// caller at that server waits for its nearest neighbor alone. The neighbor gains the Save of a phase 1. The far region gains 40 of 140 ms.
func TestForwardingBetweenThreeRegions(t *testing.T) {
	w := wide{paxostest.Regions{Of: []string{"a", "b", "c"}, RoundTrips: map[[2]string]time.Duration{
		{"a", "b"}: 30 * time.Millisecond, {"a", "c"}: 70 * time.Millisecond, {"b", "c"}: 90 * time.Millisecond}}}
	require.NoError(t, w.Check())
	stands := func(w wide) int { return w.leaders()[0] }
	for _, tt := range []struct {
		m    mode
		want []time.Duration
	}{
		{mode{says: "classic"}, []time.Duration{62, 62, 142}},
		{mode{says: "others classic", stands: stands}, []time.Duration{31, 62, 142}},
		{mode{says: "others forward", stands: stands, forwards: true}, []time.Duration{31, 61, 101}},
	} {
		for r := range w.Of {
			took := tt.m.run(t, w, r, 1, 10)
			assert.Equal(t, tt.want[r]*time.Millisecond, took[len(took)/2], "%s, %s", tt.m.says, w.Of[r])
		}
	}
}
