package paxosweb

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

const markup = `<b id="x">&'</b><script>alert(1)</script>`

// cluster starts three servers that keep their events, and a handler of the first.
func cluster(t *testing.T, c Config) (nodes []*node.Node, h *Handler) {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(t, err)
	t.Cleanup(stop)
	for _, n := range nodes {
		n.SetTracing(true)
		require.Eventually(t, func() bool { return n.Tracing().On }, 10*time.Second, time.Millisecond)
	}
	if c.Trace == nil {
		c.Trace = func(_ context.Context, id paxos.ServerID, instance string) (Trace, error) {
			return TraceOf(nodes[id-1], instance), nil
		}
	}
	h, err = NewHandler(nodes[0], c)
	require.NoError(t, err)
	return nodes, h
}

func get(t *testing.T, h http.Handler, address string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://localhost"+address, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// propose decides an instance, and waits until all servers know it.
func propose(t *testing.T, nodes []*node.Node, name string, v paxos.Value) {
	_, err := nodes[0].Propose(t.Context(), name, v)
	require.NoError(t, err)
	for _, n := range nodes {
		_, err := n.Wait(t.Context(), name)
		require.NoError(t, err)
	}
}

// A reader who leaves while the decisions are read takes them from nobody: all pages share a look.
func TestReaderThatLeaves(t *testing.T) {
	nodes, h := cluster(t, Config{})
	propose(t, nodes, "lunch", "burger")
	require.Eventually(t, func() bool { return nodes[0].Status().Index > 0 }, 10*time.Second, time.Millisecond)
	left, cancel := context.WithCancel(t.Context())
	cancel()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(left, http.MethodGet, "http://localhost/", nil))
	assert.Contains(t, get(t, h, "/").Body.String(), "burger")
}

// Without script the page has everything: servers, decisions, what is open, members. Names and values stay text.
func TestPage(t *testing.T) {
	nodes, h := cluster(t, Config{})
	propose(t, nodes, "lunch", "burger")
	propose(t, nodes, markup, markup)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { nodes[0].Wait(ctx, "dinner"); close(ended) }()
	var page string
	require.Eventually(t, func() bool {
		page = get(t, h, "/").Body.String()
		return strings.Contains(page, ">dinner<") && strings.Contains(page, "&lt;script&gt;")
	}, 10*time.Second, 10*time.Millisecond)
	cancel()
	<-ended
	for _, want := range []string{">server 1<", ">server 2<", ">server 3<", "All 3 servers are connected.", `href="instance?name=lunch">lunch</a>`, "burger",
		"1 call waits here", "majority(3)", "0, settled", "1 open, 1 call waits; the oldest first"} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "<b id")
	assert.NotContains(t, page, "alert(1)</script>")
	assert.Equal(t, 1, strings.Count(page, "<script"), "its own, and no other")
	name := regexp.MustCompile(`href="(instance\?name=[^"]*script[^"]*)"`).FindStringSubmatch(page)
	require.Len(t, name, 2)
	link, err := url.Parse(name[1])
	require.NoError(t, err)
	assert.Equal(t, markup, link.Query().Get("name"))
	one := get(t, h, "/"+name[1]).Body.String()
	assert.NotContains(t, one, "<b id")
	assert.NotContains(t, one, "alert(1)</script>")
	assert.Contains(t, one, "&lt;b id=&#34;x&#34;&gt;")
	assert.Contains(t, one, "<svg")
}

