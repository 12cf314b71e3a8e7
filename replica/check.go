package replica

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/page"
)

// A ServerID is one storage for all time. A server whose storage was lost, or made anew, has forgotten its promises and
// votes. It must never be taken for the server that gave them. So the Store of each other server is stored here, in
// ServerState.Peers, when that server is met. Any other Store is refused from then on, over all restarts.
//
//	first packet of a Store                 held here, and not used yet
//	  ── Save: "2/9f03" joins Peers ──►
//	Saved                                   the held packets are taken, and all that follow
//	another Store, whenever                 refused in words; the process that said so stops
//	a packet for another Store of ours      dropped: see meantForAnother
//
// No packet is used before its Store is durable. Suppose a server counted a promise, and crashed before the Save. It would
// not know then whose promise that was, and could believe a new storage that says something else.

// How the words of a Refuse begin, and how Status shows them.
const (
	refusesMembers  = "members: "  // cluster, acceptors or quorum differ
	refusesIdentity = "identity: " // the Boot and the Nonce of the refused process follow, then the reason
	refusesUs       = "it refuses this server: "
)

// meet notes the Stores of the peers that s names. An earlier version stored no Peers; the pulls in its state name Stores,
// too.
func (r *Replica) meet(s *paxos.ServerState) {
	stores, _ := s.Stores() // they were checked
	pulls, _ := page.ParseCursors(s.Pulled)
	for _, p := range r.peers {
		store := stores[p.id]
		if store == 0 && pulls[p.id].Store != 0 {
			store = pulls[p.id].Store
			*s = s.WithStore(p.id, store)
		}
		p.identity.begin(store)
	}
}

// check reports whether the packet may be taken. It must be for this server on this storage, and from a member that agrees
// on the members. The sender's storage and process must be those heard before, or a later process.
//
// check detects what it can: a storage that forgot, a copied directory and a second process. It can't prevent them.
func (r *Replica) check(from *peer, p *paxos.Packet) bool {
	if p.ToStore != 0 && p.ToStore != r.server.Store && !r.meantForAnother(from, p) {
		return false
	}
	if p.Members != r.view.Fingerprint() {
		r.refuseMembers(from, p)
		return false
	}
	if !r.met(from, p) {
		return false
	}
	silence := from.identity.silence(r.now)
	switch found := from.identity.hear(p, r.now); found {
	case hearsEarlierLife:
		r.dropped(from, p, "it is of an earlier life of its sender")
	case hearsCopy:
		r.refuse(from, p, fmt.Sprintf("two processes run as server %d on copies of one storage", p.From))
	case hearsPast:
		r.refuse(from, p, fmt.Sprintf("the storage of server %d went back in time, from decision %d to %d", p.From, from.identity.index(), p.Index))
	default:
		r.taken(from, p, silence, found == hearsNewProcess)
		return true
	}
	return false
}

// taken is called when p is taken, after that silence of its sender; -1: it is the first packet of that peer. first: it is
// the first of its process.
func (r *Replica) taken(from *peer, p *paxos.Packet, silence time.Duration, first bool) {
	if silence < 0 {
		from.pull.meet(p.Index)
	}
	if first {
		from.pull.setOurTurn(false) // the Pull with which a start begins is not out of turn
		from.listing = listing{}    // a page for an earlier life leaves out what that life told
		from.told.Clear()
		from.stood = 0
		from.pull.forgetsNothing()
	}
	if from.position >= 0 {
		r.quorums.heardNow(r.now)
	}
	if first || silence >= r.timing.Pull {
		from.pull.wantSoon()
	}
	r.refusing(from, "")
	r.exchangeLimits(from, first)
	if p.Complete && !from.complete {
		r.saidComplete(from)
	}
}

// met reports whether the packet is of the Store that is stored here for that peer. If none is stored yet, this Store is,
// and the packet is held until it is durable. Any other Store is refused.
func (r *Replica) met(from *peer, p *paxos.Packet) bool {
	switch known := from.identity.store(); {
	case p.Store == 0:
		r.dropped(from, p, "it names no storage")
	case from.identity.isStored(p.Store):
		return true
	case known == 0:
		r.strange.meet(&from.identity, p.Store, r.saves.number()+1) // the next Save holds it
		r.server = r.server.WithStore(from.id, p.Store)
		r.serverChanged = true
		r.saves.want()
		r.holdPacket(from, p)
	case p.Store == known:
		r.holdPacket(from, p)
	default:
		r.refuse(from, p, fmt.Sprintf("server %d was met with another storage, Store %x; this is Store %x: its disk was lost, or made anew, "+
			"and its ServerID is finished", p.From, known, p.Store))
	}
	return false
}

