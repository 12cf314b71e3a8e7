package paxoshttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/commit"
	"github.com/singledecree/paxos/recipe/idempotency"
	"github.com/singledecree/paxos/recipe/once"
	"github.com/singledecree/paxos/recipe/sequence"
	"github.com/singledecree/paxos/recipe/term"
)

// A Client is what recipes and typed values need.
var (
	_ paxos.Register       = (*Client)(nil)
	_ once.Register        = (*Client)(nil)
	_ term.Register        = (*Client)(nil)
	_ idempotency.Register = (*Client)(nil)
	_ sequence.Register    = (*Client)(nil)
	_ commit.Register      = (*Client)(nil)
)

// clientOf returns a client of servers.
func clientOf(t testing.TB, c ClientConfig) *Client {
	t.Helper()
	client, err := NewClient(c)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// startServers serves so many Nodes in memory.
func startServers(t testing.TB, n int) (urls []string, servers []Server) {
	t.Helper()
	for _, n := range startNodes(t, n) {
		server := httptest.NewServer(http.StripPrefix("/v1", handlerOf(t, n, Config{})))
		t.Cleanup(server.Close)
		urls, servers = append(urls, server.URL+"/v1"), append(servers, n)
	}
	return urls, servers
}

// deadURL is that of a server that nobody has.
func deadURL(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// TestClientMakesTheCallsOfANode: results and errors are those of a Node.
func TestClientMakesTheCallsOfANode(t *testing.T) {
	urls, servers := startServers(t, 3)
	c := clientOf(t, ClientConfig{Servers: urls})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, c.Ready(ctx))
	_, ok, err := c.Read(ctx, "a")
	require.NoError(t, err)
	assert.False(t, ok)
	for name, value := range map[string]paxos.Value{"a": "x", "empty": "", "bytes": "\xff\x00", "text": "\ufffd\u2028<&>\"\\\n"} {
		d, err := c.Propose(ctx, name, value)
		require.NoError(t, err)
		assert.Equal(t, value, d.Value)
		assert.Equal(t, name, d.Instance)
		assert.False(t, d.Ballot.IsZero())
		d, err = c.Propose(ctx, name, "late")
		require.NoError(t, err)
		assert.Equal(t, value, d.Value, "to lose is no error")
		for _, call := range []func(context.Context, string) (paxos.Decision, bool, error){c.Read, c.Peek} {
			same, ok, err := call(ctx, name)
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, d, same)
		}
		same, err := c.Wait(ctx, name)
		require.NoError(t, err)
		assert.Equal(t, d, same)
	}
	typed := paxos.TypedOf[[]int](c)
	d, err := typed.Propose(ctx, "typed", []int{1, 2})
	require.NoError(t, err)
	assert.True(t, d.Same)

	require.NoError(t, c.Forget(ctx, paxos.Prefix("job/")))
	_, err = c.Propose(ctx, "job/1", "x")
	var forgotten *paxos.ForgottenError
	require.ErrorAs(t, err, &forgotten)
	assert.Equal(t, paxos.Prefix("job/"), forgotten.Names)
	_, own := servers[0].Propose(ctx, "job/1", "x")
	assert.Equal(t, own.Error(), err.Error(), "in the same words")
	assert.Equal(t, paxos.Unknown(own), paxos.Unknown(err))

	before := servers[0].Status().Counters.Attempts
	for _, name := range []string{"", "caf\xe9", strings.Repeat("x", 256), "$x", "a\n"} {
		_, err = c.Propose(ctx, name, "x")
		require.ErrorIs(t, err, paxos.ErrName)
		assert.False(t, paxos.Unknown(err))
		_, _, err = c.Read(ctx, name)
		require.ErrorIs(t, err, paxos.ErrName)
		_, err = c.Wait(ctx, name)
		require.ErrorIs(t, err, paxos.ErrName)
	}
	nobody := clientOf(t, ClientConfig{Servers: []string{deadURL(t)}})
	_, err = nobody.Propose(ctx, "big", paxos.Value(strings.Repeat("x", 1<<20+1))) // no server is asked
	require.ErrorIs(t, err, paxos.ErrTooLarge)
	assert.False(t, paxos.Unknown(err))
	require.ErrorIs(t, c.Forget(ctx, paxos.NameRange{From: "b", To: "a"}), paxos.ErrName)
	assert.Equal(t, before, servers[0].Status().Counters.Attempts)
	largest := paxos.Value(strings.Repeat("<", 1<<20))
	d2, err := c.Propose(ctx, "large", largest)
	require.NoError(t, err)
	assert.Equal(t, largest, d2.Value, "an escape for each byte")
}

