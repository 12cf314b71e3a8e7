package tcp

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is one connection, from its first byte to its last. Any goroutine may end it, with fail and a reason. The first reason stays,
// and all reads and writes then return.
type wire struct {
	raw     net.Conn
	conn    net.Conn // raw, or TLS over it
	cork    *cork    // in front of raw
	version byte     // set by the handshake
	timeout time.Duration
	writing sync.Mutex // held while frames are written

	once sync.Once
	dead chan struct{} // closed when the wire has failed
	err  error         // why it failed; set before dead is closed
}

func newWire(raw net.Conn, timeout time.Duration) *wire {
	if c, ok := raw.(interface{ SetNoDelay(bool) error }); ok {
		c.SetNoDelay(true) // the queue and the cork join small writes already
	}
	return &wire{raw: raw, conn: raw, cork: &cork{Conn: raw, prompt: newPrompt(raw)}, timeout: timeout, dead: make(chan struct{})}
}

// secure puts TLS over the raw connection.
func (w *wire) secure(over func(net.Conn, *tls.Config) *tls.Conn, c *tls.Config) *tls.Conn {
	t := over(w.cork, c)
	w.conn = t
	return t
}

// write writes all of b, with one system call if the kernel has room for it. Several goroutines may write whole frames at once: the
// frames do not mix.
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

// beginNow begins a write without waiting. It returns false if another write runs, or a rest of one is left. endNow ends the write.
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

// endNow writes b, whole frames. left is true if the kernel had no room for all of it. The next write must come then, perhaps of nothing:
// it writes the rest first.
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

// fail ends the wire, unless it has ended. It closes the raw connection: a goodbye in TLS might have to wait.
func (w *wire) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.dead)
		w.raw.Close()
	})
}

// why returns why the wire failed, in place of err, the error of a read or a write that came of it. It returns err if the wire has not failed.
func (w *wire) why(err error) error {
	select {
	case <-w.dead:
		return w.err
	default:
		return err
	}
}

// A reader reads frames from a wire. It has the only buffer, and sets the deadlines.
//
// The claimed length of a frame costs no memory. The buffer grows to 64 KiB at once, and beyond that to twice the bytes that have
// arrived.
type reader struct {
	wire    *wire
	maxBody int
	idle    time.Duration // how long to wait for a frame; 0: the deadline of the handshake is set, and is for all of it

	buf        []byte
	start, end int       // bytes that have arrived and were not taken yet
	need       int       // size of the frame that has begun; 0: none has
	armed      time.Time // when the deadline was set for a frame to begin
	began      time.Time // when the frame that has begun was first seen

	condemned atomic.Pointer[refusal] // why nothing more is read; nil: go on
}

const (
	smallBuffer = 4 << 10
	freeBuffer  = 64 << 10  // memory for a frame before its bytes arrive
	minRate     = 64 << 10  // least bytes of a frame in a second
	maxWrite    = 256 << 10 // bytes of one write, at most
)

// next waits for the first frame that has not been taken, and returns it. The frame is valid until the next call.
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

// condemn ends the reading from another goroutine. The reading goroutine can then tell the other side why.
func (r *reader) condemn(why *refusal) {
	r.condemned.Store(why)
	r.wire.raw.SetReadDeadline(time.Unix(1, 0)) // an arm before this looks at condemned again; an arm after this looks at it first
}

// take takes n bytes: whole frames.
func (r *reader) take(n int) {
	r.start += n
	r.need = 0
}

// fill reads at least one byte. need is the size of the frame at start, as far as it is known.
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

// grow makes room behind the bytes that have arrived. All of them lie at the start of the buffer.
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

// arm sets the deadline of the next read. A frame that has begun gets one deadline for all of it.
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
