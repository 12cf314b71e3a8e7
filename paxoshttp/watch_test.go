package paxoshttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// decides has values decided, one after the other, and waits until the server shows all of them.
func decides(t *testing.T, s Server, namesAndValues ...string) {
	t.Helper()
	before := s.Status().Index
	for i := 0; i < len(namesAndValues); i += 2 {
		_, err := s.Propose(t.Context(), namesAndValues[i], paxos.Value(namesAndValues[i+1]))
		require.NoError(t, err)
	}
	seen := 0
	for _, err := range s.Decisions(t.Context(), before) {
		require.NoError(t, err)
		if seen++; seen == len(namesAndValues)/2 {
			return
		}
	}
}

// A leaving client goes when it has got so many lines with an Index.
type leaving struct {
	*httptest.ResponseRecorder
	lines int
	leave context.CancelFunc
}

func (l *leaving) Write(text []byte) (int, error) {
	if l.lines -= strings.Count(string(text), `"index":`); l.lines <= 0 {
		l.leave()
	}
	return l.ResponseRecorder.Write(text)
}

// watches returns the answer to a watch that ends after so many lines with an Index.
func watches(t *testing.T, h http.Handler, n int, query string, change ...func(*http.Request)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/watch?"+query, nil)
	for _, c := range change {
		c(r)
	}
	w := &leaving{httptest.NewRecorder(), n, cancel}
	h.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code, w.Body)
	return w.Body.String()
}

func lines(t *testing.T, text string) (all []line) {
	t.Helper()
	for each := range strings.Lines(text) {
		if strings.TrimSpace(each) == "" {
			continue
		}
		var l line
		require.NoError(t, json.Unmarshal([]byte(each), &l), each)
		all = append(all, l)
	}
	return all
}

// TestWatchLines: a watch sends what is stored and what comes, by names, after an Index. It tells of forgotten names, and ends with an error.
func TestWatchLines(t *testing.T) {
	s := startNodes(t, 1)[0]
	h := handlerOf(t, s, Config{})
	decides(t, s, "a", "x", "job/1", "two\nlines", "b", "\xff\x00", "job/2", "")
	watch := func(n int, query string) []line {
		all := lines(t, watches(t, h, n, query))
		require.Len(t, all, n+1)
		assert.Equal(t, CodeCanceled, all[n].Code, "it ends with an error")
		return all[:n]
	}
	names := func(all []line) (text string) {
		for _, l := range all {
			d, ok, err := l.decision("")
			require.NoError(t, err)
			assert.Equal(t, ok, l.Index > 0 && l.Forgotten == nil)
			text += fmt.Sprintf("%s=%q ", d.Instance, string(d.Value))
		}
		return text
	}
	all := watch(4, "")
	assert.Equal(t, `a="x" job/1="two\nlines" b="\xff\x00" job/2="" `, names(all))
	assert.Equal(t, `b="\xff\x00" job/2="" `, names(watch(2, fmt.Sprint("after=", all[1].Index))))
	assert.Equal(t, `job/1="two\nlines" job/2="" `, names(watch(2, "prefix=job/")))
	assert.Equal(t, `a="x" b="\xff\x00" job/2="" `, names(watch(3, "prefix=a&from=b&to=c&from=job/2&to=job/3")))
	require.NoError(t, s.Forget(t.Context(), paxos.Prefix("job/")))
	all = watch(3, "after=0")
	assert.Equal(t, []string{"job/", "job0"}, all[2].Forgotten)
	assert.NotZero(t, all[2].Index)
	assert.False(t, all[2].Decided)
}

// TestWatchOfAnotherStorage: an Index that this storage has not given, or that another one has given, is refused before the stream begins.
func TestWatchOfAnotherStorage(t *testing.T) {
	s := startNodes(t, 1)[0]
	h := handlerOf(t, s, Config{})
	decides(t, s, "a", "x")
	own := fmt.Sprintf("%x", s.Status().Store)
	for query, want := range map[string]int{"after=1000": 409, "after=0&store=7": 409, "store=" + own + "&timeout=1ms": 200} {
		code, text := asks(h, "GET", "/watch?"+query, "")
		assert.Equal(t, want, code, text)
		if want != 200 {
			assert.Equal(t, CodeIndex, failed(t, text).Code)
		}
	}
	r := httptest.NewRequest("GET", "http://localhost/watch?timeout=1ms", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, own, w.Header().Get("Paxos-Store"))
	require.NoError(t, s.Close())
	code, text := asks(h, "GET", "/watch", "")
	assert.Equal(t, 503, code)
	assert.Equal(t, CodeClosed, failed(t, text).Code)
}

