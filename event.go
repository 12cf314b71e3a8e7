package paxos

import (
	"math/bits"
	"strings"
	"time"
)

// An EventKind says what an Event is about.
type EventKind uint8

// The kinds of events, and the fields that say more.
const (
	EventCall    EventKind = iota + 1 // a call began: Call, Op, Message.Instance, Message.Value
	EventDone                         // a call ended: Call, Message.Instance, Message.Value, Err
	EventSend                         // Message leaves for Peer, in packet number Packet to that peer
	EventReceive                      // Message came from Peer, in packet number Packet of that peer
	EventDrop                         // a packet from Peer, or Message in it, was not taken: Err says why
	EventSave                         // Save number Save began
	EventSaved                        // Save number Save is durable
	EventLearned                      // this server learned Message.Value of Message.Instance
	EventFault                        // Err is the proof that some server broke the protocol
	// EventRecord follows the EventSave of the same number, once for each record in that Save. Message has the Instance of
	// the record, and its Promised, Accepted and Value. Its Kind is KindDecided if the record is a decision, else 0.
	EventRecord
)

// An Event is one thing that happened on a server. Events are enough to draw arrows, saves and spans. A send and its receipt
// have the same sender, Boot of the sender, receiver and Packet.
type Event struct {
	Kind     EventKind
	Seq      uint64        // counts the events of this Boot, from 1; a gap: the events between were lost
	At       time.Duration // the argument now of the input that caused it
	Server   ServerID      // the server where it happened
	Peer     ServerID      // the other server; zero: none
	Boot     uint64        // the start of Server in which it happened
	PeerBoot uint64        // the start of Peer. Of an EventSend: the last that Server has heard of, or zero
	Call     uint64        // zero: none
	Save     uint64        // zero: none
	Packet   uint64        // zero: none
	Op       string        // of an EventCall: propose, wait, read, ready, forget, change or settled
	Message  Message
	Cut      int // so many bytes at the end of Message.Value are left out; zero: it is whole
	Err      error
}

// Tracing says which events a server notes.
type Tracing struct {
	On bool
	// OneIn thins out the events: of the instances, only one in OneIn is traced. It is a power of two. 0 and 1 trace all.
	OneIn uint64
}

// Has reports whether events of the instance are noted. It gives the same answer on every server, for ever. If it is true, it
// is also true for every smaller OneIn. Events that belong to no instance, and those of configurations, are always noted.
func (t Tracing) Has(instance string) bool {
	return t.On && (t.OneIn <= 1 || spread(instance)&(t.OneIn-1) == 0 || instance == "" || instance[0] == '$' && strings.HasPrefix(instance, configurationNames))
}

// spread returns a number for a name. Its low bits differ for names that differ little.
func spread(name string) uint64 {
	const odd = 0x9E3779B97F4A7C15
	sum := uint64(len(name))
	for ; len(name) > 8; name = name[8:] { // eight bytes at a time: a server asks this of every message
		high, low := bits.Mul64(sum^word(name[:8]), odd)
		sum = high ^ low
	}
	var last uint64
	if len(name) == 8 {
		last = word(name)
	} else {
		for i := range len(name) {
			last = last<<8 | uint64(name[i])
		}
	}
	high, low := bits.Mul64(sum^last^odd, odd)
	sum = high ^ low
	return sum ^ sum>>32
}

// word returns the 8 bytes of s as a number.
func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
