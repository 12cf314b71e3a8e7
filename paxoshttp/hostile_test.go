package paxoshttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestEmptyParameters: a parameter that is there and empty, as of a variable that is not set, is refused: it would mean all names, or the
// beginning.
func TestEmptyParameters(t *testing.T) {
	forgot := 0
	h := handlerOf(t, &fake{done: make(chan struct{}), forget: func(paxos.NameRange) error { forgot++; return nil }}, Config{})
	for _, test := range []struct{ method, path, body, want string }{
		{"GET", "/watch?after=", "", "after: it is empty"},
		{"GET", "/watch?store=", "", "store: it is empty"},
		{"GET", "/watch?timeout=", "", "timeout: it is empty"},
		{"GET", "/wait?name=a&timeout=", "", "timeout: it is empty"},
		{"POST", "/forget?prefix=", "", "prefix: it is empty"},
		{"POST", "/forget?prefix=a", `{"prefix":"b"}`, "body: a forget has none"},
	} {
		code, text := asks(h, test.method, test.path, test.body)
		assert.Equal(t, 400, code, "%s: %s", test.path, text)
		assert.Contains(t, text, test.want)
	}
	assert.Zero(t, forgot)
	code, text := asks(h, "POST", "/forget?from=&to=%ff", "") // all names, in other words
	assert.Equal(t, 200, code, text)
	code, text = asks(h, "POST", "/forget?prefix=a", "{}", func(r *http.Request) { r.ContentLength, r.Body = -1, http.NoBody })
	assert.Equal(t, 200, code, text)
}

// TestChangeOfManyServers: a body of more servers than any cluster has is refused before its lists take more memory than it.
func TestChangeOfManyServers(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("1,", 1<<20), ",")
	addresses := strings.Builder{}
	for i := range 1 << 17 {
		fmt.Fprintf(&addresses, `"%d":"",`, i+1)
	}
	for field, body := range map[string]string{
		"acceptors": `{"acceptors":[` + many + `],"learners":[],"addresses":{}}`,
		"learners":  `{"acceptors":[],"learners":[` + many + `],"addresses":{}}`,
		"addresses": `{"acceptors":[],"learners":[],"addresses":{` + strings.TrimSuffix(addresses.String(), ",") + `}}`,
	} {
		text := []byte(body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseChange(text)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, field+": it has over ")
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(text)), field)
	}
	body := `{"acceptors":[` + strings.TrimSuffix(strings.Repeat("1,", paxos.MaxAcceptors), ",") + `],"learners":[` +
		strings.TrimSuffix(strings.Repeat("1,", 1024), ",") + `],"addresses":{}}`
	_, err := parseChange([]byte(body))
	require.NoError(t, err, "as many as a cluster may have")
}

// TestBodiesThatTrickle: a body counts as it comes. So those that stay away keep nobody out, and one that is longer than it said counts in full.
func TestBodiesThatTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &fake{propose: func(_ context.Context, name string, _ paxos.Value) (paxos.Decision, error) {
			if name == "held" {
				<-release
			}
			return paxos.Decision{}, nil
		}}
		h := handlerOf(t, s, Config{MaxBody: 100, MaxBodies: 150})
		var all sync.WaitGroup
		var pipes []*io.PipeWriter
		for range 5 {
			in, out := io.Pipe()
			pipes = append(pipes, out)
			all.Go(func() {
				code, _ := asks(h, "POST", "/propose", "", func(r *http.Request) { r.Body, r.ContentLength = in, 100 })
				assert.Equal(t, 400, code)
			})
			all.Go(func() { io.WriteString(out, "{") })
		}
		synctest.Wait()
		code, text := asks(h, "POST", "/propose", `{"name":"a","value":"x"}`)
		assert.Equal(t, 200, code, text)
		for _, p := range pipes {
			p.Close()
		}
		all.Wait()
		assert.Zero(t, h.bodies)

		body := `{"name":"held","value":"` + strings.Repeat("x", 60) + `"}`
		unpacked := func(r *http.Request) { r.ContentLength = 7 } // as of a guard that unpacks bodies
		all.Go(func() {
			code, text := asks(h, "POST", "/propose", body, unpacked)
			assert.Equal(t, 200, code, text)
		})
		synctest.Wait()
		assert.Equal(t, len(body), h.bodies)
		code, text = asks(h, "POST", "/propose", body, unpacked)
		assert.Equal(t, 503, code, text)
		assert.Equal(t, CodeBusy, failed(t, text).Code)
		close(release)
		all.Wait()
		assert.Zero(t, h.bodies)
	})
}