// TestClientTellsOfMembers: members and the state of a server, and a change.
func TestClientTellsOfMembers(t *testing.T) {
	urls, servers := startServers(t, 3)
	c := clientOf(t, ClientConfig{Servers: urls})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := c.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, servers[0].Status().Members, st.Members)
	m, err := c.Members(ctx)
	require.NoError(t, err)
	assert.Equal(t, []paxos.ServerID{1, 2, 3}, m.Acceptors)
	number, err := c.Change(ctx, paxos.Members{Acceptors: []paxos.ServerID{1, 2}, Learners: []paxos.ServerID{3}})
	require.NoError(t, err)
	assert.Equal(t, uint64(1), number)
	require.NoError(t, c.Settled(ctx, number))
	m, err = c.Members(ctx)
	require.NoError(t, err)
	assert.Equal(t, []paxos.ServerID{3}, m.Learners)
	_, err = c.Change(ctx, paxos.Members{Acceptors: []paxos.ServerID{2, 1}})
	require.ErrorContains(t, err, "Members.Acceptors: server 1 after 2")
	assert.False(t, paxos.Unknown(err))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Settled(short, 2), context.DeadlineExceeded, "no such configuration is settled")
}

// answers serves one fixed answer.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// breaks ends the connection in place of an answer.
func breaks(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

// resets ends the connection so that its other end gets an error of the network.
func resets(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// TestClientSaysWhatIsUnknown: it is certain that nothing happened only if there was no connection, or the answer says so. Of a question that
// has no effect nothing is ever unknown.
func TestClientSaysWhatIsUnknown(t *testing.T) {
	decided := `{"name":"a","decided":true,"value":"x","ballot":"1.1"}`
	for name, test := range map[string]struct {
		handler http.HandlerFunc // nil: nobody is there
		unknown bool
		is      error
		text    string
	}{
		"nobody is there":              {nil, false, nil, "connection refused"},
		"the connection ends":          {breaks, true, io.EOF, "no answer from"},
		"the connection is reset":      {resets, true, syscall.ECONNRESET, "no answer from"},
		"busy":                         {answers(503, `{"error":"so","code":"busy"}`), false, paxos.ErrBusy, "so"},
		"closed in the middle":         {answers(503, `{"error":"so","code":"closed","unknown":true}`), true, paxos.ErrClosed, "so"},
		"a code of tomorrow":           {answers(507, `{"error":"so","code":"tomorrow"}`), true, nil, "so"},
		"a proxy without a server":     {answers(502, `<html>`), true, nil, "502"},
		"a proxy that waits no longer": {answers(408, ``), true, nil, "408"},
		"a proxy of another kind":      {answers(499, `{}`), true, nil, "499"},
		"a guard":                      {answers(401, `who are you`), false, ErrUnauthenticated, "401"},
		"another guard":                {answers(403, `{}`), false, ErrForbidden, "403"},
		"not there":                    {answers(404, `404 page not found`), false, nil, "404"},
		"a page":                       {answers(200, `<html>`), true, nil, "the answer of"},
		"half an answer":               {answers(200, decided[:20]), true, nil, "unexpected end"},
		"an answer about another name": {answers(200, strings.Replace(decided, `"a"`, `"b"`, 1)), true, nil, `about "b", and not about "a"`},
		"an answer with two values":    {answers(200, `{"name":"a","decided":true,"value":"x","base64":"eA==","ballot":"1.1"}`), true, nil, "two values"},
		"an answer without a ballot":   {answers(200, `{"name":"a","decided":true,"value":"x"}`), true, nil, "ballot"},
		"an answer without end":        {answers(200, `{"name":"`+strings.Repeat("a", 5000)), true, paxos.ErrTooLarge, "over 4096 bytes"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, true, nil, "307"},
		"an accepted request, and then": {answers(202, ``), true, nil, "202"},
	} {
		t.Run(name, func(t *testing.T) {
			url := deadURL(t)
			if test.handler != nil {
				server := httptest.NewServer(test.handler)
				defer server.Close()
				url = server.URL
			}
			c := clientOf(t, ClientConfig{Servers: []string{url}, MaxAnswer: 4096})
			_, err := c.Propose(t.Context(), "a", "x")
			require.ErrorContains(t, err, test.text)
			assert.Equal(t, test.unknown, paxos.Unknown(err), err)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			var op *paxos.OpError
			require.ErrorAs(t, err, &op)
			assert.Equal(t, "propose", op.Op)
			assert.Equal(t, "a", op.Instance)
			assert.True(t, strings.HasPrefix(err.Error(), `paxos: propose "a": `), err)
			_, _, err = c.Read(t.Context(), "a")
			require.Error(t, err)
			assert.False(t, paxos.Unknown(err), "a Read is never unknown")
			err = c.Forget(t.Context(), paxos.OneName("a"))
			require.Error(t, err)
			if name != "an answer with two values" && name != "an answer without a ballot" {
				assert.Equal(t, test.unknown, paxos.Unknown(err), err)
			}
		})
	}
	c := clientOf(t, ClientConfig{Servers: []string{deadURL(t)}})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no more"))
	_, err := c.Propose(ctx, "a", "x")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "no more")
	assert.False(t, paxos.Unknown(err))
}

// TestClientConfig: an error names the field. The caller's slices and maps stay as they are.
func TestClientConfig(t *testing.T) {
	for want, c := range map[string]ClientConfig{
		"ClientConfig.Servers: 0 servers":                                     {},
		"ClientConfig.Servers: 65 servers":                                    {Servers: make([]string, 65)},
		`ClientConfig.Servers: "10.0.0.1:8000"`:                               {Servers: []string{"10.0.0.1:8000"}},
		`ClientConfig.Servers: "ftp://a"`:                                     {Servers: []string{"ftp://a"}},
		`ClientConfig.Servers: "http://"`:                                     {Servers: []string{"http://"}},
		`ClientConfig.Servers: "http://a/?b=c"`:                               {Servers: []string{"http://a/?b=c"}},
		"ClientConfig.Try: -1ns: want 1ms to":                                 {Servers: []string{"http://a"}, Try: -1},
		"ClientConfig.Silence: 1ns":                                           {Servers: []string{"http://a"}, Silence: 1},
		"ClientConfig.Header: Idempotency-Key: ":                              {Servers: []string{"http://a"}, Header: http.Header{"Idempotency-Key": {"x"}}},
		"ClientConfig.Header: X-Idempotency-Key: ":                            {Servers: []string{"http://a"}, Header: http.Header{"X-Idempotency-Key": {"x"}}},
		"ClientConfig.MaxAnswer: 5: want 1024 to":                             {Servers: []string{"http://a"}, MaxAnswer: 5},
		"ClientConfig.Servers: a URL has a user":                              {Servers: []string{"http://me:secret@a?b"}},
		"ClientConfig.Header: Authorization: a value has a control character": {Servers: []string{"http://a"}, Header: http.Header{"Authorization": {"Bearer x\n"}}},
		`ClientConfig.Header: "a b": not the name of a header`:                {Servers: []string{"http://a"}, Header: http.Header{"a b": {"x"}}},
		`ClientConfig.Header: "": not the name of a header`:                   {Servers: []string{"http://a"}, Header: http.Header{"": {"x"}}},
		"ClientConfig.Header: Host: it is not sent":                           {Servers: []string{"http://a"}, Header: http.Header{"Host": {"x"}}},
	} {
		_, err := NewClient(c)
		assert.ErrorContains(t, err, "paxoshttp: "+want)
		assert.NotContains(t, fmt.Sprint(err), "secret")
		assert.NotContains(t, fmt.Sprint(err), "Bearer")
	}
	var asked http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		answers(200, `{"name":"a","decided":false}`)(w, r)
	}))
	defer server.Close()
	own := &http.Client{Transport: &http.Transport{}, Timeout: 1} // 1 ns
	defer own.CloseIdleConnections()
	servers, header := []string{server.URL + "/"}, http.Header{"Authorization": {"Bearer x"}}
	c := clientOf(t, ClientConfig{Servers: servers, HTTP: own, Header: header})
	header.Set("Authorization", "changed")
	_, _, err := c.Read(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, "Bearer x", asked.Get("Authorization"))
	assert.Equal(t, []string{server.URL + "/"}, servers)
	assert.Nil(t, own.CheckRedirect)
}

// TestClientErrorsOfANode: how far a call came is told as by the Node itself.
func TestClientErrorsOfANode(t *testing.T) {
	op := &paxos.OpError{Op: "propose", Instance: "a", Phase: "accept", Ballot: paxos.Ballot{Round: 2, Server: 1}, Answered: []paxos.ServerID{1}, Silent: []paxos.ServerID{2, 3},
		Quorum: "majority(3) needs 2", Err: context.DeadlineExceeded}
	s := &fake{propose: func(context.Context, string, paxos.Value) (paxos.Decision, error) { return paxos.Decision{}, op }}
	server := httptest.NewServer(handlerOf(t, s, Config{}))
	defer server.Close()
	c := clientOf(t, ClientConfig{Servers: []string{server.URL}})
	_, err := c.Propose(t.Context(), "a", "x")
	require.EqualError(t, err, op.Error())
	var got *paxos.OpError
	require.ErrorAs(t, err, &got)
	assert.Equal(t, op.Silent, got.Silent)
	assert.True(t, paxos.Unknown(err))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var refused *ServerError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, fmt.Sprint(server.URL, 504, CodeTimeout), fmt.Sprint(refused.URL, refused.Status, refused.Code))
}
