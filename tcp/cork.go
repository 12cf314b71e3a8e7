package tcp

import (
	"net"
	"sync"
)

// maxCorked is how many bytes a cork holds back at most.
const maxCorked = 1 << 20

// A cork lies between TLS and a connection. TLS writes record by record; the cork joins the records of one write. If a write without
// waiting meets a full kernel, the cork keeps the rest: it goes first with the next write that waits.
type cork struct {
	net.Conn
	prompt *prompt    // writes without waiting; nil: that is not possible
	mu     sync.Mutex // also held during a write to the connection, which keeps the order
	held   bool
	buf    []byte
	err    error // of a write; nothing is written after it, since it is not known how much of it has left
}

// Write keeps b between hold and release, and writes it at other times.
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

// hold makes Write keep its bytes until release.
func (c *cork) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release writes the kept bytes.
func (c *cork) release() error { return c.through(nil) }

// through writes the kept bytes, and b.
func (c *cork) through(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.flush(b)
}

// flush writes the kept bytes, and b; mu is held.
func (c *cork) flush(b []byte) error {
	for _, part := range [...][]byte{c.buf, b} {
		if len(part) > 0 && c.err == nil {
			_, c.err = c.Conn.Write(part)
		}
	}
	c.buf = c.buf[:0]
	return c.err
}

// holdNow is hold without waiting. It reports whether it could hold, and no bytes were kept before.
func (c *cork) holdNow() bool {
	if c.prompt == nil || !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	c.held = len(c.buf) == 0
	return c.held
}

// releaseNow writes the bytes kept since holdNow, then b, as far as the kernel has room. It keeps the rest, and reports whether there is
// any.
func (c *cork) releaseNow(b []byte) (left bool, err error) {
	c.mu.Lock() // between hold and release Write only appends, so mu is free soon
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
