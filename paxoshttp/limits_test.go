package paxoshttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestMaxCalls: calls and watches beyond their limits are refused, and probes that wait for nothing are not. Room is given back.
func TestMaxCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &fake{
			read: func(context.Context, string) (paxos.Decision, bool, error) {
				<-release
				return paxos.Decision{}, false, nil
			},
			decisions: func(func(paxos.Learned, error) bool) { <-release },
			done:      make(chan struct{}),
		}
		h := handlerOf(t, s, Config{MaxCalls: 2, MaxWatches: 1})
		var all sync.WaitGroup
		for _, path := range []string{"/read?name=a", "/peek?name=a", "/watch"} {
			all.Go(func() {
				code, text := asks(h, "GET", path, "")
				assert.Equal(t, 200, code, text)
			})
		}
		synctest.Wait()
		for path, want := range map[string]int{"/read?name=b": 503, "/watch": 503, "/readyz": 503, "/livez": 200, "/healthz": 200} {
			code, text := asks(h, "GET", path, "")
			assert.Equal(t, want, code, "%s: %s", path, text)
			if want == 503 {
				assert.Equal(t, CodeBusy, failed(t, text).Code)
			}
		}
		close(release)
		all.Wait()
		code, _ := asks(h, "GET", "/read?name=b", "")
		assert.Equal(t, 200, code)
		assert.Zero(t, h.calls+h.watches+h.bodies)
	})
}

// TestMaxBody: the bodies that are held at a time are bounded, one by one and all together.
func TestMaxBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &fake{propose: func(context.Context, string, paxos.Value) (paxos.Decision, error) {
			<-release
			return paxos.Decision{}, nil
		}}
		h := handlerOf(t, s, Config{MaxBody: 100, MaxBodies: 150})
		body := `{"name":"a","value":"` + strings.Repeat("x", 60) + `"}`
		chunked := func(r *http.Request) { r.ContentLength = -1 }
		for _, change := range []func(*http.Request){func(*http.Request) {}, chunked} {
			code, text := asks(h, "POST", "/propose", body+strings.Repeat(" ", 100), change)
			assert.Equal(t, 413, code, text)
			assert.Equal(t, CodeTooLarge, failed(t, text).Code)
		}
		var all sync.WaitGroup
		all.Go(func() {
			code, text := asks(h, "POST", "/propose", body, chunked)
			assert.Equal(t, 200, code, text)
		})
		synctest.Wait()
		assert.Equal(t, len(body), h.bodies, "what was read counts as long as the call")
		code, text := asks(h, "POST", "/propose", body)
		assert.Equal(t, 503, code, text)
		assert.Equal(t, CodeBusy, failed(t, text).Code)
		all.Go(func() {
			code, text := asks(h, "POST", "/propose", `{"name":"a","value":"small"}`)
			assert.Equal(t, 200, code, text)
		})
		synctest.Wait()
		close(release)
		all.Wait()
		assert.Zero(t, h.bodies)
	})
}

// TestMaxTimeout: a call ends after MaxTimeout, whatever the client asks for.
func TestMaxTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fake{read: func(ctx context.Context, _ string) (paxos.Decision, bool, error) {
			<-ctx.Done()
			return paxos.Decision{}, false, ctx.Err()
		}}
		h := handlerOf(t, s, Config{MaxTimeout: 3 * time.Second})
		for query, want := range map[string]time.Duration{"": 3 * time.Second, "&timeout=1h": 3 * time.Second, "&timeout=1s": time.Second} {
			began := time.Now()
			code, text := asks(h, "GET", "/wait?name=a"+query, "")
			assert.Equal(t, 504, code, text)
			assert.Equal(t, want, time.Since(began), query)
		}
	})
}

