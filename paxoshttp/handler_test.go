package paxoshttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestCalls: the answers to calls, and their refusals.
func TestCalls(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/read?name=a", "", 200, `{"name":"a","decided":false}` + "\n"},
		{"POST", "/propose", `{"name":"a","value":"x"}`, 200, `{"name":"a","decided":true,"value":"x","ballot":"`},
		{"POST", "/propose?timeout=1m", `{"name":"b","base64":"/wA="}`, 200, `"base64":"/wA="`},
		{"GET", "/read?name=a&timeout=1m", "", 200, `"value":"x"`},
		{"GET", "/peek?name=b", "", 200, `"base64":"/wA="`},
		{"GET", "/peek?name=never", "", 200, `{"name":"never","decided":false}` + "\n"},
		{"GET", "/wait?name=b", "", 200, `"base64":"/wA="`},
		{"GET", "/wait?name=c&timeout=1ms", "", 504, `"code":"timeout"`},
		{"GET", "/read?name=c&timeout=soon", "", 400, `timeout: \"soon\" is not a positive duration","code":"malformed"`},
		{"GET", "/read?name=c&timeout=-1s", "", 400, "timeout: "},
		{"GET", "/read", "", 400, `name is empty","code":"name"`},
		{"GET", "/watch?after=x", "", 400, "after: "},
		{"GET", "/watch?since=0", "", 400, `unknown parameter \"since\"`},
		{"GET", "/watch?from=a", "", 400, "from, to: 1 of one and 0 of the other"},
		{"GET", "/watch?store=xyz", "", 400, `store: \"xyz\" is not a number of base 16`},
		{"GET", "/watch?timeout=never", "", 400, "timeout: "},
		{"GET", "/watch?" + strings.Repeat("prefix=a&", 65), "", 400, "prefix: it is given 65 times"},
		{"GET", "/watch?from=a&to=b&" + strings.Repeat("prefix=a&", 64), "", 400, "65 ranges: want at most 64"},
		{"GET", "/read?name=a&name=b", "", 400, "name: it is given 2 times"},
		{"GET", "/wait?name=c&timeuot=1s", "", 400, `unknown parameter \"timeuot\": want name, timeout`},
		{"GET", "/read?name=caf%e9", "", 400, "UTF-8"},
		{"GET", "/read?name=a;b", "", 400, "query: "},
		{"GET", "/status?verbose=1", "", 400, `unknown parameter \"verbose\"`},
		{"GET", "/status?timeout=soon", "", 400, "timeout: "},
		{"GET", "/members?timeout=soon", "", 400, "timeout: "},
		{"POST", "/propose", `{"name":"a"`, 400, "body: "},
		{"POST", "/propose", `{"name":"big","value":"` + strings.Repeat("x", 2<<20) + `"}`, 413, `"code":"too_large"`},
		{"GET", "/propose", "", 405, `"code":"method"`},
		{"HEAD", "/read?name=a", "", 405, `"code":"method"`},
		{"POST", "/forget", "", 400, "name, prefix: want one of them"},
		{"POST", "/forget?name=b&prefix=b", "", 400, "name, prefix: want one of them"},
		{"POST", "/forget?from=a", "", 400, "from, to: one is missing"},
		{"POST", "/forget?from=b&to=a", "", 400, `is empty","code":"name"`},
		{"POST", "/forget?name=$x", "", 400, "reserved"},
		{"POST", "/forget?name=c2", "", 200, `"forgotten":["c2","c2\u0000"]`},
		{"GET", "/peek?name=c2", "", 410, `instance \"c2\" is forgotten`},
		{"POST", "/propose", `{"name":"job/1","value":"x"}`, 200, `"decided":true`},
		{"POST", "/forget?prefix=job/", "", 200, `"forgotten":["job/","job0"]`},
		{"GET", "/read?name=job/1", "", 410, `"code":"forgotten","forgotten":["job/","job0"]`},
		{"POST", "/propose", `{"name":"job/2","value":"x"}`, 410, `"code":"forgotten","forgotten":["job/","job0"]`},
		{"POST", "/forget?from=z%ff&to=z%ff%ff", "", 200, `"forgottenBase64":["ev8=","ev//"]`},
		{"GET", "/forget?prefix=x", "", 405, ""},
		{"GET", "/status", "", 200, `"id":1,"store":"`},
		{"GET", "/healthz", "", 200, `"ok"` + "\n"},
		{"GET", "/livez?verbose", "", 200, `"ok"` + "\n"},
		{"GET", "/readyz", "", 200, `"ok"` + "\n"},
		{"HEAD", "/livez", "", 200, ""},
		{"GET", "/", "", 404, `"code":"not_found"`},
		{"GET", "/v1/read?name=a", "", 404, `"code":"not_found"`},
	} {
		code, text := asks(h, test.method, test.path, test.body)
		assert.Equal(t, test.code, code, "%s: %.200s", test.path, text)
		assert.Contains(t, text, test.want, test.path)
		if code != 200 {
			assert.Equal(t, code, failed(t, text).Code.Status(), "%s: %s", test.path, text)
		}
	}
}

