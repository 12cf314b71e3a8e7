package replica

import (
	"cmp"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// maxStrange bounds the packets that are held of each server whose Store is not durable here yet. Packets beyond it are
// lost, as they may be on any network. The bytes of all together are bounded by Limits.MaxPacket, plus one packet.
const maxStrange = 1024

// An identity says which server a peer is: its storage, for ever, and its latest process. It tells a packet of that process
// from a packet of an earlier process, of a copy, and of a storage that went back in time.
type identity struct {
	known  uint64         // its Store; 0: it was not met yet
	saving uint64         // the Save that makes the Store durable here; 0: it is
	held   []paxos.Packet // its packets that came before that

	heard   bool          // a packet was taken in this life of ours
	heardAt time.Duration // when the latest one was
	newest  bool          // that one was later than all before it

	life, nonce uint64 // of the latest process that was heard, its Boot and its Nonce
	seq, last   uint64 // of the newest packet of it, the Seq and the Index
}

// begin sets the Store that is stored here; 0: none is.
func (k *identity) begin(store uint64) { k.known = store }

// store returns the Store; 0: it was not met yet.
func (k *identity) store() uint64 { return k.known }

// isStored reports whether the Store is that one, and durable here.
func (k *identity) isStored(store uint64) bool { return store == k.known && k.saving == 0 }

// boot returns the Boot of the latest process that was heard.
func (k *identity) boot() uint64 { return k.life }

// index returns the Index of the newest packet taken.
func (k *identity) index() uint64 { return k.last }

// isHeard reports whether a packet was taken in this life of ours.
func (k *identity) isHeard() bool { return k.heard }

// isHeardAfter reports whether a packet was taken after that time.
func (k *identity) isHeardAfter(at time.Duration) bool { return k.heard && k.heardAt > at }

// lastHeard returns when the latest packet was taken.
func (k *identity) lastHeard() time.Duration { return k.heardAt }

// silence returns how long ago the latest packet was taken; -1: none was.
func (k *identity) silence(now time.Duration) time.Duration {
	if !k.heard {
		return -1
	}
	return now - k.heardAt
}

// isNewest reports whether the latest packet taken was later than all before it. Otherwise it may be a packet that the
// network repeated.
func (k *identity) isNewest() bool { return k.newest }

// A hearing says what hear found.
type hearing uint8

const (
	hearsProcess     hearing = iota // the packet is taken; its process was heard before
	hearsNewProcess                 // the packet is taken, and is the first of its process
	hearsEarlierLife                // not taken: its sender has started anew since
	hearsCopy                       // not taken: two processes run in one life
	hearsPast                       // not taken: the storage has lost decisions that it had
)

// hear takes p, whose Store is the one known, if its process may follow those heard before.
func (k *identity) hear(p *paxos.Packet, now time.Duration) hearing {
	found := hearsProcess
	if !k.heard || p.Boot > k.life {
		found = hearsNewProcess
	}
	if !k.heard {
		k.heard, k.life, k.nonce = true, p.Boot, p.Nonce
	}
	newest := p.Boot > k.life || p.Boot == k.life && p.Seq > k.seq
	switch {
	case p.Boot < k.life:
		return hearsEarlierLife
	case p.Boot == k.life && p.Nonce != k.nonce:
		return hearsCopy
	case newest && p.Index < k.last:
		return hearsPast
	case newest:
		k.life, k.nonce, k.seq, k.last = p.Boot, p.Nonce, p.Seq, p.Index
	}
	k.heardAt, k.newest = now, newest
	return found
}

// strange counts the packets that are held of peers whose Stores are not durable here yet.
type strange struct {
	peers int // how many they are
	bytes int // of the packets that are held of them
}

// meet sets the Store of k, which was not met yet. The Save with that number makes it durable.
func (s *strange) meet(k *identity, store, save uint64) {
	k.known, k.saving = store, save
	s.peers++
}

// hold keeps p until the Store of k is durable. It reports whether there was room. most bounds the bytes of all.
func (s *strange) hold(k *identity, p *paxos.Packet, most int) bool {
	if len(k.held) >= maxStrange || s.bytes > most {
		return false
	}
	s.bytes += sizeOfPacket(p)
	held := *p
	held.Messages = slices.Clone(p.Messages)
	k.held = append(k.held, held)
	return true
}

// any reports whether there are such peers.
func (s *strange) any() bool { return s.peers > 0 }

// saved is called when the Saves up to that number are done. If the Store of k is durable now, saved returns the packets
// that were held, in order.
func (s *strange) saved(k *identity, done uint64) (held []paxos.Packet) {
	if k.saving == 0 || k.saving > done {
		return nil
	}
	k.saving = 0
	s.peers--
	held, k.held = k.held, nil
	for i := range held {
		s.bytes -= sizeOfPacket(&held[i])
	}
	return held
}

// early keeps the packets of servers that live under the next configuration already. The network lost none of them, so their senders would
// wait for an answer until they ask again.
type early struct {
	packets []paxos.Packet
	bytes   int
}

// maxEarly bounds the packets that are kept. Their bytes are bounded by Limits.MaxPacket, plus one packet.
const maxEarly = 256

// keep keeps p. It reports whether there was room. most bounds the bytes of all.
func (e *early) keep(p *paxos.Packet, most int) bool {
	if len(e.packets) >= maxEarly || e.bytes > most {
		return false
	}
	e.bytes += sizeOfPacket(p)
	kept := *p
	kept.Messages = slices.Clone(p.Messages)
	e.packets = append(e.packets, kept)
	return true
}

// take returns the packets that may be taken under the configuration with that number, in order, and forgets them.
func (e *early) take(configuration uint64) (kept []paxos.Packet) {
	if len(e.packets) > 0 && e.packets[0].Configuration <= configuration {
		kept, *e = e.packets, early{}
	}
	return kept
}

func sizeOfPacket(p *paxos.Packet) int {
	size := 128
	for i := range p.Messages {
		size += sizeOf(&p.Messages[i])
	}
	return size
}

// A refusal says why nothing is taken from a peer, or that the peer takes nothing.
type refusal struct {
	words   string        // empty: neither is refused
	told    bool          // the peer was ever sent a Refuse
	toldAt  time.Duration // when it was last sent one
	dropped uint64        // how many of its packets were not taken
}

// why returns the reason; empty: neither is refused.
func (f *refusal) why() string { return f.words }

// note sets the reason, and reports whether it is another one. An empty reason ends the refusal.
func (f *refusal) note(why string) (changed bool) {
	changed = f.words != why
	f.words = why
	return changed
}

// mayTell reports whether a Refuse may be sent now, and notes that it is. At most one is sent in that time.
func (f *refusal) mayTell(now, each time.Duration) bool {
	if f.told && now-f.toldAt < each {
		return false
	}
	f.told, f.toldAt = true, now
	return true
}

// drop counts a packet that is not taken.
func (f *refusal) drop() { f.dropped++ }

// drops returns how many packets were not taken.
func (f *refusal) drops() uint64 { return f.dropped }

// An outbox holds the messages for one peer until they leave, and numbers its packets.
type outbox struct {
	seq   uint64          // of the last packet
	out   []paxos.Message // messages for the next packet
	sent  []paxos.Message // messages of the last Output
	bytes int             // of out
	long  int             // how many of out are long
	news  int             // how many of out are Chosen; -1: and somebody waits for one of them
}

// begin begins the numbers after that one. It is above every number of an earlier peer with the same ID.
func (o *outbox) begin(seq uint64) { o.seq = seq }

// add adds a message.
func (o *outbox) add(m *paxos.Message) {
	o.out = append(o.out, *m)
	size := sizeOf(m)
	o.bytes += size
	if size > longMessage {
		o.long++
	}
	if m.Kind == paxos.KindChosen && o.news >= 0 {
		o.news++
	}
}

// hurry notes that somebody waits for one of the messages.
func (o *outbox) hurry() { o.news = -1 }

// len is the number of messages that wait.
func (o *outbox) len() int { return len(o.out) }

// mayDelay reports whether the messages may wait: they are few, and each only tells of a decision. most is the largest
// packet.
func (o *outbox) mayDelay(most int) bool { return o.news == len(o.out) && o.bytes < most/2 }

// take takes all messages out, the long ones last. They are valid until the next take. If split is true, one packet of at
// most so many bytes does not hold them: see fitting.
func (o *outbox) take(most int) (ms []paxos.Message, split bool) {
	clear(o.sent)
	o.out, o.sent = o.sent[:0], o.out
	if o.long > 0 {
		slices.SortStableFunc(o.sent, func(a, b paxos.Message) int { return cmp.Compare(ownPacket(&a), ownPacket(&b)) })
	}
	split = o.long > 0 || o.bytes > most
	o.bytes, o.long, o.news = 0, 0, 0
	return o.sent, split
}

// leave makes the messages that were taken valid for ever.
func (o *outbox) leave() { o.sent = nil }

// number returns the Seq of the next packet.
func (o *outbox) number() uint64 {
	o.seq++
	return o.seq
}

// sizeOf is about how many bytes m takes on the wire.
func sizeOf(m *paxos.Message) int { return len(m.Instance) + len(m.Value) + 64 }

// ownPacket is 1 for a message that has a packet of its own, after all messages for which it is 0.
func ownPacket(m *paxos.Message) int {
	if sizeOf(m) > longMessage {
		return 1
	}
	return 0
}

// fitting returns how many of ms fit a packet of that size. It is one at least. The long messages are the last in ms.
func fitting(ms []paxos.Message, most int) int {
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
