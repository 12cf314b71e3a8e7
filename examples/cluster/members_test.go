package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
)

// TestChangeOverAPI: members change over HTTP. Each refusal has its code and its words, and changes nothing.
func TestChangeOverAPI(t *testing.T) {
	s := startOne(t)
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/members", "", 200, `"configuration":0,"acceptors":[1],"learners":[],"addresses":{},"quorum":"majority(1)","settled":true,"complete":[1]`},
		{"GET", "/v1/members?timeuot=1s", "", 400, `unknown parameter \"timeuot\"`},
		{"GET", "/v1/settled?timeout=soon", "", 400, `timeout: \"soon\"`},
		{"GET", "/v1/settled?timeout=1s", "", 200, `"settled":true`},
		{"GET", "/v1/ready?timeout=1s", "", 200, `"id":1`},
		{"POST", "/v1/change?timeuot=1s", `{"acceptors":[1],"learners":[2],"addresses":{}}`, 400, `unknown parameter \"timeuot\"`},
		{"GET", "/v1/change", "", 405, ""},
		{"POST", "/v1/change", `{"acceptors":[2,1],"learners":[],"addresses":{}}`, 400, "Members.Acceptors: server 1 after 2"},
		{"POST", "/v1/change", `{"acceptors":[],"learners":[],"addresses":{}}`, 400, "Members.Acceptors: 0 servers"},
		{"POST", "/v1/change", `{"acceptors":[1],"learners":[],"addresses":{"7":"seven:7"}}`, 400, "Members.Addresses: server 7"},
		{"POST", "/v1/change?timeout=1s", `{"acceptors":[1],"learners":[],"addresses":{}}`, 200, `{"configuration":1,"acceptors":[1],"learners":[],"addresses":{}}`},
		{"POST", "/v1/change?timeout=1s", `{"acceptors":[1],"learners":[2],"addresses":{"2":"127.0.0.1:1"}}`, 200,
			`{"configuration":2,"acceptors":[1],"learners":[2],"addresses":{"2":"127.0.0.1:1"}}`},
		{"GET", "/v1/members", "", 200, `"others":[{"id":2,"addr":"127.0.0.1:1"}]`},
		{"POST", "/v1/change?timeout=1s", `{"acceptors":[1,2],"learners":[],"addresses":{"2":"127.0.0.1:1"}}`, 503, "the new members are not ready: server 2 was not heard lately"},
		{"POST", "/v1/change?timeout=1s", `{"acceptors":[1],"learners":[],"addresses":{}}`, 200, `"configuration":3`},
		{"POST", "/v1/change?timeout=1s", `{"acceptors":[1],"learners":[2],"addresses":{"2":"127.0.0.1:1"}}`, 409, "server 2 was a member before: its ServerID is finished"},
		{"GET", "/v1/members", "", 200, `"left":[2]`},
		{"GET", "/v1/status", "", 200, `"configuration":3`},
		{"POST", "/v1/propose", `{"name":"$config/4","value":"x"}`, 400, "reserved"},
	} {
		code, text := asks(t, s, test.method, test.path, test.body, nil)
		assert.Equal(t, test.code, code, "%s %s: %.200s", test.path, test.body, text)
		assert.Contains(t, text, test.want, "%s %s", test.path, test.body)
	}
	code, text := asks(t, s, "POST", "/v1/change", `{"acceptors":[1],"learners":[3],"addresses":{}}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	assert.Equal(t, 415, code, "%s", text)
	code, text = asks(t, s, "POST", "/v1/change", strings.Repeat(" ", 8<<20+1), nil)
	assert.Equal(t, 413, code, "%s", text)
	c, settled := s.node.Configuration()
	assert.Equal(t, uint64(3), c.Number)
	assert.True(t, settled)
}

// TestConflictOverAPI: of two changes at once one is decided. The other is answered 409, and it is not unknown what came of it. A change
// that no quorum answers is 504, and unknown. While a change is not settled, the status line says what it waits for.
func TestConflictOverAPI(t *testing.T) {
	a := newApart(t, program(t), 4)
	ctx, cancel := context.WithTimeout(context.Background(), 2*aWhile)
	defer cancel()
	reach := map[int]*client{}
	for i := range a.children {
		_, reach[i] = a.children[i].now()
		require.NoError(t, reach[i].ready(ctx, aWhile))
	}
	require.NoError(t, a.children[2].kill())
	require.NoError(t, a.children[3].kill())
	_, err := reach[0].change(ctx, paxoshttp.Change{Acceptors: []paxos.ServerID{1, 2}, Learners: []paxos.ServerID{9}}, 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, paxos.Unknown(err), "it was not sent")
	errs := make(chan error, 2)
	for i := range 2 {
		next := paxoshttp.Change{Acceptors: []paxos.ServerID{1, 2}, Learners: []paxos.ServerID{paxos.ServerID(7 + i)}}
		go func() {
			_, err := reach[i].change(ctx, next, aWhile)
			errs <- err
		}()
	}
	require.Eventually(t, func() bool {
		for i := range 2 {
			if st, err := reach[i].status(ctx, aWhile); err != nil || st.Calls == 0 {
				return false
			}
		}
		return true
	}, aWhile, 20*time.Millisecond)
	require.NoError(t, a.children[2].start())
	first, second := <-errs, <-errs
	if first == nil {
		first, second = second, first
	}
	require.NoError(t, second)
	require.ErrorContains(t, first, "another change of members was decided")
	require.False(t, paxos.Unknown(first))

	require.NoError(t, reach[0].http.Settled(ctx, 1))
	m, err := reach[0].members(ctx, aWhile)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), m.Configuration)
	assert.Equal(t, []paxos.ServerID{1, 2}, m.Complete)
	assert.Equal(t, []paxos.ServerID{3, 4}, m.Left)
	require.NoError(t, a.children[1].kill())
	_, err = reach[0].change(ctx, paxoshttp.Change{Acceptors: []paxos.ServerID{1, 2}}, 20*time.Millisecond)
	require.ErrorContains(t, err, "deadline exceeded")
	require.True(t, paxos.Unknown(err))
}

// TestStatusLineOfAChange: the line of a server tells of a configuration, and how far the import is.
func TestStatusLineOfAChange(t *testing.T) {
	st := paxoshttp.Status{Boot: 1}
	assert.NotContains(t, describeStatus(st), "configuration")
	st.Configuration = 3
	assert.Contains(t, describeStatus(st), "  configuration 3")
	assert.NotContains(t, describeStatus(st), "settled")
	st.Unsettled, st.Import = "complete are servers 1 of 1 4 5", &paxoshttp.Importing{Sources: 2, Done: 1, Records: 10, Goal: 30}
	assert.Contains(t, describeStatus(st), "  configuration 3 is not settled: complete are servers 1 of 1 4 5; it has imported 10 of 30 decisions, and all of 1 of 2 servers")
}
