package main

import (
	"bytes"
	"context"
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
		{"GET", "/livez", "", 200, "ok"},
		{"GET", "/readyz", "", 200, "ok"},
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

	c, err := newClient(s.listener.Addr().String())
	require.NoError(t, err)
	defer c.close()
	var seen []string
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = c.watch(ctx, func(d paxos.Learned, _ *paxos.ForgottenError) {
		if seen = append(seen, d.Instance+"="+string(d.Value)); len(seen) == 2 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{"a=x", "b=\xff\x00"}, seen[:2])
}

// TestClientSendsWhatItIsGiven: a name that JSON can't hold is refused, and not changed on the way; any value is held.
func TestClientSendsWhatItIsGiven(t *testing.T) {
	s := startOne(t)
	c, err := newClient(s.listener.Addr().String())
	require.NoError(t, err)
	defer c.close()
	_, err = c.propose(context.Background(), "caf\xe9", "v", aWhile)
	require.ErrorContains(t, err, "not valid UTF-8")
	assert.False(t, paxos.Unknown(err))
	for name, value := range map[string]string{"empty": "", "bytes": "\xff\x00", "text": "\ufffd\u2028<&>\"\\"} {
		d, err := c.propose(context.Background(), name, value, aWhile)
		require.NoError(t, err)
		assert.Equal(t, value, string(d.Value))
	}
	assert.Equal(t, uint64(3), s.node.Status().Counters.Decided)
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
