package replica

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// Limits that differ. A server tells its MaxValue and MaxPacket to each server that it hears of, if one of them is not the
// default. A server that is told of other limits than its own answers with its own.
//
// Both then know what the other takes. A call that proposes a value that no quorum takes ends with an error. No packet is
// longer than its receiver takes. Nothing is refused because of a limit that is not known.

// takesOf returns what a server with these limits takes.
func takesOf(l paxos.Limits) takes { return takes{l.MaxValue, l.MaxPacket} }

// parseTakes reads the text of a Limits. A later version may have appended to it.
func parseTakes(v paxos.Value) (t takes, ok bool) {
	words := strings.SplitN(string(v[:min(len(v), 100)]), " ", 3)
	if len(words) < 2 {
		return takes{}, false
	}
	var errs [2]error
	t.value, errs[0] = strconv.Atoi(words[0])
	t.packet, errs[1] = strconv.Atoi(words[1])
	return t, errs == [2]error{} && t.value > 0 && t.packet > 0
}

// exchangeLimits is called with each packet that is taken from a peer. first: it is the first packet of the peer's process.
func (r *Replica) exchangeLimits(p *peer, first bool) {
	if first {
		p.takes, p.limitsTold = takes{}, false
		r.noteLimits(p)
	}
	if own := takesOf(r.limits); r.unusual || p.takes != own && p.takes != (takes{}) {
		r.tellLimits(p, r.timing.Pull)
	}
}

// tellLimits tells a peer the limits of this server, unless it was told within that time.
func (r *Replica) tellLimits(to *peer, within time.Duration) {
	if to.limitsTold && r.now-to.limitsAt < within {
		return
	}
	to.limitsTold, to.limitsAt = true, r.now
	r.send(to, &paxos.Message{Kind: paxos.KindLimits, Value: takesOf(r.limits).text()})
}

// noteLimits works out the consequences of a peer's limits.
func (r *Replica) noteLimits(p *peer) {
	own := takesOf(r.limits)
	p.maxPacket = own.packet
	if p.takes.packet > 0 {
		p.maxPacket = min(p.maxPacket, p.takes.packet)
	}
	var differ []string
	if p.takes != (takes{}) && p.takes.value != own.value {
		differ = append(differ, fmt.Sprintf("Limits.MaxValue is %d there, %d here", p.takes.value, own.value))
	}
	if p.takes != (takes{}) && p.takes.packet != own.packet {
		differ = append(differ, fmt.Sprintf("Limits.MaxPacket is %d there, %d here", p.takes.packet, own.packet))
	}
	if words := strings.Join(differ, "; "); words != p.limits {
		p.limits = words
		r.refusals++ // a Node looks when it rises
	}
	r.leastValue = own.value
	for i := range r.peers {
		if v := r.peers[i].takes.value; v > 0 {
			r.leastValue = min(r.leastValue, v)
		}
	}
}

// tooLarge returns an error if a value of so many bytes can get no quorum. The error names the servers that do not take it.
func (r *Replica) tooLarge(bytes int) error {
	if bytes <= r.leastValue {
		return nil
	}
	takers := paxos.Set(0)
	if r.position >= 0 {
		takers = takers.With(r.position)
	}
	for _, p := range r.peers {
		if p.position >= 0 && p.takesValue(bytes) {
			takers = takers.With(p.position)
		}
	}
	if r.quorum.Phase2(takers) {
		return nil
	}
	var words []string
	for _, p := range r.peers {
		if p.position >= 0 && !p.takesValue(bytes) {
			words = append(words, fmt.Sprintf("server %d takes %d at most", p.id, p.takes.value))
		}
	}
	return fmt.Errorf("value has %d bytes, and too few acceptors take so many: by Limits.MaxValue, %s; %s: %w", bytes, strings.Join(words, ", "), paxos.QuorumNeeds(r.quorum, true), paxos.ErrTooLarge)
}

