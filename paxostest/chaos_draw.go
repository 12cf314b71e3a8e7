package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

const ms = time.Millisecond

// A drawing makes a Chaos from a seed: a swarm, in which each seed has some kinds of fault and not others. So no fault hides an effect
// that another one alone would show.
type drawing struct {
	*rand.Rand
	Chaos
	names  []string
	values []paxos.Value
}

// NewChaos draws a Chaos from a seed. Three seeds of ten are of a kind of their own:
//
//   - In a seed that ends in 5, members change beside one other trouble. A disk is lost, or a server is away for three changes, or a source
//     of the import dies. Two changes begin at once, or the network is divided, or only some servers forget.
//   - In a seed that ends in 7, many servers have small tables, and as many calls as fit.
//   - In a seed that ends in 9, members lie.
func NewChaos(seed uint64) Chaos {
	d := &drawing{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), Chaos: Chaos{Seed: seed}}
	d.drawCluster()
	d.drawTiming()
	d.drawNetwork()
	d.drawCalls()
	d.drawFaults()
	d.drawReader()
	d.drawOwned()
	d.drawReads()
	d.drawForgets()
	d.drawChanges()
	d.drawWipe()
	d.drawCrowd()
	d.drawProfile()
	d.drawStands()
	d.drawForwards()
	slices.SortStableFunc(d.Actions, func(a, b Action) int { return int(a.At - b.At) })
	return d.Chaos
}

// some is true with probability 1/n.
func (d *drawing) some(n int) bool { return d.IntN(n) == 0 }

// between draws a time; short ones come more often.
func (d *drawing) between(low, high time.Duration) time.Duration {
	x := d.Float64()
	return low + time.Duration(x*x*float64(high-low))
}

// when draws a time at which faults are on.
func (d *drawing) when() time.Duration { return time.Duration(d.Int64N(int64(d.Ends))) }

// id draws a server, of any kind.
func (d *drawing) id() paxos.ServerID { return paxos.ServerID(1 + d.IntN(d.Servers+d.Learners)) }

func (d *drawing) do(a Action) { d.Actions = append(d.Actions, a) }

func (d *drawing) drawCluster() {
	d.Servers = []int{3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 4, 2, 1, 7, 6, 9}[d.IntN(16)]
	if d.some(4) {
		d.Learners = 1 + d.IntN(2)
	}
	if d.some(5) {
		d.Quorum = d.drawQuorum()
	}
	if d.some(6) {
		d.Limits = paxos.Limits{MaxOpen: 16 + d.IntN(64), Cache: 1 + d.IntN(8), MaxHint: 1 + d.IntN(8), MaxPacket: 4 << 10, MaxBatch: 4 << 10}
	}
	for i := range []int{1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 16, 64}[d.IntN(16)] {
		d.names = append(d.names, fmt.Sprint("job/", i))
	}
	for i := range 4 {
		d.values = append(d.values, paxos.Value(fmt.Sprint("v", i)))
	}
	long := "a longer value than most"
	if d.Limits.MaxBatch > 0 {
		long = strings.Repeat(long, 100) // two of them fit no packet and no batch
	}
	d.values = append(d.values, "", paxos.Value(long))
}

func (d *drawing) drawQuorum() paxos.Quorum {
	n := d.Servers
	var q paxos.Quorum
	switch d.IntN(3) {
	case 0:
		phase2 := 1 + d.IntN(n)
		q, _ = paxos.Flexible(n, n+1-phase2, phase2)
	case 1:
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1 + d.IntN(3)
		}
		q, _ = paxos.Weighted(weights)
	default:
		if n%2 == 0 {
			q, _ = paxos.Grid(2, n/2)
		}
	}
	return q
}

func (d *drawing) drawTiming() {
	d.Delay, d.SaveTime = d.between(100*time.Microsecond, 10*ms), d.between(0, 10*ms)
	d.Timing = paxos.Timing{
		Phase:      d.between(4*d.Delay+2*d.SaveTime+2*ms, 200*ms),
		MaxBackoff: d.between(5*ms, 500*ms),
		Silence:    d.between(5*ms, 300*ms), // sometimes shorter than a ballot takes
		Pull:       d.between(50*ms, 1000*ms),
	}
	d.Timing.MaxSilence = d.between(10*d.Delay+6*d.SaveTime+2*d.Timing.Silence, 2000*ms)
	d.Ends = d.between(20*ms, 1500*ms)
}