// TestHeaders: answers are never stored, and say what a client can do about an error.
func TestHeaders(t *testing.T) {
	s := &fake{read: func(context.Context, string) (paxos.Decision, bool, error) {
		return paxos.Decision{}, false, paxos.ErrBusy
	}}
	h := handlerOf(t, s, Config{Allow: func(r *http.Request, a Action) error {
		if a.Call == CallStatus {
			return ErrUnauthenticated
		}
		return nil
	}})
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic")
		h.ServeHTTP(w, r)
	})
	for _, test := range []struct {
		handler             http.Handler
		method, path        string
		code                int
		header, want, other string
	}{
		{h, "GET", "/read?name=a", 503, "Retry-After", "1", "WWW-Authenticate"},
		{h, "PUT", "/read?name=a", 405, "Allow", "GET", "Retry-After"},
		{h, "GET", "/propose", 405, "Allow", "POST", "Retry-After"},
		{h, "POST", "/livez", 405, "Allow", "GET, HEAD", "Retry-After"},
		{h, "GET", "/status", 401, "WWW-Authenticate", "Bearer", "Allow"},
		{guarded, "GET", "/status", 401, "WWW-Authenticate", "Basic", "Allow"},
	} {
		w := httptest.NewRecorder()
		test.handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		assert.Equal(t, test.code, w.Code, test.path)
		assert.Equal(t, test.want, w.Header().Get(test.header), test.path)
		assert.Empty(t, w.Header().Get(test.other), test.path)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	}
}

// TestPrefix: a host mounts the handler below any prefix.
func TestPrefix(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/registers/v1/", http.StripPrefix("/registers/v1", handlerOf(t, startNodes(t, 1)[0], Config{})))
	code, text := asks(mux, "GET", "/registers/v1/read?name=a", "")
	assert.Equal(t, 200, code, text)
	code, text = asks(mux, "GET", "/registers/v1/reads?name=a", "")
	assert.Equal(t, 404, code)
	assert.Contains(t, text, `there is no such call`)
}

