// Package alpn shares one TLS port between a cluster and its host: the servers of the cluster and, for example, browsers use the same port.
//
//	l, err := net.Listen("tcp", ":443")
//	port, err := alpn.Split(l, alpn.Config{})
//	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Listener: port.Cluster(), Peers: peers, TLS: clusterTLS})
//	err = server.ServeTLS(port.Host(), "host.crt", "host.key")
//
// # How it works
//
// A TLS client begins with a ClientHello, which names the protocols that it offers (ALPN, RFC 7301). A [Port] reads the ClientHello of each
// connection, and answers nothing. If tcp.ALPN is offered, the connection goes to the Transport, and otherwise to the host. Both get it from its
// first byte on, and do the whole handshake with certificates of their own.
//
// So the Port decides nothing but the way. A stranger that offers tcp.ALPN meets the same checks as on a port of the cluster alone. Nothing of the
// host's TLS is of use there: no certificate, no session ticket. The host's HTTP/1.1, HTTP/2 and TLS settings stay as they are. Connections
// that do not speak TLS go to the host as well.
//
// # Limits
//
// A client has [Config].Hello to send its ClientHello. At most [Config].Pending connections have sent none yet, or wait for an Accept. One more
// closes the oldest. So clients that are slow or silent keep out nobody for long, and a host that does not Accept does not hold up the cluster.
//
// # The end
//
// The two halves close in either order. While one is closed, its connections are closed at once, and the other one goes on. The port closes when
// both halves have closed, or with [Port.Close].
//
// Servers of a version before tcp.ALPN offer no protocol, and would reach the host. Upgrade all servers first, and share ports then.
package alpn
