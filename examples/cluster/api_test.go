package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// asks sends a request to the API of a server of this process.
func asks(t *testing.T, s *server, method, path, body string, change func(*http.Request)) (code int, answer string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.listener.Addr().String()+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	answered, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer answered.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(answered.Body)
	require.NoError(t, err)
	return answered.StatusCode, text.String()
}

// TestAPI: the answers of the API, and its refusals.
func TestAPI(t *testing.T) {
	s := startOne(t)
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/read?name=a", "", 200, `{"name":"a","decided":false}`},
		{"POST", "/v1/propose", `{"name":"a","value":"x"}`, 200, `{"name":"a","decided":true,"value":"x","ballot":"2.1"}`},
		{"POST", "/v1/propose?timeout=1s", `{"name":"b","base64":"/wA="}`, 200, `"base64":"/wA="`},
		{"GET", "/v1/read?name=a&timeout=1s", "", 200, `"value":"x"`},
		{"GET", "/v1/peek?name=b", "", 200, `"base64":"/wA="`},
		{"GET", "/v1/wait?name=b", "", 200, `"base64":"/wA="`},
		{"GET", "/v1/wait?name=c&timeout=10ms", "", 504, "deadline exceeded"},
		{"GET", "/v1/read?name=c&timeout=soon", "", 400, `timeout: \"soon\"`},
		{"GET", "/v1/read", "", 400, "name is empty"},
		{"GET", "/v1/watch?after=x", "", 400, "after: "},
		{"GET", "/v1/watch?after=0&timeout=10ms", "", 200, "deadline exceeded"},
		{"GET", "/v1/watch?since=0", "", 400, `unknown parameter \"since\"`},
		{"GET", "/v1/read?name=a&name=b", "", 400, "name: it is given 2 times"},
		{"GET", "/v1/wait?name=c&timeuot=1s", "", 400, `unknown parameter \"timeuot\": want name, timeout`},
		{"GET", "/v1/read?name=caf%e9", "", 400, "UTF-8"},
		{"GET", "/v1/read?name=a;b", "", 400, "query: "},
		{"GET", "/v1/status?verbose=1", "", 400, `unknown parameter \"verbose\"`},
		{"POST", "/v1/propose", `{"name":"a"`, 400, "body: "},
		{"POST", "/v1/propose", `{"name":"big","value":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too large"},
		{"GET", "/v1/propose", "", 405, ""},
		{"POST", "/v1/forget", "", 400, "name, prefix: want one of them"},
		{"POST", "/v1/forget?name=b&prefix=b", "", 400, "name, prefix: want one of them"},
		{"POST", "/v1/forget?name=$x", "", 400, "reserved"},
		{"POST", "/v1/forget?name=c2", "", 200, `"forgotten":["c2","c2\u0000"]`},
		{"GET", "/v1/peek?name=c2", "", 410, `instance \"c2\" is forgotten`},
		{"POST", "/v1/propose", `{"name":"job/1","value":"x"}`, 200, `"decided":true`},
		{"POST", "/v1/forget?prefix=job/", "", 200, `"forgotten":["job/","job0"]`},
		{"GET", "/v1/read?name=job/1", "", 410, `all names from \"job/\" to below \"job0\" are`},
		{"GET", "/v1/watch?after=0&timeout=10ms", "", 200, `"forgotten":["job/","job0"]`},
		{"GET", "/v1/forget?prefix=x", "", 405, ""},
		{"GET", "/v1/status", "", 200, `"id":1`},
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/", "", 404, ""},
	} {
		code, text := asks(t, s, test.method, test.path, test.body, nil)
		assert.Equal(t, test.code, code, "%s: %.200s", test.path, text)
		assert.Contains(t, text, test.want)
	}
	code, text := asks(t, s, "GET", "/v1/read?name=a", "", func(r *http.Request) { r.Host = "evil.example" })
	assert.Equal(t, 403, code, "%s", text)
	code, text = asks(t, s, "POST", "/v1/forget?prefix=a", "", func(r *http.Request) { r.Header.Del("Content-Type") })
	assert.Equal(t, 415, code, "%s", text)
	code, text = asks(t, s, "POST", "/v1/propose", `{"name":"d","value":"x"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	assert.Equal(t, 415, code, "%s", text)

	c := newClient(s.listener.Addr().String())
	defer c.close()
	var seen []string
	err := c.watch(context.Background(), 0, func(a answer) error {
		if seen = append(seen, a.Name+"="+a.value()); len(seen) == 2 {
			return errQuit
		}
		return nil
	})
	require.ErrorIs(t, err, errQuit)
	assert.Equal(t, []string{"a=x", "b=\xff\x00"}, seen)
}

// TestAPIRefusesWhatIsNearlyRight: a proposal that may mean something else than it says is refused, and nothing is decided.
func TestAPIRefusesWhatIsNearlyRight(t *testing.T) {
	s := startOne(t)
	for body, want := range map[string]string{
		`{"name":"a","value":"caf` + "\xe9" + `"}`:         "it is not valid UTF-8",
		`{"name":"caf` + "\xe9" + `","value":"v"}`:         "it is not valid UTF-8",
		`{"name":"a","value":"caf\ud83d"}`:                 "half of a",
		`{"name":"a","value":"\\\udc00"}`:                  "half of a",
		`{"name":"a","value":"\ud83d\ud83d"}`:              "half of a",
		`{"name":"a","vlaue":"v"}`:                         `unknown field \"vlaue\"`,
		`{"name":"a","Value":"v"}`:                         `unknown field \"Value\"`,
		`{"name":"a","value":"v","base64":"dw=="}`:         "both are given",
		`{"name":"a","value":"v","value":"w"}`:             "value: it is given twice",
		`{"name":"a"}`:                                     "value: it is missing",
		`{"name":"a","value":null}`:                        "value: it is not a string",
		`{"name":"a","value":7}`:                           "value: it is not a string",
		`{"name":"a","value":{"x":1}}`:                     "value: it is not a string",
		`{"value":"v"}`:                                    "name: it is missing",
		`{"name":"","value":"v"}`:                          "name is empty",
		`{"name":"a","base64":"dw="}`:                      "base64: ",
		`{"name":"a","base64":"dx=="}`:                     "base64: ",
		`{"name":"a","value":"v"}{"name":"b","value":"w"}`: "something follows",
		`{"name":"a","value":"v"} x`:                       "something follows",
		`{"name":"a","value":"v"`:                          "unexpected EOF",
		`["name","a","value","v"]`:                         "not a JSON object",
		``:                                                 "it is empty",
	} {
		code, text := asks(t, s, "POST", "/v1/propose", body, nil)
		assert.Equal(t, 400, code, "%s: %s", body, text)
		assert.Contains(t, text, want, "%s", body)
	}
	code, text := asks(t, s, "POST", "/v1/propose?timeuot=1s", `{"name":"a","value":"v"}`, nil)
	assert.Equal(t, 400, code, "%s", text)
	code, text = asks(t, s, "POST", "/v1/propose", `{"name":"a","value":"`+strings.Repeat("x", maxProposal)+`"}`, nil)
	assert.Equal(t, 413, code, "%s", text)
	for _, header := range []string{"", "text/plain", "application/jsonl", "application/json; charset=latin1", "application/json; charset"} {
		code, text := asks(t, s, "POST", "/v1/propose", `{"name":"a","value":"v"}`, func(r *http.Request) { r.Header.Set("Content-Type", header) })
		assert.Equal(t, 415, code, "%s: %s", header, text)
		assert.Contains(t, text, "Content-Type: ")
	}
	status := s.node.Status()
	assert.Zero(t, status.Counters.Decided, "nothing was decided")
	assert.Zero(t, status.Counters.Attempts, "nothing was tried")
}