// A pipeListener accepts connections in memory, so that a server of HTTP runs in a bubble.
type pipeListener struct {
	come   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipe() *pipeListener {
	return &pipeListener{come: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// dial connects to the listener.
func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.come <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

// serves runs a server of HTTP, with its own timeouts, on a pipe until the test ends.
func serves(t *testing.T, h http.Handler, timeout time.Duration) *pipeListener {
	return servesBy(t, &http.Server{Handler: h, ReadTimeout: timeout, WriteTimeout: timeout})
}

// servesBy runs a server on a pipe until the test ends.
func servesBy(t *testing.T, server *http.Server) *pipeListener {
	l := newPipe()
	var all sync.WaitGroup
	all.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		all.Wait()
	})
	return l
}

// TestSlowClients: a body has to come in time, and the lines of a watch have to be taken in time. The timeouts of the host's server end
// neither a long call nor a watch.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proposed := make(chan struct{})
		ended := make(chan struct{})
		s := &fake{
			propose: func(ctx context.Context, name string, v paxos.Value) (paxos.Decision, error) {
				close(proposed)
				time.Sleep(20 * time.Second)
				return paxos.Decision{Instance: name, Value: v}, ctx.Err()
			},
			decisions: func(yield func(paxos.Learned, error) bool) {
				defer close(ended)
				for i := uint64(1); ; i++ {
					time.Sleep(7 * time.Second)
					if !yield(paxos.Learned{Index: i, Decision: paxos.Decision{Instance: "a"}}, nil) {
						return
					}
				}
			},
		}
		l := serves(t, handlerOf(t, s, Config{BodyTimeout: 3 * time.Second, WriteTimeout: 4 * time.Second, Heartbeat: time.Second}), 5*time.Second)
		send := func(text string) (net.Conn, *bufio.Reader) {
			conn, err := l.dial(t.Context())
			require.NoError(t, err)
			_, err = io.WriteString(conn, text)
			require.NoError(t, err)
			return conn, bufio.NewReader(conn)
		}
		began := time.Now()
		conn, in := send("POST /propose HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{")
		answered, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		assert.Equal(t, 400, answered.StatusCode)
		assert.Equal(t, 3*time.Second, time.Since(began), "it waits for the body no longer")
		conn.Close()

		conn, in = send("POST /propose HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n" + `{"name":"a","value":"x"}`)
		<-proposed
		answered, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
		assert.Equal(t, 200, answered.StatusCode)
		_, err = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n")
		require.NoError(t, err)
		io.Copy(io.Discard, answered.Body)
		began = time.Now()
		answered, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
		assert.Equal(t, 200, answered.StatusCode)
		assert.LessOrEqual(t, time.Since(began), 3*time.Second, "a body that nobody reads has to come in time, too")
		conn.Close()

		conn, in = send("GET /watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answered, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
		lines, seen := bufio.NewScanner(answered.Body), 0
		for seen < 3 && lines.Scan() {
			if strings.HasPrefix(lines.Text(), "{") {
				seen++
			}
		}
		assert.Equal(t, 3, seen, "it lasts")
		began = time.Now()
		<-ended // nobody reads any more
		assert.Less(t, time.Since(began), 20*time.Second)
		conn.Close()
	})
}

// TestQuietWatchOfASlowClient: signs of life have to be taken in time, too.
func TestQuietWatchOfASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fake{quiet: make(chan struct{})}
		l := serves(t, handlerOf(t, s, Config{WriteTimeout: 4 * time.Second, Heartbeat: 7 * time.Second}), 0)
		conn, err := l.dial(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		began := time.Now()
		<-s.quiet // nobody reads
		assert.Equal(t, 11*time.Second, time.Since(began))

		s.quiet = make(chan struct{})
		began = time.Now()
		handlerOf(t, s, Config{Heartbeat: 7 * time.Second}).ServeHTTP(broken{httptest.NewRecorder()}, httptest.NewRequest("GET", "http://localhost/watch", nil))
		assert.Equal(t, 7*time.Second, time.Since(began))
	})
}

// A broken writer takes headers only.
type broken struct{ *httptest.ResponseRecorder }

func (b broken) Write(text []byte) (int, error) {
	if len(text) > 0 {
		return 0, errors.New("broken")
	}
	return 0, nil
}

// TestProbes: livez waits for nothing. readyz and healthz say what is missing, readyz in its time.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fake{
			status: func() paxos.Status { select {} },
			wait:   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			done:   make(chan struct{}),
		}
		h := handlerOf(t, s, Config{ReadyTimeout: 2 * time.Second})
		began := time.Now()
		code, _ := asks(h, "GET", "/livez", "")
		assert.Equal(t, 200, code)
		assert.Zero(t, time.Since(began))
		code, text := asks(h, "GET", "/readyz", "")
		assert.Equal(t, 503, code)
		assert.Equal(t, CodeUnready, failed(t, text).Code)
		assert.Equal(t, 2*time.Second, time.Since(began))
		close(s.done)
		code, text = asks(h, "GET", "/livez", "")
		assert.Equal(t, 503, code)
		assert.Contains(t, text, "stopped: it was closed")
		s.err = errors.New("the disk failed")
		code, text = asks(h, "GET", "/livez", "")
		assert.Equal(t, 503, code)
		assert.Contains(t, text, "stopped: the disk failed")
		broken := &paxos.SafetyError{Instance: "x", Reason: "two values were decided"}
		for _, test := range []struct {
			name, want string
			status     paxos.Status
		}{
			{"well", "", paxos.Status{StorageWait: time.Second, Open: 7}},
			{"stopped", "stopped: gone", paxos.Status{Err: errors.New("gone")}},
			{"broken", "the protocol was broken: " + broken.Error(), paxos.Status{Broken: []*paxos.SafetyError{broken}}},
			{"its disk hangs", "the disk has not answered for 12s", paxos.Status{StorageWait: 12 * time.Second, NoQuorum: time.Second}},
			{"alone", "no quorum answers, for 1.5s", paxos.Status{NoQuorum: 1500 * time.Millisecond}},
		} {
			assert.Equal(t, test.want, Unhealthy(test.status), test.name)
			s.status = func() paxos.Status { return test.status }
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/healthz", nil))
			if test.want == "" {
				assert.Equal(t, 200, w.Code)
			} else {
				assert.Equal(t, 503, w.Code)
				assert.Equal(t, failure{Text: test.want, Code: CodeUnhealthy}, failed(t, w.Body.String()))
			}
		}
	})
}
