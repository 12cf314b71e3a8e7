package paxos

import "context"

// A Transport carries packets between the servers of a cluster. It may lose, delay, repeat and reorder them (S4), but it
// must not alter them, nor say that they come from someone else.
type Transport interface {
	// Send gives p to the server p.To, some time, or never. It is safe for concurrent use, never blocks, reports
	// nothing, and keeps neither p.Messages nor what it points to: the slice is the caller's again when Send returns.
	Send(p Packet)
	// Receive waits for a packet. From is who really sent it. The packet and its Messages belong to the caller until
	// the next call of Receive. It returns an error when ctx ends or the transport is closed.
	Receive(ctx context.Context) (Packet, error)
}

// An IDTransport is a Transport that knows whose it is. Having ID is optional. [Start] compares it with Config.ID, and fails if the
// two differ. Without ID a Node on the Transport of another server starts, and nobody takes what it sends.
type IDTransport interface {
	Transport
	// ID returns the server that the Transport sends as. It never changes and never blocks, and is safe for concurrent use.
	ID() ServerID
}

// A SizedTransport is a Transport that takes no packet above some size. Having MaxPacket is optional. [Start] fails if that is too
// little for Config.Limits, and makes the default of Limits.MaxPacket fit. Without MaxPacket, what is too large never arrives, and
// calls wait in vain.
type SizedTransport interface {
	Transport
	// MaxPacket returns how many bytes the binary form of a Packet may have at most. It never changes and never blocks, and is
	// safe for concurrent use.
	MaxPacket() int
}

// A DrainTransport is a Transport of which a Node takes what has come where it stands, without a goroutine that waits in Receive: for one
// within a process, where handing a packet to another goroutine costs more than sending it. Being one is optional. Whoever calls Drain
// does not call Receive.
type DrainTransport interface {
	Transport
	// Wake has the Transport try to send a signal to c, without waiting, whenever a packet has come or the Transport has ended, and once
	// at first. c has room for one signal. Wake is called once, before Drain.
	Wake(c chan<- struct{})
	// Drain appends all packets that have come to into, and returns it. It does not wait. The packets and their Messages belong to the
	// caller until the next Drain. Its error is that of Receive: nothing comes any more. Drain is for one goroutine at a time.
	Drain(into []Packet) ([]Packet, error)
}
