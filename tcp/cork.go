package tcp

import (
	"net"
	"sync"
)

// maxCorked is what a cork holds back at most.
const maxCorked = 1 << 20

// A cork lies before a connection. Below TLS, which writes record by record, it joins the records of one write into one. And it keeps
// what the kernel had no room for when somebody wrote who does not wait: that goes first with the next write that does.
type cork struct {
	net.Conn
	prompt *prompt    // writes without waiting; nil: that is not possible
	mu     sync.Mutex // also held while the connection is written to, so that the order stays
	held   bool
	buf    []byte
	err    error // of a write: what has left is not known then, so nothing else may
}

// Write keeps b while it is held, and writes it if it is not.
func (c *cork) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if !c.held {
		err = c.flush(b)
	} else if c.buf = append(c.buf, b...); len(c.buf) > maxCorked {
		err = c.flush(nil)
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// hold has what is written be kept, until release.
func (c *cork) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release writes what was kept.
func (c *cork) release() error { return c.through(nil) }

// through writes what was kept, and b.
func (c *cork) through(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.flush(b)
}

// flush writes what was kept, and b; mu is held.
func (c *cork) flush(b []byte) error {
	for _, part := range [...][]byte{c.buf, b} {
		if len(part) > 0 && c.err == nil {
			_, c.err = c.Conn.Write(part)
		}
	}
	c.buf = c.buf[:0]
	return c.err
}

// holdNow is hold for somebody who will not wait. It reports whether it could, and nothing is kept from before.
func (c *cork) holdNow() bool {
	if c.prompt == nil || !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	c.held = len(c.buf) == 0
	return c.held
}

// releaseNow writes what was kept since holdNow, then b, as far as the kernel has room. It keeps the rest, and reports whether there is one.
func (c *cork) releaseNow(b []byte) (left bool, err error) {
	c.mu.Lock() // whoever else writes while it is held does not wait
	defer c.mu.Unlock()
	c.held = false
	if c.err != nil {
		return false, c.err
	}
	var n int
	if len(c.buf) == 0 {
		n, c.err = c.prompt.write(b)
		c.buf = append(c.buf, b[n:]...)
	} else {
		c.buf = append(c.buf, b...)
		n, c.err = c.prompt.write(c.buf)
		c.buf = c.buf[:copy(c.buf, c.buf[n:])]
	}
	return len(c.buf) > 0, c.err
}
