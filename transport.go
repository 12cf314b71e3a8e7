package paxos

import "context"

// A Transport carries packets between the servers of a cluster. It may lose, delay, repeat and reorder them (S4). It must not
// alter them, nor name another sender than the real one.
type Transport interface {
	// Send gives p to the server p.To, at some time or never. It is safe for concurrent use, never blocks, and reports nothing.
	// p.Messages is the caller's again when Send returns: Send keeps neither the slice nor its array.
	Send(p Packet)
	// Receive waits for a packet. Its From is the real sender. The packet and its Messages belong to the caller until the next
	// call of Receive. Receive returns an error when ctx ends or the transport is closed.
	Receive(ctx context.Context) (Packet, error)
}

// An IDTransport is a [Transport] that knows its server. The method is optional. node.Start compares it with Config.ID, and
// fails if the two differ. Without ID, a Node starts on the Transport of another server, and no server takes its packets.
type IDTransport interface {
	Transport
	// ID returns the server that the Transport sends as. It never changes and never blocks, and is safe for concurrent use.
	ID() ServerID
}

// A SizedTransport is a [Transport] that takes no packet above some size. The method is optional. node.Start fails if that
// size is too small for Config.Limits. It lowers the default of Limits.MaxPacket to fit. Without MaxPacket, a packet that is too
// large never arrives, and calls wait in vain.
type SizedTransport interface {
	Transport
	// MaxPacket returns the most bytes of the binary form of a Packet. It never changes and never blocks, and is safe for
	// concurrent use.
	MaxPacket() int
}

// A ReachTransport is a [Transport] that learns at run time where the servers are, from the addresses in [Members].Addresses.
// The method is optional. A Transport without Reach knows all its peers from a configuration of its own.
type ReachTransport interface {
	Transport
	// Reach gives the address of another server, in text that the Transport understands. From then on packets to the server go
	// there, and packets from it are received. Those that wait for it stay as far as possible. Servers that the Transport was
	// never told of get nothing from it, and are refused.
	//
	// An empty address means that the server is no member any more. Nothing is sent to it from then on, what waits for it is
	// lost, and no later call of Receive returns a packet from it. So a member without an address is no reason to call Reach.
	//
	// A text that is no address is reported like an address where nobody answers, and the next Reach mends it. The same call
	// again changes nothing. Reach of the server that the Transport sends as does nothing, nor does Reach after Close.
	//
	// Reach never blocks. It is safe for concurrent use, also beside Send, Receive and Close.
	Reach(id ServerID, address string)
}

// A DrainTransport is a [Transport] from which a Node takes packets in its own goroutine, without another one that waits in
// Receive. The methods are optional. They are for a Transport within one process: there, handing a packet to another goroutine
// costs more than sending it. A caller of Drain does not call Receive.
type DrainTransport interface {
	Transport
	// Wake gives the Transport a channel for signals. The Transport tries to send one at once, and then each time a packet has
	// come or the Transport has ended. It never waits for c, which has room for one signal. Wake is called once, before Drain.
	Wake(c chan<- struct{})
	// Drain appends all packets that have come to into, and returns it. It does not wait. The packets and their Messages belong
	// to the caller until the next Drain. The error is that of Receive: no packet comes any more. Drain is for one goroutine at a
	// time.
	Drain(into []Packet) ([]Packet, error)
}