// The page of an instance has the diagram of a real decision, with the rows of all servers, and the same in words.
func TestInstancePage(t *testing.T) {
	nodes, h := cluster(t, Config{})
	propose(t, nodes, "lunch", "burger")
	var page string
	require.Eventually(t, func() bool {
		page = get(t, h, "/instance?name=lunch").Body.String()
		return strings.Count(page, ": decided &#34;burger&#34;</span>") == 3
	}, 10*time.Second, 10*time.Millisecond, "each server saves its decision in the end")
	for _, want := range []string{"server 1: propose &#34;burger&#34;", "server 1 to server 2, server 3: prepare 1.1", "server 2 to server 1", "server 3 to server 1", "prepare 1.1 ", "promise 1.1",
		"accept 1.1", "accepted 1.1", "server 1: learns &#34;burger&#34;, returns it", "server 2: learns &#34;burger&#34;", "server 3: learns &#34;burger&#34;", "Decided: "} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "class=\"notes", "nothing is missing")
	assert.Equal(t, strings.Count(page, `class="step"`), strings.Count(page, `<li><span class="time`))
	assert.Contains(t, get(t, h, "/instance?name=never").Body.String(), "This server knows no decision.")
	assert.Contains(t, get(t, h, "/instance?name=").Body.String(), "name")
	assert.NotContains(t, get(t, h, "/instance?name=").Body.String(), "<svg")
}

// The page says which events are missing in a diagram.
func TestInstancePageTellsWhatIsMissing(t *testing.T) {
	var fail error
	var nodes []*node.Node
	nodes, h := cluster(t, Config{Trace: func(_ context.Context, id paxos.ServerID, instance string) (Trace, error) {
		if id == 2 {
			return Trace{}, fail
		}
		return TraceOf(nodes[id-1], instance), nil
	}})
	fail = errors.New("<no way>")
	propose(t, nodes, "lunch", "burger")
	page := get(t, h, "/instance?name=lunch").Body.String()
	assert.Contains(t, page, "Server 2: its events are missing: &lt;no way&gt;")
	assert.Contains(t, page, "<svg")
	fail = nil
	assert.Contains(t, get(t, h, "/instance?name=lunch").Body.String(), "Server 2: its events are missing: server 0 answered")
	nodes[2].SetTracing(false)
	require.Eventually(t, func() bool { return !nodes[2].Tracing().On }, 10*time.Second, time.Millisecond)
	assert.Contains(t, get(t, h, "/instance?name=lunch").Body.String(), "Server 3 keeps no events any more.")
	assert.Contains(t, get(t, h, "/instance?name=never").Body.String(), "Server 3 keeps no events: see Node.SetTracing.")
	assert.Contains(t, get(t, h, "/instance?name=never").Body.String(), "Server 1 has no event of this instance")

	alone, err := NewHandler(nodes[0], Config{})
	require.NoError(t, err)
	assert.Contains(t, get(t, alone, "/instance?name=lunch").Body.String(), "Only the events of this server are here.")
	busy := Trace{Server: 2, Tracing: paxos.Tracing{On: true, OneIn: 1 << 40}, More: true}
	assert.Len(t, busy.lacks("lunch"), 2)
}

// Every answer has the policy. The page names nothing of another origin.
func TestHeaders(t *testing.T) {
	_, h := cluster(t, Config{})
	for _, address := range []string{"/", "/instance?name=x", "/events?instance=x", "/style.css", "/script.js", "/icon.svg", "/no", "/any/prefix/", "/any/prefix/style.css"} {
		w := get(t, h, address)
		if address == "/no" {
			assert.Equal(t, http.StatusNotFound, w.Code)
		} else {
			assert.Equal(t, http.StatusOK, w.Code, address)
		}
		assert.Equal(t, policy, w.Header().Get("Content-Security-Policy"), address)
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		body := strings.ReplaceAll(w.Body.String(), `xmlns="http://www.w3.org/2000/svg"`, "")
		assert.NotRegexp(t, `https?://|src="//|href="//|url\(`, body, address)
		assert.NotRegexp(t, `(?i) style=| on[a-z]+=|<style|<script>`, body, address)
	}
	assert.NotContains(t, policy, "unsafe")
	assert.Equal(t, "text/css; charset=utf-8", get(t, h, "/style.css").Header().Get("Content-Type"))
}

