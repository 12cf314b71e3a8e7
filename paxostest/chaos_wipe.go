package paxostest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// drawWipe makes a server lose its disk, in one seed of five, and come back with a new one. An operator may do that at three in the
// morning: before, while or after the others restart. The others must refuse the server for ever, and go on without it.
//
// In one seed of three the servers have not met at the start, so that they meet among all the other faults. The drawing has random
// numbers of its own, so that the other seeds stay as they were.
func (d *drawing) drawWipe() {
	d.Rand = rand.New(rand.NewPCG(d.Seed, 0x3a3))
	d.Unmet = d.some(3)
	if changes := func(a Action) bool { return a.Act == ActChange }; d.Forges || d.hasProfile() || slices.ContainsFunc(d.Actions, changes) || !d.some(5) {
		return
	}
	victim, at := d.id(), d.when()
	back := at + d.between(0, 100*ms)
	name := d.names[d.IntN(len(d.names))]
	if d.some(2) {
		at, back, name = d.drawAnswersToTheDead(victim)
	}
	for id := paxos.ServerID(1); int(id) <= d.Servers+d.Learners; id++ {
		if id == victim || d.some(3) {
			continue
		}
		down := at + d.between(0, 20*ms) - d.between(0, 20*ms)
		d.do(Action{At: max(down, 0), Act: ActCrash, Server: id})
		d.do(Action{At: max(down, 0) + d.between(0, 100*ms), Act: ActRestart, Server: id})
	}
	d.do(Action{At: at, Act: ActCrash, Server: victim})
	d.do(Action{At: at, Act: ActWipe, Server: victim})
	for range 1 + d.IntN(3) {
		d.do(Action{At: back, Act: ActRestart, Server: victim})
		d.do(Action{At: back + d.between(0, 10*ms), Act: ActPropose, Server: victim, Instance: name, Value: d.values[d.IntN(len(d.values))]})
		d.do(Action{At: back + d.between(0, 50*ms), Act: ActPropose, Server: d.id(), Instance: name, Value: d.values[d.IntN(len(d.values))]})
		back += d.between(0, 100*ms)
		name = d.names[d.IntN(len(d.names))]
	}
}

// drawAnswersToTheDead makes a server propose or read, and lose its disk before all answers have arrived. They reach the new server in
// its place. That server asks for another value in the same instance, in the same ballot.
func (d *drawing) drawAnswersToTheDead(victim paxos.ServerID) (at, back time.Duration, name string) {
	trip := d.Delay + d.SaveTime
	asked := d.between(0, d.Ends)
	at = asked + d.between(trip, 5*trip)
	back = at + d.between(0, 5*ms)
	d.Late, d.Twice = max(d.Late, 0.5), max(d.Twice, 0.2)
	d.Later = max(d.Later, 6*trip+10*ms)
	name = fmt.Sprint("lost/", victim)
	a := Action{At: asked, Act: ActPropose, Server: victim, Instance: name, Value: d.values[d.IntN(len(d.values))]}
	switch d.IntN(4) {
	case 0:
	case 1:
		a.Act, a.Value = ActRead, ""
		d.do(Action{At: asked + d.between(0, 2*trip), Act: ActPropose, Server: d.id(), Instance: name, Value: d.values[d.IntN(len(d.values))]})
		d.do(Action{At: back + d.between(trip, 5*trip), Act: ActRead, Server: victim, Instance: name})
	default:
		a.Instance = d.ownedName(victim, len(d.names), name)
	}
	d.do(a)
	return at, back, a.Instance
}

// wipe replaces the disk of a server by a new one, if all others have met that server, and are a quorum without it. Otherwise two values may
// be decided, and no server could know.
func (r *chaosRun) wipe(s *server) bool {
	if s.replica != nil || !r.canLose(s) {
		return false
	}
	r.Wipe(s.ID)
	return true
}

// canLose reports whether the others can go on without a server: see wipe.
func (r *chaosRun) canLose(s *server) bool {
	for _, other := range r.servers {
		if other != s && (!other.Met(&s.Server) || other.Wiped()) {
			return false
		}
	}
	return r.oracle.CanLose(&s.Server)
}

// aim makes an Action wait for the moment that it aims at. It reports whether the server can come to that.
func (r *chaosRun) aim(a *Action) bool {
	if r.healed {
		return false
	}
	r.aims = append(r.aims, a)
	return true
}

// saveBegan is called when a Save has begun. It carries out the Actions that aim at it: in its middle the server crashes, or the source of
// an import loses its disk.
func (r *chaosRun) saveBegan(s *server) {
	if s.saving.Server == nil {
		return
	}
	seals := s.state.Configuration != s.Disk.State.Configuration
	imports := !seals && s.state.Import != s.Disk.State.Import
	if seals && !r.forgetsAlike() {
		r.happened(tallyForgotApart)
	}
	if !seals && !imports || r.healed {
		return
	}
	r.aims = slices.DeleteFunc(r.aims, func(a *Action) bool {
		switch {
		case a.Act == ActLoseSource && a.Server != s.ID && imports && s.state.Import != paxos.ImportComplete && r.isBefore(a.Server):
			r.At(r.now+s.saveTime/2, func() { r.loseSource(a) })
		case a.Act == ActCrashSeal && a.Server == s.ID && seals:
			r.crashSaving(s, a, tallySealCrashed)
		case a.Act == ActCrashImport && a.Server == s.ID && imports:
			r.crashSaving(s, a, tallyImportCrashed)
		default:
			return false
		}
		return true
	})
}