// A sent is a server-sent event, as a browser would hand it to a page.
type sent struct{ kind, id, data string }

// readEvents reads a stream as the standard of server-sent events says: fields end at line ends, and an event ends at an empty line.
func readEvents(t *testing.T, text string) (all []sent) {
	t.Helper()
	var e sent
	id, data := "", []string(nil)
	for each := range strings.Lines(text) {
		require.True(t, strings.HasSuffix(each, "\n"))
		each = strings.TrimSuffix(each, "\n")
		if each == "" {
			if data != nil {
				e.id, e.data = id, strings.Join(data, "\n")
				all = append(all, e)
			}
			e, data = sent{}, nil
			continue
		}
		field, value, _ := strings.Cut(each, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "event":
			e.kind = value
		case "data":
			data = append(data, value)
		case "", "retry":
		default:
			require.Fail(t, "no field of an event", each)
		}
	}
	require.Nil(t, data, "the last event ends")
	return all
}

// TestWatchEvents: whatever a value has in it, an event is one, and a page gets the value. A browser goes on after the last Index that it has seen.
func TestWatchEvents(t *testing.T) {
	s := startNodes(t, 1)[0]
	h := handlerOf(t, s, Config{})
	decides(t, s, "a", "one\ntwo\r\nthree\n\nid: 99\ndata: no\rfour\u2028", "b", "\xff\n\n", "job/1", "")
	require.NoError(t, s.Forget(t.Context(), paxos.Prefix("job/")))
	accept := func(kind string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("Accept", kind) } }
	text := watches(t, h, 3, "", accept("application/json, text/event-stream;q=0.9"))
	assert.True(t, strings.HasPrefix(text, "retry: 1000\n\n"))
	all := readEvents(t, text)
	require.Len(t, all, 4, text)
	for i, want := range []string{"one\ntwo\r\nthree\n\nid: 99\ndata: no\rfour\u2028", "\xff\n\n"} {
		var l line
		require.NoError(t, json.Unmarshal([]byte(all[i].data), &l))
		d, _, err := l.decision("")
		require.NoError(t, err)
		assert.Equal(t, want, string(d.Value))
		assert.Equal(t, fmt.Sprintf("%x-%d", s.Status().Store, l.Index), all[i].id)
		assert.Empty(t, all[i].kind)
	}
	assert.Equal(t, "forgotten", all[2].kind)
	assert.Equal(t, "failed", all[3].kind)
	assert.Equal(t, all[2].id, all[3].id, "an error moves nothing")

	again := readEvents(t, watches(t, h, 2, "after=0", accept("text/event-stream"), func(r *http.Request) { r.Header.Set("Last-Event-ID", all[0].id) }))
	require.Len(t, again, 3)
	assert.Equal(t, all[1], again[0])
	code, text := asks(h, "GET", "/watch", "", accept("text/event-stream"), func(r *http.Request) { r.Header.Set("Last-Event-ID", "x") })
	assert.Equal(t, 400, code, text)
	code, text = asks(h, "GET", "/watch?timeout=1ms", "", accept("application/x-ndjson"), func(r *http.Request) { r.Header.Set("Last-Event-ID", "x") })
	assert.Equal(t, 200, code, text)
}

