//go:build unix

package tcp

import (
	"net"
	"syscall"
)

// A prompt writes to a connection without ever waiting: what the kernel has no room for is not written. So whoever has a little to
// send can do it itself, where to wake a goroutine that does it would cost more, and, on a machine whose processors are taken, a
// long while.
type prompt struct {
	conn syscall.RawConn
	call func(fd uintptr) // try, made once
	rest []byte
	err  error
}

// newPrompt returns the prompt of a connection; nil: it can have none.
func newPrompt(c net.Conn) *prompt {
	plain, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return nil
	}
	p := &prompt{conn: raw}
	p.call = p.try
	return p
}

// write returns how much of b it has written.
func (p *prompt) write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p.rest, p.err = b, nil
	err := p.conn.Control(p.call)
	if err == nil {
		err = p.err
	}
	n := len(b) - len(p.rest)
	p.rest = nil
	return n, err
}

func (p *prompt) try(fd uintptr) {
	for len(p.rest) > 0 {
		n, err := syscall.Write(int(fd), p.rest)
		switch {
		case n > 0:
			p.rest = p.rest[n:]
		case err == syscall.EINTR:
		case err == nil || err == syscall.EAGAIN:
			return
		default:
			p.err = err
			return
		}
	}
}