func (d *drawing) drawNetwork() {
	if d.some(2) {
		d.Loss = []float64{0.01, 0.05, 0.1, 0.2, 0.3, 0.6}[d.IntN(6)]
	}
	if d.some(3) {
		d.Twice = []float64{0.05, 0.2, 0.5}[d.IntN(3)]
	}
	if d.some(2) {
		d.Late, d.Later = []float64{0.1, 0.5, 1}[d.IntN(3)], d.between(ms, []time.Duration{20 * ms, 200 * ms, 1000 * ms}[d.IntN(3)])
	}
	if d.some(6) {
		d.Slow, d.SlowBy = [2]paxos.ServerID{d.id(), d.id()}, d.between(ms, 100*ms)
	}
}

// drawCalls draws calls: some at once, some later, at one server or at many, for the same instance or for others.
func (d *drawing) drawCalls() {
	n := 1 + d.IntN(4)
	if d.some(4) {
		n = 4 + d.IntN(12)
	}
	n = max(n, len(d.names)/2)
	home, together := d.id(), d.some(3)
	duel := d.when()
	for i := range n {
		a := Action{At: d.when(), Act: ActPropose, Server: d.id(), Instance: d.names[d.IntN(len(d.names))], Value: d.values[d.IntN(len(d.values))]}
		if d.some(3) {
			a.Server = home
		}
		if together {
			a.At, a.Server = duel+d.between(0, 4*d.Delay), paxos.ServerID(1+i%(d.Servers+d.Learners))
		}
		switch d.IntN(8) {
		case 0:
			a.Act, a.Value = ActWait, ""
		case 1:
			a.Act, a.Value = ActRead, ""
		case 2:
			if d.some(3) {
				a.Act, a.Value, a.Instance = ActReady, "", ""
			}
		}
		d.do(a)
		if d.some(6) {
			d.do(Action{At: a.At + d.between(0, 100*ms), Act: ActCancel, Server: a.Server})
		}
	}
	// A caller may come back: to the same server, which may have forgotten its first proposal.
	if d.some(3) {
		for _, a := range slices.Clone(d.Actions) {
			if a.Act == ActPropose && d.some(2) {
				a.At, a.Value = min(a.At+d.between(0, 200*ms), d.Ends), d.values[d.IntN(len(d.values))]
				d.do(a)
			}
		}
	}
}

// drawReads makes every read of a disk take a while. It has random numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawReads() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x4ead))
	d.ReadTime = d.between(10*time.Microsecond, 10*ms)
}

// drawReader draws a caller that reads over and over at one server, while others decide the instance.
func (d *drawing) drawReader() {
	if !d.some(6) {
		return
	}
	at, reader, name := d.when(), d.id(), d.names[0]
	for range 4 + d.IntN(16) {
		d.do(Action{At: at, Act: ActRead, Server: reader, Instance: name})
		at += d.between(0, 3*d.Delay)
	}
}

// drawForgets draws servers that are asked to forget: one name, several, or all of them, early or late, once or again. It has random
// numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawForgets() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0xf0f0))
	if !d.some(4) {
		return
	}
	for range 1 + d.IntN(4) {
		name := d.names[d.IntN(len(d.names))]
		names := paxos.OneName(name)
		switch d.IntN(5) {
		case 0:
			names = paxos.Prefix("job/")
		case 1:
			names = paxos.Prefix("") // owned names, too
		case 2:
			other := d.names[d.IntN(len(d.names))]
			names = paxos.NameRange{From: min(name, other), To: max(name, other) + "\x00"}
		}
		a := Action{At: d.when(), Act: ActForget, Server: d.id(), Names: names}
		d.do(a)
		if d.some(4) {
			d.do(Action{At: a.At + d.between(0, 100*ms), Act: ActCancel, Server: a.Server})
		}
		// Late callers, and a crash in the middle of the Save.
		for range d.IntN(4) {
			d.do(Action{At: a.At + d.between(0, 100*ms), Act: []Act{ActPropose, ActRead, ActWait}[d.IntN(3)], Server: d.id(), Instance: name, Value: d.values[0]})
		}
		if d.some(3) {
			at := a.At + time.Duration(d.Float64()*float64(d.Delay+2*d.SaveTime))
			server := d.id()
			d.do(Action{At: at, Act: []Act{ActCrash, ActCrashSaved}[d.IntN(2)], Server: server})
			d.do(Action{At: at + d.between(0, 200*ms), Act: ActRestart, Server: server})
		}
	}
	for i := range d.Actions {
		if a := &d.Actions[i]; a.Act != ActPropose && a.Act != ActForget && a.Value != "" && a.Act <= ActReady {
			a.Value = ""
		}
	}
}