// TestAPITakesWhatIsRight: requests that a client may send, byte for byte.
func TestAPITakesWhatIsRight(t *testing.T) {
	s := startOne(t)
	for i, test := range []struct{ header, value, want string }{
		{"application/json; charset=utf-8", `"value":"v"`, "v"},
		{"Application/JSON;charset=UTF-8", `"value":"v"`, "v"},
		{"application/json", `"value":""`, ""},
		{"application/json", `"base64":""`, ""},
		{"application/json", `"base64":"/wA="`, "\xff\x00"},
		{"application/json", `"value":"\ud83c\udf54 \\ud83c \ufffd \u0000"`, "🍔 \\ud83c \ufffd \x00"},
		{"application/json", ` "value" : "caf\u00e9" ` + "\n", "café"},
	} {
		name := string(rune('a' + i))
		code, text := asks(t, s, "POST", "/v1/propose", `{"name":"`+name+`",`+test.value+"}\n", func(r *http.Request) { r.Header.Set("Content-Type", test.header) })
		require.Equal(t, 200, code, "%s: %s", test.value, text)
		d, ok, err := s.node.Peek(context.Background(), name)
		require.NoError(t, err)
		require.True(t, ok)
		assert.Equal(t, test.want, string(d.Value))
	}
}

// TestClientSendsWhatItIsGiven: a name that JSON can't hold is refused, and not changed on the way; any value is held.
func TestClientSendsWhatItIsGiven(t *testing.T) {
	s := startOne(t)
	c := newClient(s.listener.Addr().String())
	defer c.close()
	_, err := c.propose(context.Background(), "caf\xe9", "v", aWhile)
	require.ErrorContains(t, err, "not valid UTF-8")
	assert.False(t, unknown(err))
	for name, value := range map[string]string{"empty": "", "bytes": "\xff\x00", "text": "\ufffd\u2028<&>\"\\"} {
		a, err := c.propose(context.Background(), name, value, aWhile)
		require.NoError(t, err)
		assert.Equal(t, value, a.value())
	}
	assert.Equal(t, uint64(3), s.node.Status().Counters.Decided)
}

// A server is not healthy while it has stopped, has a proof that the protocol was broken, has a disk that hangs, or has no quorum.
func TestUnhealthy(t *testing.T) {
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
		assert.Equal(t, test.want, unhealthy(test.status), test.name)
	}
}

// TestHealthWithoutAQuorum: a server whose peers are gone says so, though nobody calls anything.
func TestHealthWithoutAQuorum(t *testing.T) {
	t.Parallel()
	a := newApart(t, program(t), 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*aWhile)
	defer cancel()
	_, reach := a.children[0].now()
	_, err := reach.propose(ctx, "x", "y", aWhile)
	require.NoError(t, err)
	health := func() int {
		answered, err := http.Get("http://" + reach.addr + "/healthz")
		require.NoError(t, err)
		defer answered.Body.Close()
		return answered.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	require.Equal(t, 200, health())
	require.NoError(t, a.children[1].kill())
	require.NoError(t, a.children[2].kill())
	require.Eventually(t, func() bool { return health() == 503 }, aWhile, 50*time.Millisecond)
	require.NoError(t, a.children[1].start())
	require.Eventually(t, func() bool { return health() == 200 }, aWhile, 50*time.Millisecond)
}