// TestTimeOfAnAnswer: the time in which a client has to take an answer begins with the answer, not with the question.
func TestTimeOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := paxos.Value(strings.Repeat("x", 1<<20))
		s := &fake{
			read: func(_ context.Context, name string) (paxos.Decision, bool, error) {
				return paxos.Decision{Value: large}, true, nil
			},
			propose: func(_ context.Context, name string, v paxos.Value) (paxos.Decision, error) {
				time.Sleep(59 * time.Second)
				return paxos.Decision{Value: v}, nil
			},
		}
		ended := make(chan struct{}, 1)
		h := handlerOf(t, s, Config{MaxTimeout: time.Minute, BodyTimeout: time.Minute, WriteTimeout: 4 * time.Second})
		l := serves(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			ended <- struct{}{}
		}), 0)
		conn, err := l.dial(t.Context())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET /read?name=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		began := time.Now()
		<-ended // nobody reads
		assert.Equal(t, 4*time.Second, time.Since(began))
		conn.Close()

		conn, err = l.dial(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "POST /propose HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{")
		require.NoError(t, err)
		time.Sleep(59 * time.Second)
		_, err = io.WriteString(conn, `"name":"a","value":"x"}`)
		require.NoError(t, err)
		answered, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, "a slow question has an answer")
		assert.Equal(t, 200, answered.StatusCode)
		answered.Body.Close()
	})
}

// plain is a writer that can only write, as of a middleware that hides the rest.
type plain struct{ http.ResponseWriter }

func (plain) Flush(int) {} // of another kind than http.Flusher

// TestWatchNeedsFlush: a watch through a writer that holds lines back is refused in words.
func TestWatchNeedsFlush(t *testing.T) {
	s := &fake{decisions: func(yield func(paxos.Learned, error) bool) {
		yield(paxos.Learned{Index: 1, Decision: paxos.Decision{Instance: "a"}}, nil)
	}}
	w := httptest.NewRecorder()
	handlerOf(t, s, Config{}).ServeHTTP(plain{w}, httptest.NewRequest("GET", "http://localhost/watch", nil))
	assert.Equal(t, 500, w.Code, w.Body)
	assert.Contains(t, w.Body.String(), "http.Flusher")
	assert.Equal(t, CodeInternal, failed(t, w.Body.String()).Code)
}

// A stumbling writer fails once, in the middle of a line.
type stumbling struct {
	*httptest.ResponseRecorder
	fell bool
}

func (s *stumbling) Write(text []byte) (int, error) {
	if !s.fell && strings.Contains(string(text), "index") {
		s.fell = true
		n, _ := s.ResponseRecorder.Write(text[:len(text)/2])
		return n, errors.New("it stumbles")
	}
	return s.ResponseRecorder.Write(text)
}

// TestNothingFollowsHalfALine: after a failed write nothing more is written, neither a line nor a sign of life, that would make half a line whole.
func TestNothingFollowsHalfALine(t *testing.T) {
	w := &stumbling{ResponseRecorder: httptest.NewRecorder()}
	st := &stream{w: w, control: http.NewResponseController(w), timeout: time.Second}
	require.NoError(t, st.begin())
	more, _ := st.send(paxos.Learned{Index: 1, Decision: paxos.Decision{Instance: "a"}}, nil)
	assert.False(t, more)
	half := w.Body.String()
	more, _ = st.send(paxos.Learned{Index: 2, Decision: paxos.Decision{Instance: "b"}}, nil)
	assert.False(t, more)
	assert.Error(t, st.write([]byte("\n")))
	assert.Equal(t, half, w.Body.String())
}