// endTooLargeIn ends the calls of inst that are next to be proposed, as long as no quorum takes the value of the next. The
// calls behind that one wait for its end.
func (r *Replica) endTooLargeIn(inst *instance) {
	for first := inst.calls.proposes(); first != nil && inst.attempt.state == attemptNone; first = inst.calls.proposes() {
		err := r.tooLarge(len(first.value))
		if err == nil {
			return
		}
		r.cut(calling{inst, first.seq}, err)
	}
}

// endStuck ends the calls of inst that wait for votes on a value that was accepted before, and that no quorum takes.
func (r *Replica) endStuck(inst *instance, why error) {
	stuck := func(c *call) bool { return c.op == opPropose || c.op == opRead }
	for _, c := range inst.calls.take(stuck) {
		r.end(inst, c, paxos.Decision{}, fmt.Errorf("an earlier vote has to be proposed: %w", why))
	}
	r.inflight.leaveLine(inst)
}

// endUnlearned ends the calls of inst. It is decided with a value of so many bytes, and this server does not take so many.
func (r *Replica) endUnlearned(inst *instance, bytes int) {
	if inst.loading || inst.chosen || inst.calls.len() == 0 || inst.name == readyName {
		return
	}
	r.endCalls(inst, fmt.Errorf("the decision has %d bytes, at most %d are allowed here by Limits.MaxValue: %w", bytes, r.limits.MaxValue, paxos.ErrTooLarge))
	r.inflight.leaveLine(inst)
	r.endAsking(inst)
	r.endAttempt(inst)
}

// packetExtra is the most that a packet holds beside the values and names that sizeOf counts.
const packetExtra = 1 << 10

// LimitsFor returns l for a Transport that takes packets of up to so many bytes. If l.MaxPacket is 0, LimitsFor sets it to
// the largest that fits, up to the default.
//
// The error names a limit, after defaults, that is too large for the Transport. Or it says that the Transport takes less
// than any server needs. The returned limits are to be used all the same.
func LimitsFor(l paxos.Limits, maxPacket int) (paxos.Limits, error) {
	if l.MaxPacket == 0 {
		l.MaxPacket = max(min(paxos.Limits{}.WithDefaults().MaxPacket, maxPacket-packetExtra), minPacket)
	}
	full := l.WithDefaults()
	for _, d := range []struct {
		name  string
		value int
	}{{"MaxValue", full.MaxValue}, {"MaxPacket", full.MaxPacket}, {"MaxHint", min(full.MaxHint, full.MaxValue)}} {
		if maxPacket < d.value+packetExtra {
			return l, fmt.Errorf("Limits.%s: %d, but the Transport takes packets of %d bytes at most: want %d at most here, or %d there at least",
				d.name, d.value, maxPacket, max(maxPacket-packetExtra, 0), d.value+packetExtra)
		}
	}
	if maxPacket < page.MaxBytes+packetExtra {
		return l, fmt.Errorf("Transport: it takes packets of %d bytes at most: want %d at least", maxPacket, page.MaxBytes+packetExtra)
	}
	return l, nil
}

// minPacket is the least Limits.MaxPacket.
const minPacket = 4 << 10

// maxTakeovers bounds the instances that a server takes over at a time. Without it, a start with many undecided instances,
// or the end of a long pause, would be a flood.
const maxTakeovers = 1024

// The least room for work that ends by itself, however small Limits.MaxOpen is.
const (
	minOwn       = 64
	minWork      = 1024
	minTakeovers = 64
)

// mostWork is how many instances may be in the room work.
func mostWork(l paxos.Limits) int { return max(l.MaxOpen, minWork) }

// mostOwn is how many instances may be in the room own.
func mostOwn(l paxos.Limits) int { return max(l.MaxOpen, minOwn) }

// mostTakeovers is how many instances may be taken over at a time.
func mostTakeovers(l paxos.Limits) int { return min(maxTakeovers, max(l.MaxOpen, minTakeovers)) }

// Backlog returns how many instances a Replica with these Limits remembers for later, to finish them. Some of these the
// storage held undecided at the start: see [Config].Open. The others have left memory.
func Backlog(l paxos.Limits) int { return mostLater(l.WithDefaults()) }

func mostLater(l paxos.Limits) int { return 16 * max(l.MaxOpen, 256) }