// crashSaving crashes s in the middle of the Save that has begun.
func (r *chaosRun) crashSaving(s *server, a *Action, what int) {
	life, n := s.Life, s.saves
	r.At(r.now+s.saveTime/2, func() {
		if s.Life != life || s.saves != n || !s.running || r.healed {
			return
		}
		r.tally[what]++
		r.count(s)
		r.crash(s.ID, a.Kept)
		r.At(r.now+a.For, func() { r.restart(s) })
	})
}

// restart starts a server that is down.
func (r *chaosRun) restart(s *server) {
	if s.replica == nil {
		r.Restart(s.ID)
	}
}

// loseSource makes the source of an import lose its disk, while the import goes on.
func (r *chaosRun) loseSource(a *Action) {
	s := r.server(a.Server)
	if r.healed || r.oracle.IsSettled() || !r.canLose(s) {
		return
	}
	if s.replica != nil {
		r.count(s)
		r.crash(s.ID, false)
	}
	if r.wipe(s) {
		r.tally[tallySourceLost]++
		r.At(r.now+a.For, func() { r.restart(s) })
	}
}

// isBefore reports whether a server votes in the configuration before the last.
func (r *chaosRun) isBefore(id paxos.ServerID) bool { return r.oracle.VotedBefore(id) }

// happened counts what counts once in a run.
func (r *chaosRun) happened(what int) { r.tally[what] = 1 }

// forgetsAlike reports whether all servers have forgotten the same names, but those that lost their disks.
func (r *chaosRun) forgetsAlike() bool {
	first := r.servers[0].Disk.Ranges()
	for _, s := range r.servers[1:] {
		if !slices.Equal(first, s.Disk.Ranges()) {
			return false
		}
	}
	return true
}

// sawChange counts the situations of a change, at the time of an Action.
func (r *chaosRun) sawChange(a *Action) {
	latest := r.oracle.Latest()
	s := r.server(a.Server)
	switch a.Act {
	case ActWipe:
		if latest.Number > 0 && !r.oracle.IsSettled() {
			r.happened(tallyWipedInChange)
		}
	case ActCut:
		if latest.Number > 0 && !r.oracle.IsSettled() {
			r.happened(tallyCutInChange)
		}
	case ActRestart, ActJoin:
		if in, _ := paxos.ParseConfiguration(s.Disk.State.Configuration); s.Wiped() || in.Number+3 > latest.Number {
			return
		}
		if latest.Members.Has(s.ID) {
			r.happened(tallyAwayMember)
		} else {
			r.happened(tallyAwayLeft)
		}
	case ActChange:
		asked := r.last[a.Server]
		for _, c := range r.calls {
			if c.Op == "change" && !c.Ended && c.Server != a.Server && c.Instance != "" && c.Instance == asked.Instance && c.Value != asked.Value {
				r.happened(tallyChanges)
			}
		}
	}
}

// arrived counts the packets of an earlier life of their sender that name what is forgotten.
func (r *chaosRun) arrived(p *paxos.Packet) {
	if n := int(p.From); n > len(r.servers) || p.Nonce>>8 >= r.servers[n-1].Life {
		return
	}
	for i := range p.Messages {
		if name := p.Messages[i].Instance; name != "" && r.oracle.IsForgot(name) {
			r.tally[tallyLateForgotten]++
			return
		}
	}
}

// countChange counts what shows at the end of a run.
func (r *chaosRun) countChange() {
	latest := r.oracle.Latest()
	for _, s := range r.servers {
		if s.Wiped() && int(s.ID) <= r.plan.Servers && latest.Number > 0 && latest.Members.Position(s.ID) < 0 && r.oracle.IsSettled() {
			r.happened(tallyReplaced)
		}
	}
}

// notLeft says which server is no member of the last configuration and does not know it, or has a call that waits. Empty: none.
func (r *chaosRun) notLeft() string {
	latest := r.oracle.Latest()
	for _, s := range r.servers {
		if s.Wiped() || latest.Members.Has(s.ID) || s.replica == nil {
			continue
		}
		if c, _ := s.replica.Configuration(); c.Members.Has(s.ID) {
			return fmt.Sprintf("server %d does not know that it has left", s.ID)
		}
		for _, c := range r.calls {
			if !c.Ended && c.Server == s.ID {
				return "a call of a server that has left has not ended: " + c.String()
			}
		}
	}
	return ""
}

// forgetsApart says which names one server has forgotten, and another has not. Empty: none. After a change of
// members, a server without a vote may have forgotten more. A Forget that never returned may have reached it alone, or an acceptor that it pulled
// from and that has no vote now. Nobody pulls from such servers.
func (r *chaosRun) forgetsApart() string {
	var first *server
	for _, s := range r.servers {
		if r.counts(s) && (first == nil || !r.votes(first) && r.votes(s)) {
			first = s
		}
	}
	for _, s := range r.servers {
		mayMore := !r.votes(s) && r.oracle.Latest().Number > 0
		switch {
		case !r.counts(s):
			continue
		case !mayMore && !slices.Equal(first.Disk.Ranges(), s.Disk.Ranges()):
			return fmt.Sprintf("server %d has forgotten %v, and server %d %v", first.ID, first.Disk.Ranges(), s.ID, s.Disk.Ranges())
		}
		for name, fact := range r.oracle.Facts() {
			if there, here := first.Disk.Forgets(name), s.Disk.Forgets(name); !fact.Forged && there != here && !(here && mayMore) {
				return fmt.Sprintf("of servers %d and %d, only one has forgotten %q", first.ID, s.ID, name)
			}
		}
	}
	return ""
}

// votes reports whether a server is an acceptor of the last configuration.
func (r *chaosRun) votes(s *server) bool { return r.oracle.Latest().Members.Position(s.ID) >= 0 }