// TestAllowComesBeforeTheHost: no function of the host runs for a request that is not allowed.
func TestAllowComesBeforeTheHost(t *testing.T) {
	asked := 0
	host := Host{
		Listen: func() string { asked++; return "" }, Links: func() []Link { asked++; return nil },
		Stored: func() (int, int64) { asked++; return 0, 0 }, Left: func() ([]paxos.ServerID, error) { asked++; return nil, nil },
		CheckAddress: func(string) error { asked++; return nil },
	}
	refuse := true
	h := handlerOf(t, &fake{now: paxos.Configuration{Members: paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1}}}}, Config{Host: host, Allow: func(*http.Request, Action) error {
		if refuse {
			return ErrForbidden
		}
		return nil
	}})
	change := `{"acceptors":[1],"learners":[],"addresses":{"1":"a:1"}}`
	for _, call := range []struct{ method, path, body string }{{"POST", "/change", change}, {"GET", "/members", ""}, {"GET", "/status", ""}, {"GET", "/settled", ""}, {"GET", "/ready", ""}} {
		code, text := asks(h, call.method, call.path, call.body)
		assert.Equal(t, 403, code, "%s: %s", call.path, text)
		assert.Zero(t, asked, call.path)
	}
	refuse = false
	code, text := asks(h, "POST", "/change", change)
	assert.Equal(t, 200, code, text)
	assert.NotZero(t, asked)
}

// TestPathForms: another form of a path is the same call, with the same question to the hook, or none.
func TestPathForms(t *testing.T) {
	var calls []string
	h := handlerOf(t, &fake{done: make(chan struct{})}, Config{Allow: func(_ *http.Request, a Action) error {
		calls = append(calls, a.Call)
		return ErrForbidden
	}})
	mux := http.NewServeMux()
	mux.Handle("/v1/", http.StripPrefix("/v1", h))
	for path, want := range map[string]string{
		"/v1/status": "status", "/v1/%73tatus": "status", "/v1/status/": "", "/v1//status": "", "/v1/%2Fstatus": "", "/v1/x/../status": "", "/v1/x%2F..%2Fstatus": "", "/v1/./status": "",
		"/v1/status%2F": "", "/v1/status%00": "", "/v1/STATUS": "", "/v1%2Fstatus": "", "/v1/status;x": "", "/v1": "", "/v1/": "", "/v1/livez/status": "",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "CONNECT", "TRACE", "get"} {
			calls = nil
			code, text := asks(mux, method, path, "")
			assert.GreaterOrEqual(t, code, 300, "%s %s: %s", method, path, text)
			if method != "GET" || want == "" {
				assert.Empty(t, calls, "%s %s: %d", method, path, code)
			} else {
				assert.Equal(t, []string{want}, calls, "%s %s", method, path)
			}
		}
	}
}

// TestNumbersAtTheirEnds: a number or a time beyond its range is refused, and the largest one is taken.
func TestNumbersAtTheirEnds(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for path, want := range map[string]int{
		"/watch?after=18446744073709551615": 409, "/watch?after=18446744073709551616": 400, "/watch?after=-1": 400, "/watch?after=%2b1": 400, "/watch?after=1_0": 400, "/watch?after=0x1": 400, "/watch?after=1e3": 400,
		"/watch?store=ffffffffffffffff": 409, "/watch?store=10000000000000000": 400, "/watch?timeout=1ns": 200, "/peek?name=a&timeout=2562047h": 200, "/peek?name=a&timeout=2562048h": 400,
		"/peek?name=a&timeout=1e400s": 400, "/peek?name=a&timeout=0": 400, "/peek?name=a&timeout=NaNs": 400, "/peek?name=a&timeout=0.1ns": 400,
	} {
		code, text := asks(h, "GET", path, "")
		assert.Equal(t, want, code, "%s: %s", path, text)
	}
}

