package tcp

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is one connection, from its first byte to its last. It is ended by fail, from any goroutine, with a reason that
// stays; whoever reads or writes then returns.
type wire struct {
	raw     net.Conn
	conn    net.Conn // raw, or TLS over it
	cork    *cork    // before raw
	version byte     // set by the handshake
	timeout time.Duration
	writing sync.Mutex // held by whoever writes frames

	once sync.Once
	dead chan struct{} // closed when the wire has failed
	err  error         // why; set before dead is closed
}

func newWire(raw net.Conn, timeout time.Duration) *wire {
	if c, ok := raw.(interface{ SetNoDelay(bool) error }); ok {
		c.SetNoDelay(true) // we join what belongs together ourselves
	}
	return &wire{raw: raw, conn: raw, cork: &cork{Conn: raw, prompt: newPrompt(raw)}, timeout: timeout, dead: make(chan struct{})}
}

// secure puts TLS over the raw connection.
func (w *wire) secure(over func(net.Conn, *tls.Config) *tls.Conn, c *tls.Config) *tls.Conn {
	t := over(w.cork, c)
	w.conn = t
	return t
}

// write writes all of b, with one system call if the kernel has room for it. Several goroutines may write at once, each
// whole frames: they do not mix.
func (w *wire) write(b []byte) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.raw.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	if w.conn == w.raw {
		return w.cork.through(b)
	}
	w.cork.hold()
	_, err := w.conn.Write(b)
	if err2 := w.cork.release(); err == nil {
		err = err2
	}
	return err
}

// beginNow begins a write that waits for nothing, if one can begin: nobody else writes, and nothing is left from before. endNow ends it.
func (w *wire) beginNow() bool {
	if !w.writing.TryLock() {
		return false
	}
	if !w.cork.holdNow() {
		w.writing.Unlock()
		return false
	}
	return true
}

// endNow writes b, whole frames. left is true if the kernel had no room for all of it: the rest goes first with the next write, which
// must come, and may be of nothing.
func (w *wire) endNow(b []byte) (left bool, err error) {
	defer w.writing.Unlock()
	if w.conn != w.raw {
		_, err = w.conn.Write(b) // into the cork
		b = nil
	}
	left, err2 := w.cork.releaseNow(b)
	if err == nil {
		err = err2
	}
	return left, err
}

// fail ends the wire, unless it has ended. It closes the raw connection: to say goodbye in TLS could wait.
func (w *wire) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.dead)
		w.raw.Close()
	})
}

// why returns why the wire failed, which is what a reader or a writer wants to know whose own error came of it.
func (w *wire) why(err error) error {
	select {
	case <-w.dead:
		return w.err
	default:
		return err
	}
}

// A reader reads frames from a wire: it has the one buffer, and sets the deadlines.
//
// What a frame claims costs nothing: the buffer grows to 64 KiB at once, and beyond that to twice what has arrived.
type reader struct {
	wire    *wire
	maxBody int
	idle    time.Duration // 0: the handshake's deadline, which is set already, is for all of it

	buf        []byte
	start, end int       // what has arrived and was not taken yet
	need       int       // bytes of the frame that has begun; 0: none has
	armed      time.Time // when the deadline was set for a frame to begin
	began      time.Time // when the frame that has begun was first seen

	condemned atomic.Pointer[refusal] // why nothing more is read; nil: go on
}

const (
	smallBuffer = 4 << 10
	freeBuffer  = 64 << 10  // what a claim may allocate
	minRate     = 64 << 10  // bytes of a frame a second, at least
	maxWrite    = 256 << 10 // bytes of one write
)

// next returns the first frame that has not been taken, and waits for it. The frame is good until the next call.
func (r *reader) next() (frame, error) {
	for {
		f, size, need, err := parseFrame(r.buf[r.start:r.end], r.maxBody)
		if err != nil {
			return frame{}, err
		}
		if size > 0 {
			r.take(size)
			return f, nil
		}
		if err := r.fill(need); err != nil {
			return frame{}, err
		}
	}
}

// condemn ends the reading, from another goroutine, so that the one that reads can tell the other side why.
func (r *reader) condemn(why *refusal) {
	r.condemned.Store(why)
	r.wire.raw.SetReadDeadline(time.Unix(1, 0)) // whoever armed before this looks again; whoever arms after it looks first
}

// take takes n bytes, of whole frames.
func (r *reader) take(n int) {
	r.start += n
	r.need = 0
}

// fill reads more: at least one byte. need is how many bytes the frame at start takes, as far as that is known.
func (r *reader) fill(need int) error {
	have := r.end - r.start
	if have == 0 {
		r.start, r.end = 0, 0
	}
	if r.start > 0 && r.start+need > len(r.buf) {
		r.start, r.end = 0, copy(r.buf, r.buf[r.start:r.end])
	}
	if have == len(r.buf) || len(r.buf) == 0 {
		r.grow(have, need)
	}
	if err := r.arm(have, need); err != nil {
		return err
	}
	if why := r.condemned.Load(); why != nil {
		return why
	}
	n, err := r.wire.conn.Read(r.buf[r.end:])
	if why := r.condemned.Load(); why != nil {
		return why
	}
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow makes room behind what has arrived, all of which lies at the start of the buffer.
func (r *reader) grow(have, need int) {
	size := max(smallBuffer, 2*have)
	if need > freeBuffer {
		size = min(need, max(freeBuffer, 2*have))
	}
	size = min(size, headerSize+max(r.maxBody, freeBuffer))
	if r.idle == 0 {
		size = len(magic) + headerSize + maxHandshake
	}
	larger := make([]byte, size)
	copy(larger, r.buf[:have])
	r.buf = larger
}

// arm sets the deadline of the next read: for a frame that has begun, once for all of it.
func (r *reader) arm(have, need int) error {
	if r.idle == 0 {
		return nil
	}
	now := time.Now()
	switch {
	case have == 0:
		if r.need == 0 && now.Sub(r.armed) < r.idle/8 {
			return nil // it is set, nearly
		}
		r.need, r.armed = 0, now
		return r.wire.raw.SetReadDeadline(now.Add(r.idle))
	case need != r.need:
		if r.need == 0 {
			r.began = now
		}
		r.need = need
		return r.wire.raw.SetReadDeadline(r.began.Add(r.idle + time.Duration(need)*(time.Second/minRate)))
	}
	return nil
}
