package alpn

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A heard is a connection on which the other side has said everything.
type heard struct {
	net.Conn
	rest    *bytes.Reader
	written bool
}

func (h *heard) Read(b []byte) (int, error)       { return h.rest.Read(b) }
func (h *heard) Write(b []byte) (int, error)      { h.written = true; return len(b), nil }
func (h *heard) Close() error                     { return nil }
func (h *heard) SetReadDeadline(time.Time) error  { return nil }
func (h *heard) SetWriteDeadline(time.Time) error { return nil }
func (h *heard) SetDeadline(time.Time) error      { return nil }

// Whatever a stranger says, nothing is answered, and the half that gets the connection reads every byte of it. Only a ClientHello that
// offers our protocol is ours, so its bytes name the protocol.
func FuzzClientHello(f *testing.F) {
	for _, hello := range [][]byte{helloOf(f), helloOf(f, "h2", "http/1.1"), helloOf(f, "h2", "paxos/1")} {
		f.Add(hello)
		f.Add(append(hello, "and more"...))
		f.Add(hello[:len(hello)/2])
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		raw := &heard{rest: bytes.NewReader(said)}
		ours, seen, err := look(raw)
		if raw.written {
			t.Fatal("it was answered")
		}
		if err != nil && err != io.EOF && err != errLarge {
			t.Fatal(err)
		}
		if len(seen) > 2*maxHello {
			t.Fatal(len(seen))
		}
		if ours && !bytes.Contains(said, []byte("paxos/1")) {
			t.Fatal("it offers another protocol")
		}
		all, err := io.ReadAll(&replayed{Conn: raw, seen: seen})
		if err != nil || !bytes.Equal(all, said) {
			t.Fatalf("%v: %q", err, all)
		}
	})
}
