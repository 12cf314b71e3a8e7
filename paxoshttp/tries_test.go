package paxoshttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// answered is the answer to a propose of "x" for "a", and to questions about it.
const answered = `{"name":"a","decided":true,"value":"x","ballot":"1.1"}`

// A farm is some servers of HTTP on pipes, under names such as one.test.
type farm struct {
	client *http.Client
	asked  atomic.Value // the order in which they were asked, by the first letters of their names
	mu     sync.Mutex
}

func (f *farm) order() string {
	text, _ := f.asked.Swap("").(string)
	return text
}

// newFarm serves handlers. A nil one is a server that nobody has.
func newFarm(t *testing.T, handlers map[string]http.HandlerFunc) *farm {
	f := &farm{}
	f.asked.Store("")
	pipes := map[string]*pipeListener{}
	for name, h := range handlers {
		pipes[name] = newPipe()
		if h == nil {
			pipes[name].Close()
			continue
		}
		pipes[name] = serves(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			f.asked.Store(f.asked.Load().(string) + name[:1])
			f.mu.Unlock()
			h(w, r)
		}), 0)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		name, _, _ := strings.Cut(addr, ".")
		return pipes[name].dial(ctx)
	}}
	f.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return f
}

func (f *farm) clientOf(t *testing.T, c ClientConfig, names ...string) *Client {
	for _, name := range names {
		c.Servers = append(c.Servers, "http://"+name+".test/v1")
	}
	c.HTTP = f.client
	return clientOf(t, c)
}

// hangs answers when its client has gone.
func hangs(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// TestClientTriesTheNextServer: a call goes on to the next server, whatever is wrong with the first, and later calls begin at the one that
// answered. After a final answer no other server is asked.
func TestClientTriesTheNextServer(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{
		"nobody is there": nil, "it breaks": breaks, "closed": answers(503, `{"error":"so","code":"closed"}`), "busy": answers(503, `{"error":"so","code":"busy"}`),
		"has left": answers(403, `{"error":"so","code":"not_member"}`), "no quorum": answers(504, `{"error":"so","code":"timeout","unknown":true}`),
		"another path": answers(404, ""), "no answer": answers(200, "{"), "its disk": answers(500, `{"error":"so","code":"internal"}`), "it hangs": hangs,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFarm(t, map[string]http.HandlerFunc{"one": first, "two": nil, "three": answers(200, answered)})
				c := f.clientOf(t, ClientConfig{}, "one", "two", "three")
				d, err := c.Propose(t.Context(), "a", "x")
				require.NoError(t, err)
				assert.Equal(t, paxos.Value("x"), d.Value)
				assert.Contains(t, []string{"ot", "t"}, f.order())
				_, err = c.Wait(t.Context(), "a")
				require.NoError(t, err)
				assert.Equal(t, "t", f.order(), "it begins at the one that has answered")
			})
		})
	}
	for code, is := range map[Code]error{CodeForgotten: nil, CodeName: paxos.ErrName, CodeTooLarge: paxos.ErrTooLarge, CodeForbidden: ErrForbidden,
		CodeUnauthenticated: ErrUnauthenticated, CodeMalformed: ErrMalformed, CodeBroken: nil} {
		synctest.Test(t, func(t *testing.T) {
			f := newFarm(t, map[string]http.HandlerFunc{"busy": answers(503, `{"error":"so","code":"busy"}`),
				"final": answers(code.Status(), `{"error":"so","code":"`+string(code)+`"}`), "good": answers(200, answered)})
			c := f.clientOf(t, ClientConfig{}, "busy", "final", "good")
			_, err := c.Propose(t.Context(), "a", "x")
			require.Error(t, err)
			if is != nil {
				assert.ErrorIs(t, err, is)
			}
			assert.False(t, paxos.Unknown(err))
			_, err = c.Wait(t.Context(), "a")
			require.Error(t, err)
			assert.Equal(t, "bf"+"f", f.order(), code)
		})
	}
}