// TestEventsOfAnotherStorage: a browser that comes back to another server, as behind a balancer, is refused. It would else miss decisions.
func TestEventsOfAnotherStorage(t *testing.T) {
	nodes := startNodes(t, 2)
	decides(t, nodes[0], "a", "x", "b", "y", "c", "z")
	own, other := handlerOf(t, nodes[0], Config{}), handlerOf(t, nodes[1], Config{})
	last := readEvents(t, watches(t, own, 1, "", func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") }))[0].id
	resume := func(h http.Handler, id string) (int, string) {
		return asks(h, "GET", "/watch?timeout=1ms", "", func(r *http.Request) {
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("Last-Event-ID", id)
		})
	}
	code, text := resume(own, last)
	assert.Equal(t, 200, code, text)
	code, text = resume(other, last)
	assert.Equal(t, 409, code, text)
	assert.Equal(t, CodeIndex, failed(t, text).Code)
	code, text = resume(own, "1")
	assert.Equal(t, 200, code, text, "an Index alone is taken as it is")
	for _, id := range []string{"x", "-1", "1-", "-", "g-1", "1-1-1", "10000000000000000-1", "1-18446744073709551616", "1 1"} {
		code, text = resume(own, id)
		assert.Equal(t, 400, code, "%s: %s", id, text)
	}
}

// TestWatchIsLive: headers come at once, decisions as they come, and signs of life in between. The server notices that the client has gone.
func TestWatchIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		come, ended := make(chan uint64), make(chan struct{})
		s := &fake{decisions: func(yield func(paxos.Learned, error) bool) {
			defer close(ended)
			for index := range come {
				if !yield(paxos.Learned{Index: index, Decision: paxos.Decision{Instance: "a"}}, nil) {
					return
				}
			}
		}}
		l := serves(t, handlerOf(t, s, Config{Heartbeat: 10 * time.Second}), 5*time.Second)
		for accept, sign := range map[string]string{"text/event-stream": ":\n", "*/*": "\n"} {
			ended = make(chan struct{})
			conn, err := l.dial(t.Context())
			require.NoError(t, err)
			began := time.Now()
			_, err = io.WriteString(conn, "GET /watch HTTP/1.1\r\nHost: localhost\r\nAccept: "+accept+"\r\n\r\n")
			require.NoError(t, err)
			answered, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			assert.Zero(t, time.Since(began), "the headers are here")
			in := bufio.NewReader(answered.Body)
			next := func() string {
				for {
					text, err := in.ReadString('\n')
					require.NoError(t, err)
					if text != "retry: 1000\n" && text != "\n" || text == sign && time.Since(began) > 0 {
						return text
					}
				}
			}
			go func() { come <- 7 }()
			for {
				if text := next(); strings.Contains(text, `"index":7`) {
					break
				}
			}
			assert.Zero(t, time.Since(began), "the decision came at once")
			assert.Equal(t, sign, next())
			assert.Equal(t, 10*time.Second, time.Since(began))
			conn.Close()
			select {
			case come <- 8: // the next decision finds out, if no sign of life has
			case <-ended:
			}
			<-ended
		}
		close(come)
	})
}

// TestWatchEndsWithItsServer: the last line says why.
func TestWatchEndsWithItsServer(t *testing.T) {
	s := startNodes(t, 1)[0]
	server := httptest.NewServer(handlerOf(t, s, Config{}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/watch", nil)
	require.NoError(t, err)
	answered, err := server.Client().Do(r)
	require.NoError(t, err)
	defer answered.Body.Close()
	require.NoError(t, s.Close())
	text, err := io.ReadAll(answered.Body)
	require.NoError(t, err)
	all := lines(t, string(text))
	require.Len(t, all, 1)
	assert.Equal(t, CodeClosed, all[0].Code)
}

// TestErrorAfterTheFirstLine: an error in the middle of a stream is its last line, and never a second answer.
func TestErrorAfterTheFirstLine(t *testing.T) {
	s := &fake{decisions: func(yield func(paxos.Learned, error) bool) {
		_ = yield(paxos.Learned{Index: 1, Decision: paxos.Decision{Instance: "a"}}, nil) && yield(paxos.Learned{}, errors.New("the disk failed"))
	}}
	code, text := asks(handlerOf(t, s, Config{}), "GET", "/watch", "")
	assert.Equal(t, 200, code)
	all := lines(t, text)
	require.Len(t, all, 2)
	assert.Equal(t, line{Text: "the disk failed", Code: CodeInternal}, all[1])
}
