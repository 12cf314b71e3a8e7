package paxos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A peer is another server, and what this one remembers of it. Its Store is stored; of the rest, what no peer remembers, nobody detects
// (docs/assumptions.md).
type peer struct {
	id       ServerID
	position int // among the acceptors; -1: it does not vote
	seq      uint64
	out      []Message // for the next packet
	sent     []Message // those of the last Output
	outBytes int
	long     int // how many of out are long
	news     int // how many of out are Chosen

	pull           pull
	again          bool     // a packet was the first for a while: see notice
	newer          bool     // the latest packet taken was later than all before it
	store          uint64   // its storage, for ever; 0: it was not met yet. See meet
	storing        uint64   // the Save that makes store durable here; 0: it is
	held           []Packet // that came before
	heard          bool     // in this life of ours; what follows is of the latest packet taken
	heardAt        time.Duration
	boot, nonce    uint64
	lastSeq, index uint64

	refused   string        // why its packets are refused, or why it refuses ours; empty: it isn't so
	refusedAt time.Duration // when it was last told
	told      bool          // it was ever told
	dropped   uint64        // its packets that were not taken

	takes      takes         // what it has said that it takes
	maxPacket  int           // bytes of a packet to it
	limits     string        // how its limits differ from those here, in words; empty: they don't, or it has said nothing
	limitsTold bool          // its process was told of ours
	limitsAt   time.Duration // when it was last
}

// maxWaiting bounds the messages for one peer that wait for this server's first Save.
const maxWaiting = 4096

// How the words of a Refuse begin, and how they are shown.
const (
	refusesMembers  = "members: "  // cluster, acceptors or quorum differ
	refusesIdentity = "identity: " // the Boot and the Nonce of the process that is meant follow, then why
	refusesUs       = "it refuses this server: "
)

// addPeers fills in r.peers: the other acceptors by position, then the other learners.
func (r *Replica) addPeers() {
	m := r.members
	r.peers = make([]peer, 0, len(m.Acceptors)+len(m.Learners))
	for i, id := range m.Acceptors {
		if id != r.id {
			r.peers = append(r.peers, peer{id: id, position: i})
		}
	}
	for _, id := range m.Learners {
		if id != r.id {
			r.peers = append(r.peers, peer{id: id, position: -1})
		}
	}
	for i := range r.peers {
		r.byID[r.peers[i].id] = &r.peers[i]
		r.peers[i].maxPacket = r.limits.MaxPacket
	}
}

// send puts m into the next packet to that peer.
func (r *Replica) send(to *peer, m Message) {
	if !r.saves.booted && len(to.out) >= maxWaiting {
		r.counters.Dropped++
		return
	}
	to.out = append(to.out, m)
	size := sizeOf(&m)
	to.outBytes += size
	if size > longMessage {
		to.long++
	}
	if m.Kind == KindChosen {
		to.news++
	}
	r.counters.Sent[m.Kind]++
}

// sizeOf is about how many bytes m takes on the wire.
func sizeOf(m *Message) int { return len(m.Instance) + len(m.Value) + 64 }

// longMessage is from how many bytes on a message travels alone, after those that are shorter: so that no Transport need have what is
// short wait for all that is long.
const longMessage = 64 << 10

// takePackets appends a packet for each peer that has something to hear, or several where one would be too large. If the Replica is
// patient, it leaves what tells a peer only what was chosen.
func (r *Replica) takePackets(out *Output) {
	for i := range r.peers {
		p := &r.peers[i]
		if len(p.out) == 0 || r.patient && p.patient(p.maxPacket) {
			continue
		}
		clear(p.sent)
		p.out, p.sent = p.sent[:0], p.out
		rest := p.sent
		if p.long > 0 {
			slices.SortStableFunc(rest, func(a, b Message) int { return cmp.Compare(alone(&a), alone(&b)) })
		}
		if p.long > 0 || p.outBytes > p.maxPacket {
			for n := fitting(rest, p.maxPacket); n < len(rest); n = fitting(rest, p.maxPacket) {
				out.Send = append(out.Send, r.packet(p, rest[:n:n]))
				rest = rest[n:]
			}
		}
		p.outBytes, p.long, p.news = 0, 0, 0
		out.Send = append(out.Send, r.packet(p, rest))
	}
}

// patient reports whether nobody waits for what the peer is to hear.
func (p *peer) patient(most int) bool { return p.news == len(p.out) && p.outBytes < most/2 }

// holds reports whether there is something that takePackets has left.
func (r *Replica) holds() bool {
	for i := range r.peers {
		if len(r.peers[i].out) > 0 {
			return true
		}
	}
	return false
}

// waiting returns the packets that would be in the next Output, and those that takePackets has left. Their Messages are valid until the
// next Take.
func (r *Replica) waiting() []Packet {
	var out Output
	if r.saves.booted {
		patient := r.patient
		r.patient = false
		r.takePackets(&out)
		r.patient = patient
	}
	return out.Send
}

// alone is 1 for a message that travels alone, after all for which it is 0.
func alone(m *Message) int {
	if sizeOf(m) > longMessage {
		return 1
	}
	return 0
}

// fitting returns how many of ms, one at least, fit a packet of that size. The long ones come last.
func fitting(ms []Message, most int) int {
	size := 0
	for i := range ms {
		n := sizeOf(&ms[i])
		if size += n; (size > most || n > longMessage) && i > 0 {
			return i
		}
		if n > longMessage {
			return 1
		}
	}
	return len(ms)
}

