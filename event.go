package paxos

import "time"

// An EventKind says what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	EventCall    EventKind = iota + 1 // a call began: Call, Message.Instance, Message.Value
	EventDone                         // a call ended: Call, Message.Instance, Message.Value, Err
	EventSend                         // Message leaves for Peer in its packet number Packet
	EventReceive                      // Message came from Peer in its packet number Packet
	EventDrop                         // a packet, or Message in it, from Peer was not taken: Err says why
	EventSave                         // Save number Save began
	EventSaved                        // Save number Save is durable
	EventLearned                      // this server learned Message.Value of Message.Instance
	EventFault                        // Err is the proof that some server broke the protocol
)

// An Event is one thing that happened on a server: enough to draw arrows, saves and spans. A send and its receipt share
// the sender, the receiver and Packet.
type Event struct {
	Kind    EventKind
	At      time.Duration // the now of the input that caused it
	Server  ServerID      // where it happened
	Peer    ServerID      // the other server; zero: none
	Boot    uint64        // which start of Server
	Call    uint64        // zero: none
	Save    uint64        // zero: none
	Packet  uint64        // zero: none
	Message Message
	Err     error
}
