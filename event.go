package paxos

import "time"

// An EventKind says what an Event is about.
type EventKind uint8

// The kinds of events, and the fields that say more.
const (
	EventCall    EventKind = iota + 1 // a call began: Call, Message.Instance, Message.Value
	EventDone                         // a call ended: Call, Message.Instance, Message.Value, Err
	EventSend                         // Message leaves for Peer, in packet number Packet to that peer
	EventReceive                      // Message came from Peer, in packet number Packet of that peer
	EventDrop                         // a packet from Peer, or Message in it, was not taken: Err says why
	EventSave                         // Save number Save began
	EventSaved                        // Save number Save is durable
	EventLearned                      // this server learned Message.Value of Message.Instance
	EventFault                        // Err is the proof that some server broke the protocol
)

// An Event is one thing that happened on a server. Events are enough to draw arrows, saves and spans. A send and its receipt
// have the same sender, receiver and Packet.
type Event struct {
	Kind    EventKind
	At      time.Duration // the argument now of the input that caused it
	Server  ServerID      // the server where it happened
	Peer    ServerID      // the other server; zero: none
	Boot    uint64        // the start of Server in which it happened
	Call    uint64        // zero: none
	Save    uint64        // zero: none
	Packet  uint64        // zero: none
	Message Message
	Err     error
}