func (r *Replica) packet(to *peer, ms []Message) Packet {
	to.seq++
	r.counters.Packets++
	if r.trace {
		for _, m := range ms {
			r.event(Event{Kind: EventSend, Peer: to.id, Packet: to.seq, Message: m})
		}
	}
	return Packet{From: r.id, To: to.id, Store: r.saves.state.Store, Boot: r.saves.state.Boot, Nonce: r.nonce,
		Members: r.print, Index: r.saves.index, Seq: to.seq, ToStore: to.store, Messages: ms}
}

// check reports whether the packet may be taken: it is for this server on this storage, and from a member that agrees on the members,
// whose identity and disk are the ones heard before. It detects what it can of a storage that forgot, a copied directory
// and a second process; it can't prevent them.
func (r *Replica) check(p *Packet) (from *peer, ok bool) {
	from = r.byID[p.From]
	if from == nil || p.To != r.id {
		r.counters.Strangers++
		r.dropped(nil, p, "it is for another server or from none of Members")
		return nil, false
	}
	if p.ToStore != 0 && p.ToStore != r.saves.state.Store && !r.refusal(from, p) {
		return nil, false
	}
	if p.Members != r.print {
		r.refuseMembers(from, p)
		return nil, false
	}
	if !r.met(from, p) {
		return nil, false
	}
	first := !from.heard || p.Boot > from.boot
	again := !from.heard || r.now-from.heardAt >= r.timing.Pull || p.Boot > from.boot
	if !from.heard {
		from.heard, from.boot, from.nonce = true, p.Boot, p.Nonce
		from.pull.goal = p.Index
	}
	newer := p.Boot > from.boot || p.Boot == from.boot && p.Seq > from.lastSeq
	switch {
	case p.Boot < from.boot:
		r.dropped(from, p, "it is of an earlier life of its sender")
	case p.Boot == from.boot && p.Nonce != from.nonce:
		r.refuse(from, p, fmt.Sprintf("two processes run as server %d on copies of one storage", p.From))
	case newer && p.Index < from.index:
		r.refuse(from, p, fmt.Sprintf("the storage of server %d went back in time, from decision %d to %d", p.From, from.index, p.Index))
	default:
		if newer {
			from.pull.turn = from.pull.turn && p.Boot == from.boot // a Pull by which a start begins is not out of turn
			from.boot, from.nonce, from.lastSeq, from.index = p.Boot, p.Nonce, p.Seq, p.Index
		}
		from.heardAt, from.newer = r.now, newer
		if from.position >= 0 {
			r.quorums.heardNow(r.now)
		}
		from.again = from.again || again
		r.refusing(from, "")
		r.exchangeLimits(from, first)
		return from, true
	}
	return nil, false
}

// dropped counts a packet that is not taken.
func (r *Replica) dropped(from *peer, p *Packet, why string) {
	r.counters.DroppedPackets++
	if from != nil {
		from.dropped++
	}
	if r.trace {
		for _, m := range p.Messages {
			r.event(Event{Kind: EventDrop, Peer: p.From, Packet: p.Seq, Message: m, Err: errors.New(why)})
		}
	}
}

// refuseMembers drops a packet from a server that disagrees on the members, and tells it so in words, unless the packet
// says just that.
func (r *Replica) refuseMembers(from *peer, p *Packet) {
	for i := range p.Messages {
		if m := &p.Messages[i]; m.Kind == KindRefuse {
			r.refusing(from, refusesUs+clip(string(m.Value)))
			r.dropped(from, p, from.refused)
			return
		}
	}
	why := fmt.Sprintf("its members differ: fingerprint %016x; here %s, fingerprint %016x", p.Members, r.members, r.print)
	if !strings.HasPrefix(from.refused, refusesUs+refusesMembers) { // that says in words what it has
		r.refusing(from, why)
	}
	r.dropped(from, p, why)
	r.tellRefused(from, refusesMembers+"server "+fmt.Sprint(uint64(r.id))+" has "+r.members.String()+"; you differ")
}

// refuse drops a packet of a server that is not the one heard before, and tells it so. The Boot and the Nonce say which
// process is meant.
func (r *Replica) refuse(from *peer, p *Packet, why string) {
	r.refusing(from, why)
	r.dropped(from, p, why)
	r.tellRefused(from, fmt.Sprintf(refusesIdentity+"%d %d %s", p.Boot, p.Nonce, why))
}

// refusing notes why nothing is taken from that peer, or that it takes nothing.
func (r *Replica) refusing(p *peer, why string) {
	if p.refused != why {
		p.refused = why
		r.refusals++
	}
}

// tellRefused sends a Refuse, at most one a phase.
func (r *Replica) tellRefused(to *peer, words string) {
	if to.told && r.now-to.refusedAt < r.timing.Phase {
		return
	}
	to.told, to.refusedAt = true, r.now
	r.send(to, Message{Kind: KindRefuse, Value: Value(words)})
}

// refusedBy takes a Refuse. Only the process whose Boot and Nonce it names has to stop: a late one may be about an
// earlier life.
func (r *Replica) refusedBy(from *peer, m *Message) {
	words := string(m.Value)
	r.refusing(from, refusesUs+clip(words))
	why, ok := r.meantHere(words)
	if !ok {
		return
	}
	r.stop = fmt.Errorf("paxos: server %d is refused by server %d: %s", r.id, from.id, clip(why))
	r.Abort(r.now, r.stop)
}

// meantHere reports whether the words of a Refuse name this very process, and returns why it is refused.
func (r *Replica) meantHere(words string) (why string, ok bool) {
	rest, ok := strings.CutPrefix(words, refusesIdentity)
	boot, rest, ok1 := strings.Cut(rest, " ")
	nonce, why, ok2 := strings.Cut(rest, " ")
	return why, ok && ok1 && ok2 && boot == strconv.FormatUint(r.saves.state.Boot, 10) && nonce == strconv.FormatUint(r.nonce, 10)
}