// meantForAnother takes a packet that is meant for another storage of this server. That storage was lost, for instance, and
// this one was made anew under its ServerID. Boot and rounds began anew with it. So an answer to a question of the lost
// storage looks like an answer to a question of this one.
//
// Nothing of the packet is used, but for a Refuse that names this very process. Nothing else would tell the process to stop.
// p holds only the Refuse then.
//
// The packet proves that some server has met this ServerID on another storage. That alone is no reason to stop: this storage
// may be the older one, and all other servers may know it.
func (r *Replica) meantForAnother(from *peer, p *paxos.Packet) bool {
	why := fmt.Sprintf("server %d has met this server with another storage, Store %x; this is Store %x", p.From, p.ToStore, r.server.Store)
	for i := range p.Messages {
		m := &p.Messages[i]
		if m.Kind != paxos.KindRefuse {
			continue
		}
		if _, ok := r.meantHere(string(m.Value)); !ok {
			continue
		}
		if rest := *p; len(p.Messages) > 1 {
			rest.Messages = slices.Delete(slices.Clone(p.Messages), i, i+1)
			r.dropped(from, &rest, why)
		}
		p.Messages = p.Messages[i : i+1]
		return true
	}
	r.refusing(from, why)
	r.dropped(from, p, why)
	return false
}

// holdPacket keeps p until its Store is durable.
func (r *Replica) holdPacket(from *peer, p *paxos.Packet) {
	if !r.strange.hold(&from.identity, p, r.limits.MaxPacket) {
		r.dropped(from, p, "its sender's storage is not stored here yet, and there is no room for what it says")
	}
}

// dropped counts a packet that is not taken.
func (r *Replica) dropped(from *peer, p *paxos.Packet, why string) {
	r.counters.DroppedPackets++
	if from != nil {
		from.refusal.drop()
	}
	if r.tracing.On {
		for i := range p.Messages {
			r.messageEvent(paxos.EventDrop, p.From, p.Boot, p.Seq, &p.Messages[i], errors.New(why))
		}
	}
}

// refuseMembers drops a packet from a server that disagrees on the members, and sends it a Refuse. A packet that holds a
// Refuse is not answered.
func (r *Replica) refuseMembers(from *peer, p *paxos.Packet) {
	for i := range p.Messages {
		if m := &p.Messages[i]; m.Kind == paxos.KindRefuse {
			r.refusing(from, refusesUs+clip(string(m.Value)))
			r.dropped(from, p, from.refusal.why())
			return
		}
	}
	why := fmt.Sprintf("its members differ: fingerprint %016x; here %s, fingerprint %016x", p.Members, r.view.Current().Members, r.view.Fingerprint())
	if !strings.HasPrefix(from.refusal.why(), refusesUs+refusesMembers) { // the peer's own words say which members it has
		r.refusing(from, why)
	}
	r.dropped(from, p, why)
	r.tellRefused(from, refusesMembers+"server "+fmt.Sprint(uint64(r.id))+" has "+r.view.Current().Members.String()+"; you differ")
}

// refuse drops a packet of a server that is not the one heard before, and sends it a Refuse. The Boot and the Nonce in it
// name the refused process.
func (r *Replica) refuse(from *peer, p *paxos.Packet, why string) {
	r.refusing(from, why)
	r.dropped(from, p, why)
	r.tellRefused(from, fmt.Sprintf(refusesIdentity+"%d %d %s", p.Boot, p.Nonce, why))
}

// refusing notes why nothing is taken from that peer, or that the peer takes nothing. An empty why ends that.
func (r *Replica) refusing(p *peer, why string) {
	if p.refusal.note(why) {
		r.refusals++
	}
}

// tellRefused sends a Refuse, at most one in each Timing.Phase.
func (r *Replica) tellRefused(to *peer, words string) {
	if to.refusal.mayTell(r.now, r.timing.Phase) {
		r.send(to, &paxos.Message{Kind: paxos.KindRefuse, Value: paxos.Value(words)})
	}
}

// meantHere reports whether the words of a Refuse name this very process, and returns the reason in them.
func (r *Replica) meantHere(words string) (why string, ok bool) {
	rest, ok := strings.CutPrefix(words, refusesIdentity)
	boot, rest, ok1 := strings.Cut(rest, " ")
	nonce, why, ok2 := strings.Cut(rest, " ")
	return why, ok && ok1 && ok2 && boot == strconv.FormatUint(r.server.Boot, 10) && nonce == strconv.FormatUint(r.nonce, 10)
}

// clip cuts words from a peer to what fits a log line, and keeps them on it.
func clip(s string) string {
	const most = 512
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s[:min(len(s), most)], "?"))
}

// maxConfiguration is the most bytes of a configuration as text. That is not bounded by Limits.MaxValue.
const maxConfiguration = 384 << 10

