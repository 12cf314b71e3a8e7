// Package tcp carries the packets of a cluster over TCP, with mutual TLS. Its [Transport] is a [paxos.Transport] between machines.
//
//	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: ":7000", TLS: config,
//		Peers: map[paxos.ServerID]string{2: "two.example:7000", 3: "three.example:7000"}})
//	n, err := node.Start(ctx, node.Config{ID: 1, Members: members, Storage: storage, Transport: t})
//
// # Connections
//
// Each server dials each of the others, and sends on the connection that it dialed. So two servers have two connections between them, one
// for each direction. They need not agree on one to keep. A server that restarts dials at once; the others then know that it is back, and
// dial it.
//
// [Transport.Send] encodes its Packet into the queue of the receiver, and never waits. If no write is running, Send writes the queue
// itself: up to 64 KiB, as far as the kernel has room. One goroutine for each peer writes the rest, all at once. So a packet of any
// number of messages costs one system call on an idle connection. On a busy one, many packets share one call.
//
// Packets of 64 KiB and more leave one by one, after all shorter ones. So a short packet waits for at most one of them. A full queue
// drops its oldest packet.
//
// One goroutine for each connection reads; [Transport.Receive] decodes. While no Receive is called, nothing is read: TCP then holds back
// the sender, and the queue of the sender drops packets.
//
// # Identity
//
// Under TLS both sides show a certificate. Each certificate names its server in a subject alternative name, a URI or a DNS name: see
// [Identity]. The dialer checks that the certificate is of the server that it meant to reach. The listener checks that it is of the
// server that the dialer says it is, and that this server is one of Members. A Packet with another From ends its connection.
//
// At most one process at a time is accepted as a server. A second process is refused while the first one answers, and both log that.
//
// # Members that change
//
// A [Transport] knows the other servers of Config.Members at first. [Transport.Reach] adds a server, gives it another address, or removes
// it, while all else goes on. It is a [paxos.ReachTransport].
//
// A server that a listener does not know is refused, whatever its certificate. So a new server can't ask the members for anything by
// itself, though it may know their addresses. It needs Reach at some members: make it a learner, with its address. Those members dial it
// at once, and let it in. They must be members for the new server too: name them in its Config.Members and Config.Peers.
//
// A program without addresses in its paxos.Members can call Reach itself.
//
// # The bytes
//
// All numbers are little-endian; a uvarint is as in encoding/binary; text is a uvarint length and that many bytes.
//
//	connection   8  magic, from each side: "paxos\r\n\x00"
//	             …  frames
//
//	frame        4  length of the body
//	             1  version: 0 in the handshake, then the one agreed on
//	             1  kind
//	             2  zero; not looked at
//	             4  CRC-32C (Castagnoli) of the 8 bytes before and of the body
//	             …  body
//
//	kind         body
//	1  hello     lowest and highest version: uvarint each; cluster: text; from, to: uvarint each; instance: 8;
//	             largest body taken: uvarint, if it is not left out
//	2  welcome   version: uvarint; cluster: text; from, to: uvarint each; instance: 8; largest body taken: uvarint
//	3  refuse    reason: text; words: text
//	4  packet    a paxos.Packet in its binary form
//	5  ping      none; is answered by a pong
//	6  pong      none
//
// The dialer says hello. The listener answers with a welcome; or it answers with a refuse, and closes. After the welcome, packets and
// pings go one way and pongs the other. The listener may ping, too, and may refuse at any time.
//
// The instance is random for each Transport. It distinguishes a process that dials again from another process.
//
// A hello, welcome or refuse may grow by fields at its end, which older programs skip. A program skips and counts frames of kinds that it
// does not know. Any other change raises the version. Both sides use the highest version that both know, so two versions run together
// during an upgrade.
package tcp