// Only requests that are allowed get something, and only to read.
func TestAllow(t *testing.T) {
	nodes, h := cluster(t, Config{})
	for host, want := range map[string]int{"localhost": 200, "localhost:80": 200, "127.0.0.1:8000": 200, "[::1]:8000": 200, "[::1]": 200, "example.org": 403, "localhost.example.org": 403,
		"127.0.0.1.example.org": 403, "": 403, "10.0.0.1": 403} {
		for _, path := range []string{"/", "/instance?name=x", "/events?instance=x", "/live", "/style.css"} {
			if path == "/live" && want == 200 {
				continue
			}
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			assert.Equal(t, want, w.Code, "%s of %s", path, host)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "http://localhost/", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, method)
	}
	own, err := NewHandler(nodes[0], Config{Allow: func(r *http.Request) error {
		if r.Header.Get("Authorization") != "me" {
			return errors.New("not you")
		}
		return nil
	}})
	require.NoError(t, err)
	w := get(t, own, "/")
	assert.Equal(t, []any{403, "not you\n"}, []any{w.Code, w.Body.String()})
	r := httptest.NewRequest(http.MethodGet, "http://example.org/", nil)
	r.Header.Set("Authorization", "me")
	w = httptest.NewRecorder()
	own.ServeHTTP(w, r)
	assert.Equal(t, 200, w.Code)
	for _, bad := range []Config{{Shown: -1}, {Shown: 201}, {Silent: -1}, {MaxViewers: -1}} {
		_, err := NewHandler(nodes[0], bad)
		assert.ErrorContains(t, err, "Config.")
	}
}

// readPart returns the parts of the next event of a live page.
func readParts(t *testing.T, lines *bufio.Scanner) (all []part) {
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			require.NoError(t, json.Unmarshal([]byte(text), &all))
			return all
		}
	}
	t.Fatal("the page ended:", lines.Err())
	return nil
}

// A live page gets all parts, and then those that change. There is a bound of live pages.
func TestLive(t *testing.T) {
	nodes, h := cluster(t, Config{MaxViewers: 1, Shown: 2})
	server := httptest.NewServer(http.StripPrefix("/look", h))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	open := func() *http.Response {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/look/live", nil)
		require.NoError(t, err)
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		return response
	}
	first := open()
	defer first.Body.Close()
	assert.Equal(t, "text/event-stream", first.Header.Get("Content-Type"))
	lines := bufio.NewScanner(first.Body)
	lines.Buffer(nil, 1<<20)
	var ids []string
	for _, p := range readParts(t, lines) {
		ids = append(ids, p.ID)
	}
	assert.Equal(t, parts, ids)
	second := open()
	assert.Equal(t, http.StatusServiceUnavailable, second.StatusCode)
	second.Body.Close()
	for i := range 5 {
		propose(t, nodes, fmt.Sprintf("%s%d", markup, i), "v")
	}
	for seen := false; !seen; {
		all := readParts(t, lines)
		assert.Less(t, len(all), len(parts))
		for _, p := range all {
			assert.NotEqual(t, "members", p.ID, "they have not changed")
			if seen = p.ID == "decisions" && strings.Contains(p.HTML, "5 in all"); seen {
				assert.Equal(t, 2, strings.Count(p.HTML, "<tr data-index"), "no more than are shown")
				assert.NotContains(t, p.HTML, "<b id")
				break
			}
		}
	}
	cancel()
	require.Eventually(t, func() bool { return h.viewers.Load() == 0 }, 10*time.Second, time.Millisecond)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	third := open()
	defer third.Body.Close()
	nodes[0].Close()
	text, err := io.ReadAll(third.Body)
	require.NoError(t, err, "it ends by itself")
	assert.Contains(t, string(text), "This server has stopped.")
	server.Client().CloseIdleConnections()
}