// TestUnknownIsTold: an answer says when the value may be chosen all the same, and how far the call came.
func TestUnknownIsTold(t *testing.T) {
	nodes := startNodes(t, 3)
	require.NoError(t, nodes[1].Close())
	require.NoError(t, nodes[2].Close())
	h := handlerOf(t, nodes[0], Config{})
	var f failure
	for timeout := time.Millisecond; f.Call == nil || f.Call.Phase == ""; timeout *= 2 { // else it had not begun
		code, text := asks(h, "POST", "/propose?timeout="+timeout.String(), `{"name":"a","value":"x"}`)
		assert.Equal(t, 504, code)
		f = failed(t, text)
		require.NotNil(t, f.Call)
	}
	assert.Equal(t, CodeTimeout, f.Code)
	assert.Equal(t, "propose", f.Call.Op)
	assert.Equal(t, "majority(3) needs 2", f.Call.Quorum)
	assert.True(t, f.Unknown)
	code, text := asks(h, "POST", "/propose?timeout=1ms", `{"name":"","value":"x"}`)
	assert.Equal(t, 400, code)
	assert.False(t, failed(t, text).Unknown)
	code, text = asks(h, "GET", "/read?name=a&timeout=1ms", "")
	assert.Equal(t, 504, code)
	assert.False(t, failed(t, text).Unknown, "a Read is never Unknown")
	require.NoError(t, nodes[0].Close())
	code, text = asks(h, "POST", "/propose", `{"name":"b","value":"x"}`)
	assert.Equal(t, 503, code)
	assert.Equal(t, CodeClosed, failed(t, text).Code)
	assert.False(t, failed(t, text).Unknown)
}

// TestAllow: the hook is asked once for every call, with its names, and nothing is done if it refuses.
func TestAllow(t *testing.T) {
	var asked []Action
	var answer error
	did := 0
	s := &fake{
		propose: func(context.Context, string, paxos.Value) (paxos.Decision, error) {
			did++
			return paxos.Decision{}, nil
		},
		read: func(context.Context, string) (paxos.Decision, bool, error) {
			did++
			return paxos.Decision{}, false, nil
		},
		wait:      func(context.Context) error { did++; return nil },
		forget:    func(paxos.NameRange) error { did++; return nil },
		change:    func(paxos.Members) (paxos.Configuration, error) { did++; return paxos.Configuration{}, nil },
		decisions: func(func(paxos.Learned, error) bool) { did++ },
		status:    func() paxos.Status { did++; return paxos.Status{} },
		done:      make(chan struct{}),
	}
	h := handlerOf(t, s, Config{Allow: func(_ *http.Request, a Action) error {
		asked = append(asked, a)
		return answer
	}})
	one, job, all := paxos.OneName("a"), paxos.Prefix("job/"), paxos.Prefix("")
	tests := []struct {
		method, path, body string
		want               Action
	}{
		{"POST", "/propose", `{"name":"a","value":"x"}`, Action{CallPropose, []paxos.NameRange{one}}},
		{"GET", "/read?name=a", "", Action{CallRead, []paxos.NameRange{one}}},
		{"GET", "/peek?name=a", "", Action{CallPeek, []paxos.NameRange{one}}},
		{"GET", "/wait?name=a", "", Action{CallWait, []paxos.NameRange{one}}},
		{"GET", "/watch", "", Action{CallWatch, []paxos.NameRange{all}}},
		{"GET", "/watch?prefix=job/&from=a&to=a%00", "", Action{CallWatch, []paxos.NameRange{job, one}}},
		{"POST", "/forget?prefix=job/", "", Action{CallForget, []paxos.NameRange{job}}},
		{"POST", "/change", `{"acceptors":[1],"learners":[],"addresses":{}}`, Action{Call: CallChange}},
		{"GET", "/members", "", Action{Call: CallMembers}},
		{"GET", "/settled", "", Action{Call: CallSettled}},
		{"GET", "/ready", "", Action{Call: CallReady}},
		{"GET", "/status", "", Action{Call: CallStatus}},
		{"GET", "/livez", "", Action{Call: CallLivez}},
		{"GET", "/readyz", "", Action{Call: CallReadyz}},
		{"GET", "/healthz", "", Action{Call: CallHealthz}},
		{"GET", "/openapi.json", "", Action{Call: CallDescribe}},
	}
	routes := map[string]bool{}
	for _, test := range tests {
		routes[test.want.Call] = true
		for err, want := range map[error]int{
			errors.New("not you"): 403, ErrForbidden: 403, ErrUnauthenticated: 401,
		} {
			asked, answer = nil, err
			code, text := asks(h, test.method, test.path, test.body)
			assert.Equal(t, want, code, "%s: %s", test.path, text)
			assert.Contains(t, text, err.Error())
			assert.Equal(t, []Action{test.want}, asked, test.path)
		}
	}
	assert.Zero(t, did, "nothing was done")
	answer = nil
	for _, test := range tests {
		code, text := asks(h, test.method, test.path, test.body)
		assert.Equal(t, 200, code, "%s: %s", test.path, text)
	}
	assert.NotZero(t, did)
	for call := range h.routes {
		assert.True(t, routes[call], "%s is asked for", call)
	}
}

