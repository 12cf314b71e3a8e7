package openapitest

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/paxoshttp"
)

// A failing server is a Node, or fails each call with err.
type failing struct {
	*node.Node
	err error
}

func (f *failing) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	if f.err != nil {
		return paxos.Decision{}, f.err
	}
	return f.Node.Propose(ctx, instance, v)
}

func (f *failing) Read(ctx context.Context, instance string) (paxos.Decision, bool, error) {
	if f.err != nil {
		return paxos.Decision{}, false, f.err
	}
	return f.Node.Read(ctx, instance)
}

func (f *failing) Peek(ctx context.Context, instance string) (paxos.Decision, bool, error) {
	if f.err != nil {
		return paxos.Decision{}, false, f.err
	}
	return f.Node.Peek(ctx, instance)
}

func (f *failing) Wait(ctx context.Context, instance string) (paxos.Decision, error) {
	if f.err != nil {
		return paxos.Decision{}, f.err
	}
	return f.Node.Wait(ctx, instance)
}

func (f *failing) Forget(ctx context.Context, names paxos.NameRange) error {
	if f.err != nil {
		return f.err
	}
	return f.Node.Forget(ctx, names)
}

func (f *failing) Change(ctx context.Context, next paxos.Members) (paxos.Configuration, error) {
	if f.err != nil {
		return paxos.Configuration{}, f.err
	}
	return f.Node.Change(ctx, next)
}

func (f *failing) Ready(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	return f.Node.Ready(ctx)
}

func (f *failing) Settled(ctx context.Context) error {
	if f.err != nil {
		return f.err
	}
	return f.Node.Settled(ctx)
}

func (f *failing) Decisions(ctx context.Context, after uint64, within ...paxos.NameRange) iter.Seq2[paxos.Learned, error] {
	if f.err != nil {
		return func(yield func(paxos.Learned, error) bool) { yield(paxos.Learned{}, f.err) }
	}
	return f.Node.Decisions(ctx, after, within...)
}

// Status is that of a server that has every flaw, while err is set.
func (f *failing) Status() paxos.Status {
	s := f.Node.Status()
	if f.err != nil {
		s.NoQuorum, s.StorageWait, s.Settled, s.Err, s.Index, s.Open, s.Orphaned = time.Second, time.Second, false, f.err, 0, 2, 1
		s.Import = paxos.ImportStatus{Sources: 2, Done: 1, Records: 7, Goal: 9}
		s.Broken = []*paxos.SafetyError{{Reason: "so"}}
		s.Instances = []paxos.OpenInstance{{Instance: "a", Age: time.Second, Calls: 1}, {Instance: "b", Ballot: paxos.Ballot{Round: 1<<48 | 7, Server: 2}, Orphaned: true}}
		s.Peers = append(s.Peers, paxos.PeerStatus{ID: 1<<64 - 1, Heard: time.Second, Taken: 4, Dropped: 3, Refused: "so", Limits: "so"})
	}
	return s
}

// A service is a checked handler of a server that a test makes fail.
type service struct {
	*checked
	server *failing
	allow  error
	left   []paxos.ServerID
	leftBy error
	url    string
}