// TestClientKeepsItsDoubt: a later server that refuses does not make certain what an earlier one left unknown.
func TestClientKeepsItsDoubt(t *testing.T) {
	for second, want := range map[string]string{
		`{"error":"is gone","code":"forgotten","forgotten":["a","b"]}`: `paxos: propose "a": is gone`,
		`{"error":"so","code":"busy"}`:                                 "no server has carried it out: no answer from http://one.test/v1: EOF; so",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFarm(t, map[string]http.HandlerFunc{"one": breaks, "two": answers(410, second)})
			_, err := f.clientOf(t, ClientConfig{}, "one", "two").Propose(t.Context(), "a", "x")
			require.ErrorContains(t, err, want)
			assert.True(t, paxos.Unknown(err))
			_, err = f.clientOf(t, ClientConfig{}, "two", "one").Propose(t.Context(), "a", "x")
			assert.Equal(t, strings.Contains(second, "busy"), paxos.Unknown(err), "the first is asked only if the second is not final")
		})
	}
}

// TestErrorsOfOneServer: an error that is about a server and not about the call counts only if all servers have it.
func TestErrorsOfOneServer(t *testing.T) {
	closed, left, busy := answers(503, `{"error":"so","code":"closed"}`), answers(403, `{"error":"so","code":"not_member"}`), answers(503, `{"error":"so","code":"busy"}`)
	for _, test := range []struct {
		one, two  http.HandlerFunc
		is, isNot []error
	}{
		{closed, closed, []error{paxos.ErrClosed}, nil},
		{left, left, []error{paxos.ErrNotMember}, nil},
		{closed, nil, nil, []error{paxos.ErrClosed}},
		{closed, busy, []error{paxos.ErrBusy}, []error{paxos.ErrClosed}},
		{left, closed, nil, []error{paxos.ErrClosed, paxos.ErrNotMember}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFarm(t, map[string]http.HandlerFunc{"one": test.one, "two": test.two})
			_, err := f.clientOf(t, ClientConfig{}, "one", "two").Propose(t.Context(), "a", "x")
			require.Error(t, err)
			assert.False(t, paxos.Unknown(err))
			for _, is := range test.is {
				assert.ErrorIs(t, err, is)
			}
			for _, not := range test.isNot {
				assert.NotErrorIs(t, err, not)
			}
		})
	}
}

// TestClientTimes: a server that hangs has its share of the time, and knows it. A call without a deadline ends, too.
func TestClientTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		f := newFarm(t, map[string]http.HandlerFunc{"one": func(w http.ResponseWriter, r *http.Request) {
			told = append(told, r.URL.Query().Get("timeout"))
			hangs(w, r)
		}, "two": hangs, "three": hangs})
		c := f.clientOf(t, ClientConfig{Try: 4 * time.Second}, "one", "two", "three")
		began := time.Now()
		_, err := c.Propose(t.Context(), "a", "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, paxos.Unknown(err))
		assert.Equal(t, 12*time.Second, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began = time.Now()
		_, _, err = c.Read(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, "ottott", f.order())
		ctx, cancel = context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		_, err = c.Change(ctx, paxos.Members{Acceptors: []paxos.ServerID{1}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, paxos.Unknown(err))
		assert.Equal(t, "o", f.order(), "a change has one server, and all the time")
		synctest.Wait()
		assert.Equal(t, []string{"3.75s", "875ms", "7.75s"}, told)
	})
}

// TestChangeIsAskedOnce: it goes to another server only if it is certain that the one before does not have it.
func TestChangeIsAskedOnce(t *testing.T) {
	ok := answers(200, `{"configuration":7,"acceptors":[1],"learners":[],"addresses":{}}`)
	for _, test := range []struct {
		first http.HandlerFunc
		order string
	}{
		{nil, "t"}, {answers(503, `{"error":"so","code":"closed"}`), "ot"}, {breaks, "o"}, {answers(504, `{"error":"so","code":"timeout","unknown":true}`), "o"},
		{answers(503, `{"error":"so","code":"not_ready"}`), "o"}, {answers(409, `{"error":"so","code":"conflict"}`), "o"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFarm(t, map[string]http.HandlerFunc{"one": test.first, "two": ok})
			number, err := f.clientOf(t, ClientConfig{}, "one", "two").Change(t.Context(), paxos.Members{Acceptors: []paxos.ServerID{1}})
			assert.Equal(t, test.order, f.order())
			if test.order == "o" {
				assert.Error(t, err)
			} else {
				require.NoError(t, err)
				assert.Equal(t, uint64(7), number)
			}
		})
	}
}

