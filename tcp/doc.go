// Package tcp carries the packets of a cluster over TCP, with mutual TLS: a paxos.Transport between machines.
//
//	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: ":7000", TLS: config,
//		Peers: map[paxos.ServerID]string{2: "two.example:7000", 3: "three.example:7000"}})
//	node, err := paxos.Start(ctx, paxos.Config{ID: 1, Members: members, Storage: storage, Transport: t})
//
// # Connections
//
// Each server dials each of the others, and sends on the connection that it dialed; so two servers have two connections
// between them, one for each direction. Neither has to agree with the other on whose connection stays, and who restarts
// is heard at once, while the others learn from its call that it is back, and dial.
//
// A Send encodes its Packet into the queue of the receiver, and never waits. If nothing is being written, it writes what is
// queued itself, up to 64 KiB, as far as the kernel has room; what is more is written by one goroutine a peer, all at once. So a
// packet of any number of messages costs one system call on an idle connection, and many packets cost one on a busy one.
// Packets of 64 KiB and more leave one by one, after all that is shorter, so that nothing short waits for more than one of them.
// A queue that is full drops the oldest packet. One goroutine a connection reads; Receive decodes. When nobody calls
// Receive, nothing is read, TCP holds back the sender, and the sender's queue drops.
//
// # Identity
//
// Under TLS both sides show a certificate, and each has to name its server in a subject alternative name, a URI or a DNS
// name: see Identity. Who dials checks that the certificate is of the server it meant; who listens, that it is of the
// server that the dialer says it is, one of Members. A Packet whose From is another ends its connection.
//
// At most one process at a time is heard as one server: a second one is refused while the first answers, and both say so
// in their logs.
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
// The dialer says hello; the listener answers with a welcome, or with a refuse and closes. After the welcome, packets and
// pings go one way and pongs the other; the listener may ping too, and may refuse at any time. The instance is random for
// each Transport: it tells a process that dials again from another one. A hello, welcome or refuse may grow by fields at
// its end, which older programs skip; kinds that a program doesn't know are skipped and counted. Whatever else changes
// raises the version: both sides use the highest that both know, so two versions run together during an upgrade.
package tcp
