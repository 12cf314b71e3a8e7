//go:build unix

package tcp

import (
	"net"
	"syscall"
)

// A prompt writes to a connection without waiting: it writes only as much as the kernel has room for. So a caller with few bytes can
// write them itself. To wake another goroutine for that would cost more. On a machine with busy processors it would take long.
type prompt struct {
	conn syscall.RawConn
	call func(fd uintptr) // try, made once
	rest []byte
	err  error
}

// newPrompt returns the prompt of a connection; nil: the connection can't have one.
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

// write writes without waiting, and returns how many bytes of b it wrote.
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