// A trace goes over HTTP as it is, but for its errors, of which the text arrives.
func TestFetch(t *testing.T) {
	nodes, h := cluster(t, Config{})
	propose(t, nodes, "lunch", paxos.Value("\xff"+strings.Repeat("long", 100)))
	mux := http.NewServeMux()
	mux.Handle("/look/", h)
	server := httptest.NewServer(mux)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	want := TraceOf(nodes[0], "lunch")
	require.NotEmpty(t, want.Events)
	require.NotEmpty(t, want.Heard)
	var got Trace
	require.Eventually(t, func() bool {
		var err error
		want = TraceOf(nodes[0], "lunch")
		got, err = Fetch(t.Context(), server.Client(), server.URL+"/look/", "lunch")
		require.NoError(t, err)
		return assert.ObjectsAreEqual(want, got)
	}, 10*time.Second, time.Millisecond)
	kinds := map[paxos.EventKind]bool{}
	for _, e := range got.Events {
		kinds[e.Kind] = true
	}
	for _, kind := range []paxos.EventKind{paxos.EventCall, paxos.EventDone, paxos.EventSend, paxos.EventReceive, paxos.EventSave, paxos.EventRecord, paxos.EventSaved, paxos.EventLearned} {
		assert.True(t, kinds[kind], "kind %d", kind)
	}
	_, err := Fetch(t.Context(), server.Client(), server.URL+"/elsewhere", "lunch")
	assert.ErrorContains(t, err, "404")

	failed := Trace{Server: 1, Boot: 2, Events: []paxos.Event{{Kind: paxos.EventDone, Seq: 1, Server: 1, Boot: 2, Err: errors.New("too bad")}}}
	text, err := json.Marshal(failed)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, failed, got)
}

// A text that is no Trace is refused, and changes nothing.
func TestTraceRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{`, "JSON"}, {`[]`, "array"}, {`{"server": 0}`, "server"}, {`{"server": 1, "events": [{"kind": "no", "seq": 1}]}`, "no kind"},
		{`{"server": 1, "events": [{"kind": "", "seq": 1}]}`, "no kind"}, {`{"server": 1, "events": [{"kind": "call", "seq": 2}, {"kind": "call", "seq": 2}]}`, "after"},
		{`{"server": 1, "events": [{"kind": "send", "seq": 2, "message": {"kind": "what"}}]}`, "kind"},
		{`{"server": 1, "events": [` + strings.Repeat(`{},`, maxTraceEvents) + `{}]}`, "at most"},
	} {
		was := Trace{Server: 7}
		assert.ErrorContains(t, json.Unmarshal([]byte(c.text), &was), c.want)
		assert.Equal(t, Trace{Server: 7}, was)
	}
	var written atomic.Int64
	large := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for err := error(nil); err == nil && r.Context().Err() == nil; { // for ever
			_, err = w.Write(make([]byte, 1<<16))
			written.Add(1 << 16)
		}
	}))
	defer large.Close()
	defer large.Client().CloseIdleConnections()
	_, err := Fetch(t.Context(), large.Client(), large.URL, "lunch")
	assert.ErrorContains(t, err, "more than")
	assert.Less(t, written.Load(), int64(64<<20), "no more is read")
	_, err = Trace{Server: 1, Events: []paxos.Event{{Kind: 99}}}.MarshalJSON()
	assert.Error(t, err)
}

// A trace has the events of one instance, and no more than it may have.
func TestTraceOf(t *testing.T) {
	nodes, _ := cluster(t, Config{})
	propose(t, nodes, "lunch", "burger")
	propose(t, nodes, "dinner", "pizza")
	for _, e := range TraceOf(nodes[1], "lunch").Events {
		assert.Contains(t, []string{"", "lunch"}, e.Message.Instance)
		assert.True(t, e.Message.Instance != "" || e.Kind == paxos.EventSave || e.Kind == paxos.EventSaved)
	}
	assert.Empty(t, TraceOf(nodes[1], "").Events)
	heard := map[Heard][]uint64{}
	for e := range nodes[1].Events(0) {
		if e.Kind == paxos.EventReceive {
			key := Heard{Server: e.Peer, Boot: e.PeerBoot}
			heard[key] = append(heard[key], e.Packet)
		}
	}
	require.Len(t, heard, 2)
	for _, h := range TraceOf(nodes[1], "lunch").Heard {
		packets := heard[Heard{Server: h.Server, Boot: h.Boot}]
		require.NotEmpty(t, packets)
		assert.Equal(t, slices.Min(packets), h.First)
		assert.GreaterOrEqual(t, h.Last, slices.Max(packets))

	}
	for range maxTraceEvents {
		nodes[0].Propose(t.Context(), "lunch", "burger")
	}
	long := TraceOf(nodes[0], "lunch")
	assert.Len(t, long.Events, maxTraceEvents)
	assert.True(t, long.More)
}