// invalid returns why m can't be a message of the protocol from that peer. No role sees such a message. The result is empty
// if m can be one. inst is the instance of m, if it is in memory.
func (r *Replica) invalid(from *peer, m *paxos.Message, inst *instance) string {
	switch m.Kind {
	case paxos.KindRefuse, paxos.KindPull, paxos.KindLimits:
		return ""
	case paxos.KindForget, paxos.KindForgotten:
		if m.Kind == paxos.KindForget && r.position < 0 {
			return "this server does not vote" // it learns by its pulls what is forgotten
		}
		if m.Instance != "" && paxos.CheckInstance(m.Instance) != nil {
			return "its instance has no valid name"
		}
		return ""
	case paxos.KindScan, paxos.KindOpen:
		if r.view.Number() == 0 || from.position < 0 {
			return "there is nothing to import"
		}
		return ""
	case paxos.KindNames, paxos.KindDecisions:
		if from.position < 0 {
			return "its sender does not vote"
		}
		return ""
	case paxos.KindStand:
		return r.invalidStand(from, m)
	case paxos.KindPrepare, paxos.KindAccept, paxos.KindQuery, paxos.KindForward:
		if m.Kind == paxos.KindForward && (from.position < 0 || strings.HasPrefix(m.Instance, "$")) {
			return "nothing is forwarded by that server, or in that instance"
		}
		if m.Ballot.Server != from.id {
			return "its ballot is another server's"
		}
		if number := r.view.Number(); number > 0 && (m.Ballot.Configuration() != number || m.Ballot.Round == paxos.Base(number).Round) {
			return "its ballot is of another configuration"
		}
		if m.Ballot.Round == 0 && (m.Kind != paxos.KindAccept || !paxos.OwnsRound(m.Ballot, m.Instance)) {
			return "its ballot has round 0"
		}
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindNack, paxos.KindState, paxos.KindStood:
		if from.position < 0 {
			return "its sender does not vote"
		}
		if m.Ballot.Server != r.id {
			return "it answers another server's ballot"
		}
		if m.Kind == paxos.KindStood || m.Kind == paxos.KindNack && m.Instance == "" {
			return ""
		}
	case paxos.KindChosen, paxos.KindDecided:
		if m.Ballot.IsZero() {
			return "it has no ballot"
		}
	default:
		return "its kind is not known"
	}
	switch {
	case strings.HasPrefix(m.Instance, "$") && holdsNoDecision(m):
		return "nothing is decided in that instance"
	case max(m.Ballot.Round, m.Accepted.Round) > r.rounds.top(),
		m.Promised.Round > r.rounds.top() && (m.Kind != paxos.KindNack || !m.Promised.IsForgotten()):
		return "a round is above MaxRound"
	case len(m.Value) > r.limits.MaxValue && (!m.Promised.IsForgotten() || len(m.Value) > maxRangeText) &&
		(len(m.Value) > maxConfiguration || !change.IsConfiguration(m.Instance)):
		return "its value is too large"
	case inst == nil && paxos.CheckName(m.Instance) != nil:
		return "its instance has no valid name"
	}
	return ""
}

// invalidStand returns why m can't be a Stand from that peer; empty: it can be one.
func (r *Replica) invalidStand(from *peer, m *paxos.Message) string {
	base := paxos.Base(r.view.Number()).Round
	switch {
	case !r.voters.Has(r.position):
		return "this server does not vote"
	case !r.voters.Has(from.position):
		return "a server without a vote sent it"
	case m.Ballot.Server != from.id:
		return "its ballot is another server's"
	case m.Ballot.Round <= base || m.Ballot.Round > lastStanding(r.view.Number()):
		return "its round is none of a standing ballot"
	}
	return ""
}

// holdsNoDecision reports whether the name in m is one under which this server keeps something else than a decision.
func holdsNoDecision(m *paxos.Message) bool {
	if m.Instance == readyName {
		return m.Kind != paxos.KindQuery && m.Kind != paxos.KindState
	}
	return isRangeName(m.Instance) || m.Instance == settledName || strings.HasPrefix(m.Instance, askedPrefix)
}

// passOver is called with a message that is not taken. inst is its instance; nil: it is not in memory.
//
// A decision that is too large for this server ends its fetching. Otherwise this server would never get to the decisions
// after it on a page. Then passOver settles inst, and reports that. A server that asks for a vote for a value that is too large is told the
// limits of this server.
func (r *Replica) passOver(from *peer, inst *instance, m *paxos.Message) (settled bool) {
	if len(m.Value) > r.limits.MaxValue && (m.Kind == paxos.KindPrepare || m.Kind == paxos.KindAccept) {
		r.tellLimits(from, r.timing.Phase) // it waits for an answer
	}
	if inst != nil && m.Kind == paxos.KindDecided && len(m.Value) > r.limits.MaxValue {
		r.passed(inst)
		r.fetched(inst)
		r.endUnlearned(inst, len(m.Value))
		r.settle(inst)
		return true
	}
	return false
}