// TestLoopback: by default, only requests for an address of this machine are answered.
func TestLoopback(t *testing.T) {
	h := handlerOf(t, &fake{done: make(chan struct{})}, Config{})
	for host, want := range map[string]int{
		"localhost": 200, "localhost:80": 200, "127.0.0.1:8000": 200, "127.9.9.9": 200, "[::1]:8000": 200, "[::1]": 200, "::1": 200,
		"evil.example": 403, "evil.example:8000": 403, "10.0.0.1": 403, "localhost.evil.example": 403, "": 403, "[::2]:80": 403, "[": 403,
	} {
		code, text := asks(h, "GET", "/livez", "", func(r *http.Request) { r.Host = host })
		assert.Equal(t, want, code, "%s: %s", host, text)
	}
}

// TestContentType: a page can't send what changes something, as its browser asks for permission first.
func TestContentType(t *testing.T) {
	h := handlerOf(t, startNodes(t, 1)[0], Config{})
	for path, body := range map[string]string{"/propose": `{"name":"a","value":"v"}`, "/forget?name=a": "", "/change": `{"acceptors":[1],"learners":[],"addresses":{}}`} {
		for _, header := range []string{"", "text/plain", "application/jsonl", "application/json; charset=latin1", "application/json; charset"} {
			code, text := asks(h, "POST", path, body, func(r *http.Request) { r.Header.Set("Content-Type", header) })
			assert.Equal(t, 415, code, "%s: %s", header, text)
			assert.Contains(t, text, "Content-Type: ")
		}
	}
	assert.Zero(t, h.server.Status().Counters.Attempts)
	for _, header := range []string{"application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		code, text := asks(h, "POST", "/propose", `{"name":"a","value":"v"}`, func(r *http.Request) { r.Header.Set("Content-Type", header) })
		assert.Equal(t, 200, code, "%s: %s", header, text)
	}
}

// TestConfig: an error names the field.
func TestConfig(t *testing.T) {
	for want, c := range map[string]Config{
		"Config.MaxTimeout: -1s: want 1ms to 24h": {MaxTimeout: -time.Second}, "Config.ReadyTimeout: ": {ReadyTimeout: 1}, "Config.BodyTimeout: ": {BodyTimeout: 1},
		"Config.WriteTimeout: ": {WriteTimeout: 1}, "Config.Heartbeat: ": {Heartbeat: 1}, "Config.MaxBody: 8388609: want 1 to 8388608": {MaxBody: most + 1},
		"Config.MaxBodies: 5 is below MaxBody": {MaxBodies: 5}, "Config.MaxAnswers: 5 is below 8388608": {MaxAnswers: 5}, "Config.MaxCalls: -1": {MaxCalls: -1}, "Config.MaxWatches: ": {MaxWatches: -1},
	} {
		_, err := NewHandler(&fake{}, c)
		assert.ErrorContains(t, err, "paxoshttp: "+want)
	}
	_, err := NewHandler(nil, Config{})
	assert.ErrorContains(t, err, "Server: it is nil")
	_, err = NewHandler((*fake)(nil), Config{})
	assert.ErrorContains(t, err, "Server: it is nil")
}