// TestEndOfAWatch: the end of a watch has to be taken in time, as its lines have.
func TestEndOfAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fake{decisions: func(yield func(paxos.Learned, error) bool) {
			yield(paxos.Learned{Index: 1, Decision: paxos.Decision{Instance: "a"}}, nil)
		}}
		l := serves(t, handlerOf(t, s, Config{WriteTimeout: 4 * time.Second}), 0)
		for _, late := range []bool{false, true} {
			conn, err := l.dial(t.Context())
			require.NoError(t, err)
			_, err = io.WriteString(conn, "GET /watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			answered, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			in := bufio.NewReader(answered.Body)
			_, err = in.ReadString('\n')
			require.NoError(t, err)
			if late {
				time.Sleep(time.Minute)
			}
			_, err = io.Copy(io.Discard, in)
			assert.Equal(t, late, err != nil, "%v", err)
			conn.Close()
		}
	})
}

// A stuck writer takes no large answer until release is closed.
type stuck struct {
	*httptest.ResponseRecorder
	release chan struct{}
}

func (s stuck) Write(text []byte) (int, error) {
	if len(text) > 1000 {
		<-s.release
	}
	return s.ResponseRecorder.Write(text)
}

// TestMaxAnswers: the answers that clients do not take are bounded, all together. A propose that finds no room for its answer has an effect
// all the same.
func TestMaxAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := paxos.Decision{Instance: "a", Value: paxos.Value(strings.Repeat("\x01", 1<<20))} // an escape for each byte
		s := &fake{
			read:    func(context.Context, string) (paxos.Decision, bool, error) { return d, true, nil },
			propose: func(context.Context, string, paxos.Value) (paxos.Decision, error) { return d, nil },
			done:    make(chan struct{}),
		}
		h := handlerOf(t, s, Config{MaxBody: 1 << 10, MaxAnswers: most})
		w := stuck{httptest.NewRecorder(), make(chan struct{})}
		var all sync.WaitGroup
		all.Go(func() { h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/read?name=a", nil)) })
		synctest.Wait()
		for _, call := range []struct {
			method, path, body string
			unknown            bool
		}{{"GET", "/read?name=a", "", false}, {"GET", "/peek?name=a", "", false}, {"GET", "/wait?name=a", "", false}, {"POST", "/propose", `{"name":"a","value":""}`, true}} {
			code, text := asks(h, call.method, call.path, call.body)
			assert.Equal(t, 503, code, "%s: %.100s", call.path, text)
			assert.Equal(t, CodeBusy, failed(t, text).Code)
			assert.Equal(t, call.unknown, failed(t, text).Unknown, call.path)
		}
		code, text := asks(h, "GET", "/members", "")
		assert.Equal(t, 200, code, "%.100s", text)
		h.config.MaxAnswers = h.answers // no byte is left
		for path, want := range map[string]int{"/livez": 200, "/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/status": 503, "/members": 503, "/settled": 503} {
			code, text := asks(h, "GET", path, "")
			assert.Equal(t, want, code, "%s: %.100s", path, text)
		}
		for path, body := range map[string]string{"/forget?name=a": "", "/change": `{"acceptors":[1],"learners":[],"addresses":{}}`} {
			code, text := asks(h, "POST", path, body)
			assert.Equal(t, 503, code, "%s: %.100s", path, text)
			assert.True(t, failed(t, text).Unknown, path)
		}
		close(w.release)
		all.Wait()
		assert.Zero(t, h.answers)
		code, _ = asks(h, "GET", "/read?name=a", "")
		assert.Equal(t, 200, code)
	})
}
