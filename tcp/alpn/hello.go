package alpn

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"

	"github.com/singledecree/paxos/tcp"
)

// maxHello is more than any ClientHello takes.
const maxHello = 64 << 10

var (
	errSeen  = errors.New("alpn: the ClientHello was read")
	errLarge = errors.New("alpn: the ClientHello is too large")
)

// look reads the ClientHello, and writes nothing. It returns whether the dialer offers our protocol, and all bytes that it has read. Bytes
// that are no ClientHello do not offer it. An error is of the connection: it has ended, or its deadline has passed.
func look(raw net.Conn) (ours bool, seen []byte, err error) {
	r := &recorder{Conn: raw}
	tls.Server(r, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		ours = slices.Contains(info.SupportedProtos, tcp.ALPN)
		r.err = nil
		return nil, errSeen // so that nothing is answered
	}}).Handshake()
	return ours, r.seen, r.err
}

// A recorder keeps what is read from a connection, and drops what is written to it.
type recorder struct {
	net.Conn
	seen []byte
	err  error // of the last Read
}

func (r *recorder) Read(b []byte) (n int, err error) {
	if len(r.seen) > maxHello {
		r.err = errLarge
		return 0, r.err
	}
	n, r.err = r.Conn.Read(b)
	r.seen = append(r.seen, b[:n]...)
	return n, r.err
}

func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// A replayed is a connection whose first bytes were read, and are to be read again.
type replayed struct {
	net.Conn
	mu   sync.Mutex
	seen []byte
}

func (c *replayed) Read(b []byte) (int, error) {
	c.mu.Lock()
	if len(c.seen) > 0 {
		defer c.mu.Unlock()
		n := copy(b, c.seen)
		if c.seen = c.seen[n:]; len(c.seen) == 0 {
			c.seen = nil
		}
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(b)
}

// CloseWrite ends the writing side, if the connection can do that: an http.Server asks for it.
func (c *replayed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection below, as the method of a tls.Conn does. To read from it loses bytes.
func (c *replayed) NetConn() net.Conn { return c.Conn }