// TestClientWaits: Wait goes on over servers that fail, until one answers or its context ends. Settled takes no answer about an earlier
// configuration.
func TestClientWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		when := func(d time.Duration, then string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Since(began) < d {
					answers(503, `{"error":"so","code":"closed"}`)(w, r)
					return
				}
				answers(200, then)(w, r)
			}
		}
		f := newFarm(t, map[string]http.HandlerFunc{"one": when(time.Minute, answered), "two": nil, "three": answers(504, `{"error":"so","code":"timeout"}`),
			"four": answers(200, `{"id":1,"configuration":6,"settled":true}`), "five": when(10*time.Second, `{"id":1,"configuration":7,"settled":true}`)})
		d, err := f.clientOf(t, ClientConfig{}, "one", "two", "three").Wait(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, paxos.Value("x"), d.Value)
		assert.InDelta(t, time.Minute, time.Since(began), float64(lastPause))
		assert.Less(t, len(f.order()), 200, "it pauses")

		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("no more"))
		defer cancel()
		began = time.Now()
		_, err = f.clientOf(t, ClientConfig{}, "two").Wait(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no more")
		require.ErrorContains(t, err, "connection refused")
		assert.False(t, paxos.Unknown(err))
		assert.Equal(t, 5*time.Second, time.Since(began))

		began = time.Now()
		asked := time.Duration(0)
		patient := newFarm(t, map[string]http.HandlerFunc{"one": func(w http.ResponseWriter, r *http.Request) {
			assert.LessOrEqual(t, time.Since(began)-asked, firstPause, "a server that waits itself is asked again at once")
			d, err := time.ParseDuration(r.URL.Query().Get("timeout"))
			assert.NoError(t, err)
			if time.Since(began) > time.Minute {
				answers(200, answered)(w, r)
				return
			}
			time.Sleep(d)
			asked = time.Since(began)
			answers(504, `{"error":"so","code":"timeout"}`)(w, r)
		}})
		_, err = patient.clientOf(t, ClientConfig{}, "one").Wait(t.Context(), "a")
		require.NoError(t, err)

		began = time.Now()
		require.NoError(t, f.clientOf(t, ClientConfig{}, "four", "five").Settled(t.Context(), 7))
		assert.InDelta(t, 10*time.Second, time.Since(began), float64(lastPause))
		require.NoError(t, f.clientOf(t, ClientConfig{}, "four").Ready(t.Context()))
	})
}

// TestServerDiesInTheMiddleOfAPropose: the server has proposed, and nobody hears its answer. Through another server the client learns what was
// chosen. Without one it is unknown, and a later call learns it.
func TestServerDiesInTheMiddleOfAPropose(t *testing.T) {
	urls, servers := startServers(t, 3)
	dies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlerOf(t, servers[0], Config{}).ServeHTTP(httptest.NewRecorder(), r)
		breaks(w, r)
	}))
	defer dies.Close()
	c := clientOf(t, ClientConfig{Servers: []string{dies.URL, urls[1]}})
	d, err := c.Propose(t.Context(), "a", "mine, nonce 17")
	require.NoError(t, err)
	assert.Equal(t, paxos.Value("mine, nonce 17"), d.Value)

	alone := clientOf(t, ClientConfig{Servers: []string{dies.URL}})
	_, err = alone.Propose(t.Context(), "b", "mine, nonce 18")
	require.Error(t, err)
	assert.True(t, paxos.Unknown(err))
	d, err = clientOf(t, ClientConfig{Servers: urls}).Propose(t.Context(), "b", "of another caller")
	require.NoError(t, err)
	assert.Equal(t, paxos.Value("mine, nonce 18"), d.Value, "it was chosen all the same")
}
