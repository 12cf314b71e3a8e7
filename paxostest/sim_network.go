package paxostest

import (
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// A letter is one message on its way, in a packet of its own.
type letter struct {
	id     int // from 1, in the order in which they left
	packet paxos.Packet
}

// isOf reports whether l has the message that e tells of: it came, or was dropped.
func (l *letter) isOf(e *Entry) bool {
	p := &l.packet
	return p.From == e.Peer && p.To == e.Server && p.Seq == e.Packet && p.Messages[0] == e.Message
}

// A network gives each message its fate.
type network struct {
	rules   []*rule
	cut     map[[2]paxos.ServerID]bool // from, to
	letters []letter                   // all that ever left
	held    []letter
	forged  bool // something was injected: a SafetyError is then no bug of a server
}

// Drop loses the messages that match.
func (w *Sim) Drop(m Match) { w.rule(m, fateLose, 0) }

// Hold keeps the messages that match until Release.
func (w *Sim) Hold(m Match) { w.rule(m, fateHold, 0) }

// Delay makes the messages that match arrive d later than others.
func (w *Sim) Delay(m Match, d time.Duration) { w.rule(m, fateDelay, d) }

// Repeat makes the messages that match arrive twice: as usual, and again d later.
func (w *Sim) Repeat(m Match, d time.Duration) { w.rule(m, fateRepeat, d) }

func (w *Sim) rule(m Match, f fate, d time.Duration) {
	w.network.rules = append(w.network.rules, &rule{Match: m, fate: f, d: d})
}

// Clear ends all rules. Held messages stay held.
func (w *Sim) Clear() { w.network.rules = nil }

// Cut loses all messages between two servers that are sent from now on, in either direction.
func (w *Sim) Cut(a, b paxos.ServerID) {
	w.CutOneWay(a, b)
	w.CutOneWay(b, a)
}

// CutOneWay loses all messages from one server to another that are sent from now on.
func (w *Sim) CutOneWay(from, to paxos.ServerID) {
	if w.network.cut == nil {
		w.network.cut = map[[2]paxos.ServerID]bool{}
	}
	w.network.cut[[2]paxos.ServerID{from, to}] = true
}

// Isolate cuts a server from all others.
func (w *Sim) Isolate(id paxos.ServerID) {
	for _, s := range w.servers {
		if s.ID != id {
			w.Cut(id, s.ID)
		}
	}
}

// IsolateRegion cuts the servers of a region from all others. Among themselves they reach each other.
func (w *Sim) IsolateRegion(region string) {
	inside := w.serversIn(region)
	for _, id := range inside {
		for _, s := range w.servers {
			if !slices.Contains(inside, s.ID) {
				w.Cut(id, s.ID)
			}
		}
	}
}

// Heal ends all cuts.
func (w *Sim) Heal() { w.network.cut = nil }

// Release releases the held messages that match: they arrive after the usual time. If there are none, it is an error.
func (w *Sim) Release(m Match) {
	kept, nth, released := w.network.held[:0], 0, 0
	for _, l := range w.network.held {
		fits := m.fits(l.packet.From, l.packet.To, l.packet.Messages[0])
		if fits {
			nth++
		}
		if !fits || m.Nth != 0 && m.Nth != nth {
			kept = append(kept, l)
			continue
		}
		released++
		w.travel(l.packet, []letter{l}, w.delay(l.packet.From, l.packet.To), true)
	}
	w.network.held = kept
	if released == 0 {
		w.failf("no held message fits %s", m)
	}
}

// Replay sends copies of all messages that match and were sent before: very late duplicates.
func (w *Sim) Replay(m Match) {
	nth, replayed := 0, 0
	for _, l := range w.network.letters {
		if !m.fits(l.packet.From, l.packet.To, l.packet.Messages[0]) {
			continue
		}
		if nth++; m.Nth == 0 || m.Nth == nth {
			replayed++
			w.travel(l.packet, []letter{l}, w.delay(l.packet.From, l.packet.To), true)
		}
	}
	if replayed == 0 {
		w.failf("no message that was sent fits %s", m)
	}
}

// Inject makes a message arrive that no server sent: forged, or made up for a test. It looks as if from had sent it now.
func (w *Sim) Inject(from, to paxos.ServerID, m paxos.Message) {
	s := w.server(from)
	w.InjectPacket(paxos.Packet{From: from, To: to, Store: s.Disk.State.Store, ToStore: s.Stored(to), Boot: s.Disk.State.Boot, Nonce: s.Life<<8 | uint64(from),
		Members: w.members.Fingerprint(), Index: s.Disk.State.Last, Messages: []paxos.Message{m}})
}

// InjectPacket makes a packet with one message arrive that no server sent. If it claims to be from a member, a server that believes it is
// not at fault.
func (w *Sim) InjectPacket(p paxos.Packet) {
	if p.From >= 1 && int(p.From) <= len(w.servers) {
		w.network.forged = true
		w.oracle.Forged(p.Messages[0])
	}
	l := w.letter(p, p.Messages[0])
	w.note(Entry{Event: paxos.Event{Kind: Forged, Server: p.From, Peer: p.To, Message: p.Messages[0]}, MessageID: l.id})
	w.travel(p, []letter{l}, w.delay(p.From, p.To), false)
}

func (w *Sim) letter(p paxos.Packet, m paxos.Message) letter {
	p.Messages = []paxos.Message{m}
	l := letter{len(w.network.letters) + 1, p}
	w.network.letters = append(w.network.letters, l)
	return l
}

// leave makes letters of packets that are about to leave. Their messages are copied: the Replica reuses the slices.
func (w *Sim) leave(packets []paxos.Packet) (ls []letter) {
	if w.config.noLog && w.fates != nil {
		return nil
	}
	for _, p := range packets {
		for _, m := range p.Messages {
			ls = append(ls, w.letter(p, m))
		}
	}
	return ls
}

// checkPackets lets the oracle look at the packets that leave a server.
func (w *Sim) checkPackets(s *server) {
	for i := range s.out.Send {
		p := &s.out.Send[i]
		w.fail(w.oracle.Sent(&s.Server, p))
		w.sum(p)
	}
}

// sum adds a packet to the hash of all that left: two runs with the same hash did the same.
func (w *Sim) sum(p *paxos.Packet) {
	h := (w.hash ^ uint64(w.now)) * 0x9e3779b97f4a7c15
	h = (h ^ uint64(p.From)<<32 ^ uint64(p.To)<<16 ^ p.Seq ^ p.Index<<40) * 0x9e3779b97f4a7c15
	for i := range p.Messages {
		m := &p.Messages[i]
		h = (h ^ uint64(m.Kind)<<56 ^ m.Ballot.Round<<8 ^ uint64(m.Ballot.Server) ^ uint64(len(m.Value))<<24 ^ m.Accepted.Round<<16) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	w.hash = h
}

// send gives the messages that leave a server their fates.
func (w *Sim) send(packets []paxos.Packet, ls []letter) {
	if w.fates == nil {
		w.dispatch(ls)
		return
	}
	for i := range packets {
		n := min(len(packets[i].Messages), len(ls))
		w.post(&packets[i], ls[:n])
		ls = ls[n:]
	}
}

// delay returns how long a packet takes that leaves now.
func (w *Sim) delay(from, to paxos.ServerID) time.Duration {
	if d, ok := w.config.Regions.delay(from, to, &w.dice); ok {
		return d
	}
	return w.config.Delay
}

// dispatch gives letters that just left their fates. Those of one packet that nobody interferes with arrive as one packet.
func (w *Sim) dispatch(ls []letter) {
	for len(ls) > 0 {
		n := 1
		for n < len(ls) && ls[n].packet.To == ls[0].packet.To && ls[n].packet.Seq == ls[0].packet.Seq {
			n++
		}
		w.dispatchPacket(ls[:n])
		ls = ls[n:]
	}
}

func (w *Sim) dispatchPacket(ls []letter) {
	head := ls[0].packet
	link := [2]paxos.ServerID{head.From, head.To}
	if w.network.cut[link] {
		for _, l := range ls {
			w.lost(l, "the link is cut")
		}
		return
	}
	var together []letter
	for _, l := range ls {
		r := w.network.decide(l)
		switch {
		case r == nil || r.fate == fateArrive:
			together = append(together, l)
		case r.fate == fateLose:
			w.lost(l, "")
		case r.fate == fateHold:
			w.network.held = append(w.network.held, l)
			w.noteLetter(Held, l, "")
		case r.fate == fateDelay:
			w.travel(l.packet, []letter{l}, w.delay(l.packet.From, l.packet.To)+r.d, true)
		case r.fate == fateRepeat:
			w.travel(l.packet, []letter{l}, w.delay(l.packet.From, l.packet.To), false)
			w.travel(l.packet, []letter{l}, w.delay(l.packet.From, l.packet.To)+r.d, true)
		}
	}
	if len(together) > 0 {
		p := head
		p.Messages = nil
		for _, l := range together {
			p.Messages = append(p.Messages, l.packet.Messages[0])
		}
		w.travel(p, together, w.delay(p.From, p.To), false)
	}
}

// decide returns the rule for a letter, or nil.
func (n *network) decide(l letter) (decides *rule) {
	for _, r := range n.rules {
		if r.hits(l.packet.From, l.packet.To, l.packet.Messages[0]) && decides == nil {
			decides = r
		}
	}
	return decides
}

// travel has p, which is made of those letters, arrive after d.
func (w *Sim) travel(p paxos.Packet, ls []letter, d time.Duration, late bool) {
	c := &parcel{packet: p, letters: slices.Clone(ls), due: w.now + d, late: late, copies: 1}
	w.plan(event{at: c.due, what: eventArrival, parcel: c})
}

// A parcel is a packet on its way, or several copies of it.
type parcel struct {
	packet   paxos.Packet
	letters  []letter // that it is made of; none if there is no log
	messages []paxos.Message
	due      time.Duration
	late     bool
	copies   int // that have not arrived
}

// arrive gives a parcel to the server that it is for.
func (w *Sim) arrive(c *parcel) {
	c.copies--
	s := w.server(c.packet.To)
	switch {
	case s.replica == nil:
		for _, l := range c.letters {
			w.lost(l, "the server is down")
		}
	case s.paused:
		c.copies++
		s.inbox = append(s.inbox, func() { w.take(s, c) })
		return
	default:
		w.take(s, c)
		return
	}
	w.recycle(c)
}

// take has the Replica of s receive a parcel.
func (w *Sim) take(s *server, c *parcel) {
	if c.copies > 0 && s.paused {
		c.copies--
	}
	p := &c.packet
	w.oracle.Arrived(&s.Server, p)
	if w.arrived != nil {
		w.arrived(p)
	}
	w.arriving, w.late = append(w.arriving[:0], c.letters...), c.late || w.now > c.due // it waited while the server was paused
	s.replica.Receive(w.now, *p)
	w.recycle(c)
	w.drain(s)
}

// recycle takes back a parcel whose copies have all arrived.
func (w *Sim) recycle(c *parcel) {
	if c.copies == 0 && c.letters == nil {
		clear(c.messages)
		c.messages = c.messages[:0]
		w.parcels = append(w.parcels, c)
	}
}

// post sends a packet whole, to the fate that w.fates gives it. Its messages are copied: the Replica reuses the slices.
func (w *Sim) post(p *paxos.Packet, ls []letter) {
	w.copies = w.copies[:0]
	if int(p.To) <= len(w.servers) { // else it is the answer to a stranger
		w.copies = w.fates.fate(w, p, w.copies)
	}
	if len(w.copies) == 0 {
		for _, l := range ls {
			w.lost(l, "")
		}
		return
	}
	var c *parcel
	if n := len(w.parcels); n > 0 {
		c, w.parcels = w.parcels[n-1], w.parcels[:n-1]
	} else {
		c = new(parcel)
	}
	c.messages = append(c.messages, p.Messages...)
	c.packet, c.copies, c.due = *p, len(w.copies), w.now+slices.Max(w.copies)
	c.letters = slices.Clone(ls)
	c.packet.Messages = c.messages
	for _, d := range w.copies {
		w.plan(event{at: w.now + d, what: eventArrival, parcel: c})
	}
}

// fates decides what becomes of each packet that leaves a server: it appends to copies after how long each copy of it
// arrives. None: it is lost.
type fates interface {
	fate(w *Sim, p *paxos.Packet, copies []time.Duration) []time.Duration
}

type loseAll struct{}

func (loseAll) fate(*Sim, *paxos.Packet, []time.Duration) []time.Duration { return nil }

type onTime struct{}

func (onTime) fate(w *Sim, p *paxos.Packet, copies []time.Duration) []time.Duration {
	return append(copies, w.delay(p.From, p.To))
}

func (w *Sim) lost(l letter, why string) { w.noteLetter(Lost, l, why) }

func (w *Sim) noteLetter(kind paxos.EventKind, l letter, text string) {
	event := paxos.Event{Kind: kind, Server: l.packet.From, Peer: l.packet.To, Message: l.packet.Messages[0]}
	w.note(Entry{Event: event, MessageID: l.id, Text: text})
}