func serve(t *testing.T) *service {
	nodes, stop, err := memory.Cluster(memory.Config{Servers: 1})
	t.Cleanup(stop)
	require.NoError(t, err)
	s := &service{checked: newChecked(t), server: &failing{Node: nodes[0]}}
	s.handler, err = paxoshttp.NewHandler(s.server, paxoshttp.Config{
		Allow: func(*http.Request, paxoshttp.Action) error { return s.allow },
		Host: paxoshttp.Host{
			Listen: func() string { return "one:7000" },
			Links:  func() []paxoshttp.Link { return []paxoshttp.Link{{ID: 1<<64 - 1, Addr: "two:7000", Err: "so"}} },
			Stored: func() (int, int64) { return 7, 4096 },
			Left:   func() ([]paxos.ServerID, error) { return s.left, s.leftBy },
		}})
	require.NoError(t, err)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// asks sends a question, and returns the status.
func (s *service) asks(method, path, body string, change ...func(*http.Request)) int {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

// A call is a question that is right.
type call struct{ method, path, body string }

const members = `{"acceptors":[1],"learners":[],"addresses":{}}`

var calls = []call{
	{"POST", "/propose", `{"name":"a","value":"x"}`}, {"GET", "/read?name=a", ""}, {"GET", "/wait?name=a", ""}, {"GET", "/peek?name=a", ""},
	{"GET", "/watch?after=1", ""}, {"POST", "/forget?name=f", ""}, {"GET", "/members", ""}, {"POST", "/change", members}, {"GET", "/settled", ""}, {"GET", "/ready", ""},
	{"GET", "/status", ""}, {"GET", "/livez", ""}, {"GET", "/readyz", ""}, {"GET", "/healthz", ""}, {"GET", "/openapi.json", ""},
}

// TestOpenAPI: all questions and answers are as openapi.json describes them, for each call that succeeds and each way to fail. Each call, each
// status and each code in it occurs.
func TestOpenAPI(t *testing.T) {
	s := serve(t)
	s.succeed()
	s.malform()
	s.forbid()
	s.fail()
	s.stop()
	s.complete()
}

// succeed makes each call, by a Client and by hand.
func (s *service) succeed() {
	t := s.t
	c, err := paxoshttp.NewClient(paxoshttp.ClientConfig{Servers: []string{s.url}})
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, value := range map[string]paxos.Value{"a": "x", "empty": "", "bytes": "\xff\x00", "lines\u2028": "\n\r\n<&>", "f": "x"} {
		_, _, err := c.Read(ctx, name)
		require.NoError(t, err)
		_, err = c.Propose(ctx, name, value)
		require.NoError(t, err)
		_, _, err = c.Peek(ctx, name)
		require.NoError(t, err)
		_, err = c.Wait(ctx, name)
		require.NoError(t, err)
	}
	require.NoError(t, c.Forget(ctx, paxos.Prefix("f")))
	require.NoError(t, c.Forget(ctx, paxos.NameRange{From: "z\xff", To: "z\xff\xff"}))
	require.NoError(t, c.Ready(ctx))
	number, err := c.Change(ctx, paxos.Members{Acceptors: []paxos.ServerID{1}, Learners: []paxos.ServerID{1<<64 - 1}, Addresses: map[paxos.ServerID]string{1: "one:7000"}})
	require.NoError(t, err)
	require.NoError(t, c.Settled(ctx, number))
	_, err = c.Members(ctx)
	require.NoError(t, err)
	_, err = c.Status(ctx)
	require.NoError(t, err)
	for _, accept := range []string{"*/*", "text/event-stream"} {
		status := s.asks("GET", "/watch?timeout=20ms&prefix=a&prefix=b&prefix=e&from=f&to=zz", "", func(r *http.Request) { r.Header.Set("Accept", accept) })
		assert.Equal(t, 200, status)
	}
	for _, c := range calls[6:] {
		assert.Equal(t, 200, s.asks(c.method, c.path, c.body), c.path)
	}
}

// malform sends questions that are not right.
func (s *service) malform() {
	for _, c := range calls {
		sign := map[bool]string{true: "&", false: "?"}[strings.Contains(c.path, "?")]
		for path, want := range map[string]int{c.path + sign + "timeuot=1s": 400, strings.Split(c.path, "?")[0] + "?timeout=soon": 400} {
			if strings.HasSuffix(strings.Split(c.path, "?")[0], "z") || strings.HasPrefix(c.path, "/openapi") || strings.HasSuffix(path, "soon") && (c.path == "/status" || c.path == "/members") {
				continue // they take any query, or do not look at this parameter
			}
			assert.Equal(s.t, want, s.asks(c.method, path, c.body), path)
		}
		assert.Equal(s.t, 405, s.asks("PUT", c.path, c.body))
		if c.method == "POST" {
			assert.Equal(s.t, 415, s.asks(c.method, c.path, c.body, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }))
		}
	}
	large := strings.Repeat(" ", 8<<20+1)
	for path, want := range map[string]int{"/propose": 413, "/change": 413} {
		assert.Equal(s.t, want, s.asks("POST", path, large))
	}
	for body, want := range map[string]int{`{"name":"a"}`: 400, `{"name":"a","value":"x","base64":"eA=="}`: 400, `{"name":"a","value":7}`: 400, `[]`: 400, `{"name":"","value":"x"}`: 400,
		`{"name":"a","value":"x","more":1}`: 400, `{"name":"big","value":"` + strings.Repeat("x", 2<<20) + `"}`: 413, `{"name":"f","value":"x"}`: 410} {
		assert.Equal(s.t, want, s.asks("POST", "/propose", body), "%.80s", body)
	}
	for body, want := range map[string]int{`{"acceptors":[1]}`: 400, `{"acceptors":[0],"learners":[],"addresses":{}}`: 400, `{"acceptors":[2,1],"learners":[],"addresses":{}}`: 400} {
		assert.Equal(s.t, want, s.asks("POST", "/change", body), body)
	}
	assert.Equal(s.t, 404, s.asks("GET", "/reads", ""))
	assert.Equal(s.t, 409, s.asks("GET", "/watch?after=1000000", ""))
	assert.Equal(s.t, 409, s.asks("GET", "/watch?store=7", ""))
	s.left = []paxos.ServerID{9}
	assert.Equal(s.t, 409, s.asks("POST", "/change", `{"acceptors":[1],"learners":[9],"addresses":{}}`))
	assert.Equal(s.t, 200, s.asks("GET", "/members", ""))
	s.left = nil
}

// forbid has the hook refuse each call.
func (s *service) forbid() {
	for err, want := range map[error]int{errors.New("not you"): 403, paxoshttp.ErrUnauthenticated: 401} {
		s.allow = err
		for _, c := range calls {
			assert.Equal(s.t, want, s.asks(c.method, c.path, c.body), c.path)
		}
	}
	s.allow = nil
}

// fail has each call fail in the ways that it can.
func (s *service) fail() {
	everywhere := map[error]int{errors.New("disk"): 500, paxos.ErrBusy: 503, paxos.ErrClosed: 503, context.Canceled: 503, context.DeadlineExceeded: 504, paxos.ErrNotMember: 403}
	about := map[error]int{&paxos.ForgottenError{Names: paxos.NameRange{From: "a", To: "\xff"}}: 410, paxos.ErrTooLarge: 413, paxos.ErrRounds: 503, paxos.ErrName: 400,
		&paxos.SafetyError{Instance: "a", Ballot: paxos.Ballot{Round: 1, Server: 2}, Values: [2]paxos.Value{"x", "\xff"}, Server: 3, Reason: "so"}: 500}
	own := map[string]map[error]int{"/propose": about, "/read": about, "/wait": about, "/peek": about, "/forget": {paxos.ErrTooLarge: 413, paxos.ErrName: 400},
		"/change": {paxos.ErrConflict: 409, paxos.ErrNotReady: 503}, "/watch": {paxos.ErrIndex: 409}}
	for _, c := range calls[:10] {
		if c.path == "/members" {
			continue
		}
		path, _, _ := strings.Cut(c.path, "?")
		for _, errs := range []map[error]int{everywhere, own[path]} {
			for err, want := range errs {
				s.server.err = &paxos.OpError{Op: path[1:], Instance: "a", Phase: "accept", Ballot: paxos.Ballot{Round: 2, Server: 1}, Answered: []paxos.ServerID{1}, Refused: []paxos.ServerID{1},
					Silent: []paxos.ServerID{2}, Quorum: "majority(2) needs 2", Storage: time.Second, Err: err}
				assert.Equal(s.t, want, s.asks(c.method, c.path, c.body), "%s: %v", path, err)
			}
		}
	}
	assert.Equal(s.t, 200, s.asks("GET", "/status", ""), "with every flaw")
	assert.Equal(s.t, 200, s.asks("GET", "/members", ""))
	assert.Equal(s.t, 503, s.asks("GET", "/readyz", ""))
	assert.Equal(s.t, 503, s.asks("GET", "/healthz", ""))
	s.server.err, s.leftBy = nil, errors.New("disk")
	assert.Equal(s.t, 500, s.asks("GET", "/members", ""))
	s.leftBy = nil
}

// stop asks a server that is full, and one that has stopped.
func (s *service) stop() {
	was := s.handler
	defer func() { s.handler = was }()
	entered, release := make(chan struct{}), make(chan struct{})
	full, err := paxoshttp.NewHandler(s.server, paxoshttp.Config{MaxCalls: 1, Allow: func(_ *http.Request, a paxoshttp.Action) error {
		if a.Call == paxoshttp.CallReady {
			close(entered)
			<-release
		}
		return nil
	}})
	require.NoError(s.t, err)
	s.handler = full
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.asks("GET", "/ready", "")
	}()
	<-entered
	for _, path := range []string{"/status", "/members"} {
		assert.Equal(s.t, 503, s.asks("GET", path, ""))
	}
	close(release)
	<-ended
	require.NoError(s.t, s.server.Close())
	assert.Equal(s.t, 503, s.asks("GET", "/livez", ""))
}