// drawChanges makes the members change, in one seed of three: one server replaced, one more or one fewer, or all at once; once or several
// times, at any servers, at the same time or one after the other; with crashes in the middle. It has random numbers of its own, so that
// the other seeds stay as they were.
func (d *drawing) drawChanges() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0xc0f1))
	if d.Forges || d.hasProfile() || d.Seed%10 == 7 || d.Servers > 7 || !d.some(3) {
		return
	}
	spare := d.Learners
	d.Learners = max(d.Learners, 1+d.IntN(3))
	for id := d.Servers + spare + 1; id <= d.Servers+d.Learners; id++ { // callers of their own
		d.do(Action{At: d.when(), Act: ActPropose, Server: paxos.ServerID(id), Instance: d.names[d.IntN(len(d.names))], Value: d.values[d.IntN(len(d.values))]})
	}
	now := paxos.Members{}
	for id := 1; id <= d.Servers; id++ {
		now.Acceptors = append(now.Acceptors, paxos.ServerID(id))
	}
	at := d.when() / 2
	for range 1 + d.IntN(4) {
		next := d.drawMembers(now.Acceptors)
		server := d.id()
		d.do(Action{At: at, Act: ActChange, Server: server, Members: next})
		if d.some(3) { // two changes at once: one of them wins
			d.do(Action{At: at + d.between(0, 4*d.Delay), Act: ActChange, Server: d.id(), Members: d.drawMembers(now.Acceptors)})
		}
		if d.some(2) {
			d.do(Action{At: at + d.between(0, 20*d.Delay), Act: ActSettled, Server: d.id()})
		}
		if d.some(6) {
			d.do(Action{At: at + d.between(0, 100*ms), Act: ActCancel, Server: server})
		}
		for range d.IntN(3) { // a crash in the middle of the seal, or of the import
			victim, down := d.id(), at+d.between(0, 10*d.Delay+5*d.SaveTime)
			d.do(Action{At: down, Act: []Act{ActCrash, ActCrashSaved}[d.IntN(2)], Server: victim})
			d.do(Action{At: down + d.between(0, 200*ms), Act: ActRestart, Server: victim})
		}
		for range d.IntN(4) {
			d.do(Action{At: at + d.between(0, 20*d.Delay), Act: []Act{ActPropose, ActRead, ActWait}[d.IntN(3)], Server: d.id(), Instance: d.names[d.IntN(len(d.names))]})
		}
		now = next
		at += d.between(0, d.Ends/2+1)
	}
}

// drawMembers draws the members after those acceptors. All other servers are learners, or no members at all.
func (d *drawing) drawMembers(now []paxos.ServerID) (next paxos.Members) {
	all := make([]paxos.ServerID, d.Servers+d.Learners)
	for i := range all {
		all[i] = paxos.ServerID(i + 1)
	}
	next.Acceptors = slices.Clone(now)
	others := slices.DeleteFunc(slices.Clone(all), func(id paxos.ServerID) bool { return slices.Contains(now, id) })
	how := d.IntN(5)
	if how != 1 && len(others) > 0 { // one more
		next.Acceptors = append(next.Acceptors, others[d.IntN(len(others))])
	}
	if how != 0 && len(next.Acceptors) > 1 { // one fewer
		i := d.IntN(len(next.Acceptors))
		next.Acceptors = slices.Delete(next.Acceptors, i, i+1)
	}
	if how == 4 { // any
		d.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		next.Acceptors = slices.Clone(all[:1+d.IntN(len(all))])
	}
	slices.Sort(next.Acceptors)
	for _, id := range slices.Sorted(slices.Values(all)) {
		if !slices.Contains(next.Acceptors, id) && !d.some(4) {
			next.Learners = append(next.Learners, id)
		}
	}
	if n := len(next.Acceptors); d.some(4) {
		phase2 := 1 + d.IntN(n)
		next.Quorum, _ = paxos.Flexible(n, n+1-phase2, phase2)
	}
	return next
}
