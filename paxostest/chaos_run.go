package paxostest

import (
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// A ChaosResult is the result of a run.
type ChaosResult struct {
	Err    error         // the broken invariant; nil: none
	Steps  int           // number of events: see Sim.Steps
	Hash   uint64        // of all packets that left; the same run has the same Hash
	Healed time.Duration // time from the end of the faults until all was well
	Tally  Tally
	Sim    *Sim // its state at the end
}

// maxChaosSteps is more than the number of events of any run that ends.
const maxChaosSteps = 400_000

// A chaosRun is the state of a running Chaos.
type chaosRun struct {
	plan Chaos
	*Sim
	tally   Tally
	nth     [][]uint64 // packets by from, to
	pulls   [][]uint64 // of these packets, those that only pull
	cut     [][]bool
	healed  bool
	well    time.Duration      // when all was well again
	listed  map[packetName]int // place in Packets, from 1
	fates   []PacketFate       // of all packets, if recording
	records bool
	last    map[paxos.ServerID]*Call
	twists  map[link]*Action // twists that wait for a message
	aims    []*Action        // Actions that wait for a Save
}

// Run runs the Chaos. With log, the Sim of the result has a log, and can be drawn. The run is the same without it.
func (c Chaos) Run(log bool) ChaosResult { return c.run(log, false).result() }

func (c Chaos) run(log, records bool) *chaosRun {
	r := &chaosRun{plan: c, records: records, last: map[paxos.ServerID]*Call{}, twists: map[link]*Action{}, listed: map[packetName]int{}}
	n := c.Servers + c.Learners + 1
	for range n {
		r.nth, r.pulls, r.cut = append(r.nth, make([]uint64, n)), append(r.pulls, make([]uint64, n)), append(r.cut, make([]bool, n))
	}
	for i, p := range c.Packets {
		r.listed[packetName{p.From, p.To, p.Pulls, p.Nth}] = i + 1
	}
	r.Sim = NewSim(SimConfig{Servers: c.Servers, Learners: c.Learners, Quorum: c.Quorum, Delay: c.Delay, SaveTime: max(c.SaveTime, 1), Seed: c.Seed,
		Limits: c.Limits, Timing: c.Timing, NoStanding: c.NoStanding, noLog: !log, Fail: func(error) {}, fates: onTime{}, unmet: c.Unmet})
	r.Sim.fates, r.Sim.reads, r.Sim.limit, r.oracle.Lenient = r, r, maxChaosSteps, c.Forges
	r.Sim.saveBegan = r.saveBegan
	for i := range c.Actions {
		if c.Actions[i].Act == ActForget {
			r.Sim.arrived = r.arrived
		}
		a := &c.Actions[i]
		if a.At < c.Ends {
			r.At(a.At, func() { r.act(a) })
		}
	}
	r.RunFor(c.Ends)
	r.heal()
	r.well = r.now
	r.crowd()
	return r
}

func (r *chaosRun) result() ChaosResult {
	for _, s := range r.servers {
		r.count(s)
	}
	r.countCalls()
	r.countChange()
	return ChaosResult{Err: r.Err(), Steps: r.Steps(), Hash: r.Sim.hash, Healed: r.well - r.plan.Ends, Tally: r.tally, Sim: r.Sim}
}

// act carries out an Action, if it is possible.
func (r *chaosRun) act(a *Action) {
	s := r.servers[a.Server-1]
	up := s.replica != nil
	done := true
	switch a.Act {
	case ActPropose, ActWait, ActRead, ActReady, ActForget, ActChange, ActSettled, ActCancel:
		done = up && r.call(a)
	case ActCrash, ActCrashSaved:
		if done = up && (a.Act == ActCrash || s.running); done {
			r.count(s)
			r.crash(a.Server, a.Act == ActCrashSaved)
		}
	case ActRestart:
		if done = !up; done {
			r.Restart(a.Server)
		}
	case ActPause:
		if done = up && !s.paused; done {
			r.Pause(a.Server)
		}
	case ActResume:
		if done = up && s.paused; done {
			r.Resume(a.Server)
		}
	case ActFailSave, ActFailSaveLate:
		if done = up; done {
			r.FailSave(a.Server, a.Act == ActFailSaveLate)
		}
	case ActHangSave:
		if done = up; done {
			r.HangSave(a.Server)
		}
	case ActSaveTime:
		r.SaveTime(a.Server, a.For)
	case ActLoadTime:
		r.LoadTime(a.Server, a.For)
	case ActStand:
		if done = up; done {
			r.Stand(a.Server)
		}
	case ActWipe:
		done = r.wipe(s)
	case ActCrashSeal, ActCrashImport, ActLoseSource:
		done = r.aim(a)
	case ActCut, ActJoin:
		r.cut[a.Server][a.Peer] = a.Act == ActCut
	case ActForge:
		r.Inject(a.Server, a.Peer, a.Message)
	case ActTwist:
		r.twists[link{a.Server, a.Peer}] = a
	case ActStranger:
		stranger := paxos.ServerID(len(r.servers) + 1)
		r.InjectPacket(paxos.Packet{From: stranger, To: a.Server, Store: 1000 + uint64(stranger), Boot: 1, Nonce: 1, Seq: 1,
			Members: r.members.Fingerprint(), Messages: []paxos.Message{a.Message}})
	}
	if done {
		r.tally[tallyActs+int(a.Act)]++
		r.sawChange(a)
	}
}

// call makes a call, or cancels one.
func (r *chaosRun) call(a *Action) bool {
	var c *Call
	switch a.Act {
	case ActPropose:
		c = r.Propose(a.Server, a.Instance, a.Value)
	case ActWait:
		c = r.Wait(a.Server, a.Instance)
	case ActRead:
		c = r.Read(a.Server, a.Instance)
	case ActReady:
		c = r.Ready(a.Server)
	case ActForget:
		c = r.Forget(a.Server, a.Names)
	case ActChange:
		c = r.Change(a.Server, a.Members)
	case ActSettled:
		c = r.Settled(a.Server)
	case ActCancel:
		c = r.last[a.Server]
		if c == nil || c.Ended {
			return false
		}
		r.Cancel(c)
	}
	r.last[a.Server] = c
	return true
}

// fate gives a packet its fate. It depends only on the seed, and on the number of the packet on its link. So the fate stays the same when
// other things are removed from a run.
func (r *chaosRun) fate(w *Sim, p *paxos.Packet, copies []time.Duration) []time.Duration {
	r.nth[p.From][p.To]++
	nth := r.nth[p.From][p.To]
	pulls := pullsOnly(p)
	if pulls {
		r.pulls[p.From][p.To]++
	}
	name := packetName{p.From, p.To, pulls, r.pulls[p.From][p.To]}
	if !pulls {
		name.nth = nth - name.nth
	}
	if a := r.twists[link{p.From, p.To}]; a != nil && !r.healed {
		r.twist(a, p)
	}
	switch {
	case r.healed:
		return append(copies, r.plan.Delay)
	case r.cut[p.From][p.To]:
		r.tally[tallyCut]++
		return copies
	case r.plan.Explicit:
		if i := r.listed[name]; i > 0 {
			return append(copies, r.plan.Packets[i-1].Copies...)
		}
		return append(copies, r.plan.Delay)
	}
	copies = r.draw(p, nth, copies)
	if r.records {
		r.fates = append(r.fates, PacketFate{p.From, p.To, pulls, name.nth, slices.Clone(copies)})
	}
	return copies
}

// read draws how long the next read of a disk takes. It depends only on the seed, and on the number of the read at its server.
func (r *chaosRun) read(s *server) (takes time.Duration, early bool) {
	x := dice(r.plan.Seed<<32 ^ uint64(s.ID)<<24 ^ s.reads<<40 ^ 0x4ead)
	return 1 + time.Duration(x.float()*float64(max(r.plan.ReadTime, s.loadTime))), x.next()&1 == 0
}

// twist sends a lie beside a packet, made of a message in it. It is the same message with another value, a promise that reports a vote in
// its own ballot, or a vote without an Accept. The true message arrives, too.
func (r *chaosRun) twist(a *Action, p *paxos.Packet) {
	for _, m := range p.Messages {
		switch {
		case a.Message.Kind == paxos.KindAccepted && m.Kind == paxos.KindPromise:
			m = paxos.Message{Kind: paxos.KindAccepted, Instance: m.Instance, Ballot: m.Ballot}
		case a.Message.Kind == m.Kind && m.Value != a.Value && (m.Kind == paxos.KindAccept || !m.Accepted.IsZero()):
			m.Value = a.Value
		case a.Message.Kind == paxos.KindPromise && m.Kind == paxos.KindPromise:
			m.Accepted, m.Value = m.Ballot, a.Value
		default:
			continue
		}
		delete(r.twists, link{p.From, p.To})
		r.Inject(p.From, p.To, m)
		return
	}
}

func (r *chaosRun) draw(p *paxos.Packet, nth uint64, copies []time.Duration) []time.Duration {
	x := dice(r.plan.Seed<<32 ^ uint64(p.From)<<24 ^ uint64(p.To)<<16 ^ nth<<40)
	if x.float() < r.plan.Loss {
		r.tally[tallyLost]++
		return copies
	}
	times := 1
	if x.float() < r.plan.Twice {
		r.tally[tallyTwice]++
		times = 2
	}
	for range times {
		after := r.plan.Delay
		if x.float() < r.plan.Late {
			r.tally[tallyLate]++
			after += time.Duration(x.float() * float64(r.plan.Later))
		}
		if r.plan.Slow == [2]paxos.ServerID{p.From, p.To} || r.plan.Slow == [2]paxos.ServerID{p.To, p.From} {
			r.tally[tallySlow]++
			after += r.plan.SlowBy
		}
		copies = append(copies, after)
	}
	return copies
}

// pullsOnly reports whether p does nothing but pull.
func pullsOnly(p *paxos.Packet) bool {
	for i := range p.Messages {
		if p.Messages[i].Kind != paxos.KindPull {
			return false
		}
	}
	return true
}

type packetName struct {
	from, to paxos.ServerID
	pulls    bool
	nth      uint64
}

// heal ends all faults, and waits until all is well.
func (r *chaosRun) heal() {
	r.healed = true
	for _, s := range r.servers {
		s.saveTime, s.loadTime, s.failing = max(r.plan.SaveTime, 1), 0, saveWell
		if s.hung && s.replica != nil {
			r.count(s)
			r.crash(s.ID, false)
		}
		if s.replica != nil && s.paused {
			r.Resume(s.ID)
		}
	}
	turns := time.Duration(r.plan.Servers) * r.plan.Timing.Phase // the last of the ring takes over after all others
	hard := r.plan.Ends + 4*r.plan.Bound() + turns
	for r.Err() == nil {
		for _, s := range r.servers {
			if s.replica == nil {
				r.Restart(s.ID)
			}
		}
		why := r.unwell()
		if why == "" || r.Err() != nil {
			return
		}
		if r.now > hard {
			r.failf("I10 is broken: %s after the faults ended, %s", r.now-r.plan.Ends, why)
			return
		}
		r.RunFor(max(r.plan.Timing.Phase/4, ms))
	}
}

// unwell says what I10 forbids: a decision that a server does not know, an instance that could be finished, or a call that could end.
// Empty: all is well.
func (r *chaosRun) unwell() string {
	if why := r.forgetsApart(); why != "" {
		return why
	}
	if why := r.unsettled(); why != "" {
		return why
	}
	if why := r.notLeft(); why != "" {
		return why
	}
	for name, fact := range r.oracle.Facts() {
		if fact.Forged {
			continue
		}
		for _, s := range r.servers {
			switch rec := s.Disk.Records[name]; {
			case !r.counts(s):
			case fact.Chosen && !r.knows(s, name):
				return fmt.Sprintf("server %d does not know what %q is", s.ID, name)
			case !fact.Chosen && !rec.Acceptor.Accepted.IsZero():
				return fmt.Sprintf("server %d voted in %q, which is not decided", s.ID, name)
			}
		}
	}
	for _, s := range r.servers {
		if latest := r.oracle.Latest(); !r.counts(s) || latest.Number > 0 && latest.Members.Position(s.ID) < 0 {
			continue // the others go on without it, or without its promises
		}
		for _, open := range s.replica.Status(r.now).Instances {
			if r.oracle.Fact(open.Instance).Forged || open.Orphaned || open.Ballot.IsZero() {
				continue
			}
			return fmt.Sprintf("%q is open on server %d: %+v", open.Instance, s.ID, open)
		}
	}
	for _, c := range r.calls {
		if fact := r.oracle.Fact(c.Instance); !c.Ended && r.counts(r.server(c.Server)) && !fact.Forged && (c.Op != "wait" || fact.Chosen) {
			return "a call has not ended: " + c.String()
		}
	}
	return ""
}

// counts reports whether all is to be well at a server: it is a member of the last configuration, and has its disk.
func (r *chaosRun) counts(s *server) bool { return !s.Wiped() && r.oracle.Latest().Members.Has(s.ID) }

// unsettled says which member does not live under the last configuration, or does not know that it is settled. Empty: none.
func (r *chaosRun) unsettled() string {
	latest := r.oracle.Latest()
	for _, s := range r.servers {
		if !r.counts(s) {
			continue
		}
		if c, settled := s.replica.Configuration(); c.Number != latest.Number || !settled {
			return fmt.Sprintf("server %d lives under configuration %d, settled: %t; the last one is %d", s.ID, c.Number, settled, latest.Number)
		}
	}
	return ""
}

// knows reports whether a server knows the decision of an instance.
func (r *chaosRun) knows(s *server, name string) bool {
	if s.Disk.Records[name].Chosen || s.Disk.Forgets(name) {
		return true
	}
	_, ok, _ := s.replica.Peek(name)
	return ok
}
